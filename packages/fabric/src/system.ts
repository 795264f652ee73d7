import { randomBytes, randomInt } from 'node:crypto'
import type { Clock, Random } from '@mycelium/interface'

/** Longest delay of a system timer. */
const TIMER_MS_MAX = 2 ** 31 - 1

const BOUND_MAX: number = 2 ** 32

/**
 * Time by `performance.now()`, for programs without another {@link Clock}. It stands still while
 * the machine sleeps: connections that died meanwhile are found out by the next heartbeats. Its
 * timers keep the process alive.
 */
export function createSystemClock(): Clock {
  return {
    now: () => performance.now(),
    unixMs: () => Date.now(),
    schedule: (at, callback) => {
      if (Number.isNaN(at)) throw new RangeError('at must be a time, got NaN')
      let timer: NodeJS.Timeout | undefined
      const arm = (): void => {
        // Timers cut off fractions of milliseconds, and would come too early.
        const ms = Math.ceil(at - performance.now())
        timer = setTimeout(
          () => {
            if (performance.now() < at) arm()
            else callback()
          },
          Math.min(Math.max(ms, 0), TIMER_MS_MAX),
        )
      }
      arm()
      return () => clearTimeout(timer)
    },
  }
}

/** Random numbers of the system's CSPRNG. All streams are independent, so `fork` names nothing. */
export function createSystemRandom(): Random {
  const random: Random = {
    bytes: (length) => new Uint8Array(randomBytes(length)),
    below: (bound) => {
      if (!Number.isInteger(bound) || bound < 1 || bound > BOUND_MAX) {
        throw new RangeError(`bound must be an integer in 1..2^32, got ${bound}`)
      }
      return randomInt(bound)
    },
    fork: () => random,
  }
  return random
}
