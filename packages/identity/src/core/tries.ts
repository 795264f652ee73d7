import type { MonotonicMs } from '@mycelium/interface'
import {
  SLOWED_MAX,
  TRIES_ADDRESSES_MAX,
  TRIES_DELAY_MAX_MS,
  TRIES_DELAY_MIN_MS,
  TRIES_FREE_MAX,
  TRIES_WINDOW_MS,
} from '../constants.ts'

/** Counts wrong tries per address, and says how long the answer to the next one waits. */
export interface Tries {
  /**
   * Counts a wrong try. Milliseconds that its answer waits: 0 for the first 5 of an address in a
   * minute, then twice as long each time up to a bound. `drop`: too many answers wait already, give
   * none. Whoever got a wait above 0 calls {@link answered} when it is over.
   */
  failed(address: string, now: MonotonicMs): number | 'drop'
  answered(): void
}

/**
 * Bounded in memory: 1,024 addresses; the one that was quiet for longest is forgotten first. So a
 * flood from many addresses can make it forget, which costs the attacker as many addresses.
 */
export function createTries(): Tries {
  return new AddressTries()
}

interface Window {
  startedAt: MonotonicMs
  count: number
}

class AddressTries implements Tries {
  /** In order of the last try. */
  readonly #windows = new Map<string, Window>()
  #waiting = 0

  failed(address: string, now: MonotonicMs): number | 'drop' {
    const window = this.#touch(address, now)
    window.count++
    const beyond = window.count - TRIES_FREE_MAX
    if (beyond <= 0) return 0
    if (this.#waiting >= SLOWED_MAX) return 'drop'
    this.#waiting++
    // The exponent is bounded first: 2 ** 2000 is no number of milliseconds.
    return Math.min(TRIES_DELAY_MIN_MS * 2 ** Math.min(beyond - 1, 16), TRIES_DELAY_MAX_MS)
  }

  answered(): void {
    this.#waiting = Math.max(0, this.#waiting - 1)
  }

  #touch(address: string, now: MonotonicMs): Window {
    const known = this.#windows.get(address)
    this.#windows.delete(address)
    const isOver = known === undefined || now - known.startedAt >= TRIES_WINDOW_MS
    const window = isOver ? { startedAt: now, count: 0 } : known
    this.#windows.set(address, window)
    if (this.#windows.size > TRIES_ADDRESSES_MAX) {
      const [oldest] = this.#windows.keys()
      if (oldest !== undefined) this.#windows.delete(oldest)
    }
    return window
  }
}
