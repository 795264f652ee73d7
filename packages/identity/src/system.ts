import { randomBytes, randomInt } from 'node:crypto'
import type { Clock, Random } from '@mycelium/interface'

/** Longest wait of `setTimeout`; a longer one would fire at once. */
const TIMEOUT_MS_MAX: number = 2 ** 31 - 1
/** Of `randomInt`, and of the contract. */
const BOUND_MAX: number = 2 ** 32

/**
 * Time by `performance.now()`, for programs without another {@link Clock}. It stands still while
 * the machine sleeps: handshakes, sessions and retries may well last as long as it was awake.
 * Timers keep the process alive until they are cancelled.
 */
export function createSystemClock(): Clock {
  const now = (): number => performance.now()
  return {
    now,
    unixMs: () => Date.now(),
    schedule(at, callback) {
      if (Number.isNaN(at)) throw new RangeError('at must be a time, got NaN')
      let timer: NodeJS.Timeout | undefined
      const arm = (): void => {
        // Timers are cut to whole milliseconds and so fire early: rounded up, and looked at again.
        const wait = Math.min(Math.max(0, Math.ceil(at - now())), TIMEOUT_MS_MAX)
        timer = setTimeout(() => (now() < at ? arm() : callback()), wait)
      }
      arm()
      return () => clearTimeout(timer)
    },
  }
}

/** Random numbers of the system's CSPRNG. All streams are independent: `fork` names nothing. */
export function createSystemRandom(): Random {
  const random: Random = {
    bytes: (length) => Uint8Array.from(randomBytes(length)),
    below(bound) {
      if (!Number.isInteger(bound) || bound < 1 || bound > BOUND_MAX) {
        throw new RangeError(`bound must be an integer in 1..2^32, got ${bound}`)
      }
      return randomInt(bound)
    },
    fork: () => random,
  }
  return random
}
