import { describe, expect, it } from 'vitest'
import { findBug } from '../sim/find-bug.ts'
import { KNOWN_BUGS } from '../sim/known-bugs.ts'

/** Seeds that CI runs. */
const SEEDS = 200

describe(`within ${SEEDS} seeds the simulation finds`, () => {
  for (const bug of KNOWN_BUGS) {
    it(
      bug.name,
      async () => {
        // First the seed that found it before; others when the simulation has changed since.
        const atOnce = await findBug(bug, { firstSeed: bug.seed, seeds: 1 })
        const found = atOnce.seed ?? (await findBug(bug, { seeds: SEEDS })).seed
        expect(found).toBeDefined()
      },
      180_000,
    )
  }
})
