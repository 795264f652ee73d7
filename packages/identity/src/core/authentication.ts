/**
 * The score of a node that connects, from four factors. Cryptographic proof and proof of the
 * network are mandatory besides: no sum makes up for them.
 */
import { SCORE_NEUTRAL, SCORE_WEIGHTS, SCORE_WHOLE } from '../constants.ts'

export interface Factors {
  /** Certificate, possession of its key, not revoked. */
  readonly crypto: boolean
  /** Isolation key, genesis, chain of keys. */
  readonly network: boolean
  /** Behaviour, of 1000; `undefined`: nothing is known. */
  readonly history: number | undefined
  /** Part in decisions, as {@link history}. */
  readonly consensus: number | undefined
}

/**
 * The score: an integer of 1000. An unknown factor counts as half of its weight. A history of 0 is
 * proven misbehaviour: then taking part in decisions counts as 0 too, known or not.
 *
 * @throws {RangeError} a factor is not an integer from 0 to 1000
 */
export function scoreOf({ crypto, network, history, consensus }: Factors): number {
  const parts: readonly (readonly [number, number])[] = [
    [SCORE_WEIGHTS.crypto, crypto ? SCORE_WHOLE : 0],
    [SCORE_WEIGHTS.network, network ? SCORE_WHOLE : 0],
    [SCORE_WEIGHTS.history, shareOf('history', history)],
    [SCORE_WEIGHTS.consensus, history === 0 ? 0 : shareOf('consensus', consensus)],
  ]
  const sum = parts.reduce((total, [weight, share]) => total + weight * share, 0)
  return Math.floor(sum / SCORE_WHOLE)
}

function shareOf(name: string, value: number | undefined): number {
  if (value === undefined) return SCORE_NEUTRAL
  if (Number.isInteger(value) && value >= 0 && value <= SCORE_WHOLE) return value
  throw new RangeError(`${name}: must be an integer from 0 to ${SCORE_WHOLE} (got ${value})`)
}

/**
 * Whether a node is admitted: both proofs, and a score above the network's threshold. Above, not
 * at: the proofs alone make 700, so that at the default threshold a new node (850) gets in and one
 * with proven misbehaviour (700) does not.
 */
export function isAdmitted(factors: Factors, threshold: number): boolean {
  return factors.crypto && factors.network && scoreOf(factors) > threshold
}
