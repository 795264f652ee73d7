import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { runSeeds } from '@mycelium/simulator'
import { describe, expect, test } from 'vitest'
import * as protection from '../sim/protection.sim.ts'
import type { ProtectionCore } from '../src/core/protection.ts'

const SEEDS = 200
/** A rare mistake may need more than the correct core gets; the search ends at the first. */
const SEEDS_TO_FIND = 1_000

/** A run that never saw one of these has not tested it. */
const RARE = [
  'attached: filled',
  'attached: resumed',
  'backup restarted',
  'crashes',
  'crashes after shutdown',
  'effect: hold',
  'effect: open',
  'effect: release',
  'ended in order',
  'filled anew',
  'link lost',
  'nobody may take over',
  'nobody restarts it',
  'takeovers',
  'update: done, not answered',
  'update: later',
  'update: never',
  'update: superseded',
]

test(`whoever may take over holds what was seen, over ${SEEDS} seeds of faults`, async () => {
  const { coverage } = await runSeeds(protection, { packageName: 'endophyte', seeds: SEEDS })
  for (const event of RARE) expect(coverage[event] ?? 0, event).toBeGreaterThan(0)
  expect(coverage['epochs to 2']).toBeGreaterThan(SEEDS * 20)
})

/** Pieces of the core's text, and what a mistake would make of them. */
const BUGS: Readonly<Record<string, readonly (readonly [from: string, to: string])[]>> = {
  'output is held only once a backup counts': [
    [`return [{ type: 'hold' }]`, `return []`],
    [`effects.push({ type: 'in-sync'`, `effects.push({ type: 'hold' }, { type: 'in-sync'`],
  ],
  'a backup counts from the epoch at which holding began': [
    [`this.#heldFrom = epoch + 1`, `this.#heldFrom = epoch`],
  ],
  'output does not wait for a removal': [
    [
      `...this.#committed.inSync, ...(this.#pending?.inSync ?? [])`,
      `...(this.#pending ?? this.#committed).inSync`,
    ],
  ],
  'an update on its way does not count': [[`...(this.#pending?.inSync ?? []), `, ``]],
  'an update of unknown outcome does not count': [[`, ...this.#doubtful]\n  }`, `]\n  }`]],
  'a doubt about nobody is forgotten': [[`&& !this.#isDoubtful`, `&& this.#doubtful.size === 0`]],
  'output passes while an update adds a backup': [
    [
      `candidates.length === 0 && !mayEnter`,
      `this.#committed.inSync.length === 0 && (this.#pending !== undefined || !mayEnter)`,
    ],
  ],
  'output passes though a backup is about to count': [
    [
      `const mayEnter = this.#committed.state === 'running' && this.#holders.length > 0`,
      `const mayEnter = false`,
    ],
  ],
  'who has left still counts as holding': [
    [`this.#holders.filter((id) => id !== input.backup)`, `this.#holders`],
  ],
  'output waits for one backup of several': [[`candidates.every(`, `candidates.some(`]],
  'an answer to an earlier update commits the next': [
    [`this.#isDoubtful = true`, `this.#committed = this.#pending ?? this.#committed`],
  ],
  'the end of the guest opens nothing': [
    [`if (this.#committed.state === 'stopped') return []\n    return [`, `return [`],
  ],
  'the end of the guest is not written down': [
    [
      `this.#pending = { state: this.#state, inSync }`,
      `this.#pending = { state: 'running', inSync }`,
    ],
  ],
}

const source = new URL('../src/core/protection.ts', import.meta.url)

/** The core with a mistake in it. */
async function coreWith(
  changes: readonly (readonly [from: string, to: string])[],
): Promise<typeof ProtectionCore> {
  let text = stripTypeScriptTypes(readFileSync(source, 'utf8'))
  for (const [from, to] of changes) {
    assert.equal(text.split(from).length, 2, `not once in the core: ${from}`)
    text = text.replace(from, to)
  }
  const module = text.replaceAll(
    /'(\.\/[^']+)'/g,
    (_, path: string) => `'${new URL(path, source)}'`,
  )
  const address = `data:text/javascript,${encodeURIComponent(module)}`
  const { ProtectionCore: Core } = (await import(/* @vite-ignore */ address)) as {
    readonly ProtectionCore: typeof ProtectionCore
  }
  return Core
}

describe('the simulation finds', () => {
  for (const [name, changes] of Object.entries(BUGS)) {
    test(name, async () => {
      const Core = await coreWith(changes)
      const simulation = { name, simulate: (seed: number) => protection.simulate(seed, Core) }
      const run = runSeeds(simulation, { packageName: 'endophyte', seeds: SEEDS_TO_FIND })
      await expect(run).rejects.toMatchObject({ code: 'ERR_SIMULATION_FAILED' })
    })
  }
})
