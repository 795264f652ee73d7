/**
 * Puts known bugs into a copy of the sources, one at a time, and counts the seeds until the
 * simulation finds it: `node --conditions=@mycelium/source find-bug.ts [--seeds N] [WORDS ...]`.
 * Exit code 1: one was not found.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import type { Simulation } from '@mycelium/simulator'
import { KNOWN_BUGS, type KnownBug } from './known-bugs.ts'

const here = join(import.meta.dirname, '..')

function patched(text: string, right: string, wrong: string): string {
  const parts = text.split(right)
  if (parts.length !== 2) throw new Error(`stands ${parts.length - 1} times, not once: ${right}`)
  return parts.join(wrong)
}

export interface Found {
  readonly bug: KnownBug
  /** The first that found it; `undefined`: none did. */
  readonly seed: number | undefined
  readonly words: string
}

/** Runs seeds until one finds `bug`. */
export async function findBug(
  bug: KnownBug,
  { firstSeed = 1, seeds }: { readonly firstSeed?: number; readonly seeds: number },
): Promise<Found> {
  const scratch = mkdtempSync(join(tmpdir(), 'raft-bug-'))
  try {
    for (const folder of ['src', 'sim']) {
      cpSync(join(here, folder), join(scratch, folder), { recursive: true })
    }
    writeFileSync(join(scratch, 'package.json'), '{"type":"module"}')
    symlinkSync(join(here, 'node_modules'), join(scratch, 'node_modules'))
    const file = join(scratch, 'src', bug.file)
    let text = patched(readFileSync(file, 'utf8'), bug.right, bug.wrong)
    if (bug.also !== undefined) text = patched(text, bug.also.right, bug.also.wrong)
    writeFileSync(file, text)
    const url = pathToFileURL(join(scratch, 'sim/raft.sim.ts')).href
    const { simulate } = (await import(url)) as Simulation
    for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
      try {
        await simulate(seed)
      } catch (error) {
        const words = error instanceof Error ? error.message : String(error)
        return { bug, seed, words: words.split('\n')[0] ?? '' }
      }
    }
    return { bug, seed: undefined, words: '' }
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seeds: { type: 'string', default: '200' } },
  })
  for (const bug of KNOWN_BUGS) {
    if (positionals.length > 0 && !positionals.some((words) => bug.name.includes(words))) continue
    const { seed, words } = await findBug(bug, { seeds: Number(values.seeds) })
    console.log(`${bug.name}: ${seed === undefined ? 'NOT FOUND' : `seed ${seed}: ${words}`}`)
    if (seed === undefined) process.exitCode = 1
  }
}
