import { sumCounts } from './coverage.ts'
import { SimulationFailedError } from './errors.ts'

export interface SimulationResult {
  /** Hash of all that happened: the same for the same seed. */
  readonly traceHash: string
  /** How often rare events happened. */
  readonly coverage: Readonly<Record<string, number>>
  readonly virtualMs: number
}

/** What a module `sim/<name>.sim.ts` exports. */
export interface Simulation {
  readonly name: string
  /** Throws, or rejects, when what must hold does not. */
  simulate(seed: number): SimulationResult | Promise<SimulationResult>
}

export interface RunSeedsInit {
  /** Folder under `packages/`; for the line that repeats a failure. */
  readonly packageName: string
  /** @default 200 */
  readonly seeds?: number
  /** @default 1 */
  readonly firstSeed?: number
  /** Called after each seed. */
  readonly onSeed?: (seed: number, result: SimulationResult) => void
}

export interface RunSeedsResult {
  readonly seeds: number
  /** Sums over all seeds. */
  readonly coverage: Readonly<Record<string, number>>
  readonly virtualMs: number
}

const SEEDS_DEFAULT = 200

/**
 * Runs `seeds` seeds, the first one twice: a different trace hash means that the simulation is not
 * deterministic, so no seed could be repeated.
 *
 * Rejects `ERR_SIMULATION_FAILED` with the seed and how to repeat it.
 */
export async function runSeeds(
  { name, simulate }: Simulation,
  init: RunSeedsInit,
): Promise<RunSeedsResult> {
  const { packageName, seeds = SEEDS_DEFAULT, firstSeed = 1 } = init
  if (!Number.isSafeInteger(seeds) || seeds < 1) {
    throw new RangeError(`seeds must be a positive integer, got ${seeds}`)
  }
  const runSeed = async (seed: number): Promise<SimulationResult> => {
    try {
      return await simulate(seed)
    } catch (cause) {
      throw failure(seed, cause)
    }
  }
  const failure = (seed: number, cause: unknown): SimulationFailedError => {
    const reproduce = `npm run sim -- ${packageName} --seeds 1 --seed ${seed}`
    return new SimulationFailedError(name, seed, reproduce, { cause })
  }
  const results: SimulationResult[] = []
  for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
    const result = await runSeed(seed)
    if (seed === firstSeed) {
      const again = await runSeed(seed)
      if (again.traceHash !== result.traceHash) {
        const hashes = `${result.traceHash} and ${again.traceHash}`
        throw failure(seed, new Error(`not deterministic: trace hashes ${hashes}`))
      }
    }
    results.push(result)
    init.onSeed?.(seed, result)
  }
  return {
    seeds,
    coverage: sumCounts(results.map(({ coverage }) => coverage)),
    virtualMs: results.reduce((sum, { virtualMs }) => sum + virtualMs, 0),
  }
}
