import assert from 'node:assert/strict'
import { runSeeds } from '@mycelium/simulator'
import { describe, test } from 'vitest'
import * as leases from '../sim/leases.sim.ts'

const SEEDS = 200

test(`${SEEDS} seeds: one holder, no epoch twice, no lost update, and grants go on`, async () => {
  const { coverage } = await runSeeds(leases, { packageName: 'endophyte', seeds: SEEDS })
  for (const event of [
    'acquire aborted',
    'change failed: doubt',
    'change failed: unavailable',
    'granted',
    'handed over',
    'link down',
    'lost: expired',
    'lost: refused',
    'lost: released',
    'lost: transferred',
    'message duplicated',
    'message lost',
    'message overtook another',
    'process crashed',
    'process stopped',
    'refused: changed',
    'refused: held',
    'update done',
    'write failed',
  ]) {
    assert.ok((coverage[event] ?? 0) > 0, `never happened: ${event}`)
  }
})

describe('the simulation finds', () => {
  const bugs = [
    'reply-before-persist',
    'ttl-from-grant',
    'restart-forgets',
    'epochs-in-memory',
    'sent-at-after-sending',
    'undo-forgets',
  ] as const
  for (const bug of bugs) {
    test(bug, async () => {
      const simulation = { name: bug, simulate: (seed: number) => leases.simulate(seed, bug) }
      await assert.rejects(runSeeds(simulation, { packageName: 'endophyte', seeds: SEEDS }), {
        code: 'ERR_SIMULATION_FAILED',
      })
    })
  }
})
