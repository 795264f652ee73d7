import type { Clock, Random } from '@mycelium/interface'

/** Two clocks that differ by at most 1 % differ by half of that from the true time. */
const DRIFT_PER_MILLION_MAX = 5_000
const OFFSET_MS_MAX = 1_000_000
const ROUNDING_MS = 1e-6

/** A machine's own clock: an arbitrary zero, and a little too fast or too slow. */
export class DriftingClock {
  readonly #clock: Clock
  readonly #rate: number
  readonly #offset: number

  constructor(clock: Clock, random: Random) {
    this.#clock = clock
    const drift = random.below(2 * DRIFT_PER_MILLION_MAX + 1) - DRIFT_PER_MILLION_MAX
    this.#rate = 1 + drift / 1e6
    this.#offset = random.below(OFFSET_MS_MAX)
  }

  now(): number {
    return this.#offset + this.#rate * this.#clock.now()
  }

  toTrue(local: number): number {
    return (local - this.#offset) / this.#rate
  }

  schedule(at: number, callback: () => void): () => void {
    // Rounding must not make it early: who is called too early waits for the same moment again.
    return this.#clock.schedule(this.toTrue(at) + ROUNDING_MS, callback)
  }
}
