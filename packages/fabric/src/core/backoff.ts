import type { Random } from '@mycelium/interface'
import { DOUBLINGS_MAX } from '../constants.ts'

/** Ranges of the delay, in milliseconds. */
export interface BackoffRange {
  readonly delayMsMin: number
  readonly delayMsMax: number
}

/**
 * Exponential backoff with full jitter: uniform in 1..range, the range doubling with each failure
 * (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: of the variants the one
 * with the least work when many wait for the same). Milliseconds, an integer.
 */
export function backoffMs(
  random: Random,
  failures: number,
  { delayMsMin, delayMsMax }: BackoffRange,
): number {
  const range = Math.min(delayMsMax, delayMsMin * 2 ** Math.min(failures, DOUBLINGS_MAX))
  return 1 + random.below(range)
}
