import { randomBytes, randomInt } from 'node:crypto'
import type { Clock, Random } from '@mycelium/interface'

/** Longest wait of `setTimeout`; a longer one would fire at once. */
const TIMEOUT_MS_MAX: number = 2 ** 31 - 1

/**
 * The clock of this process. It does not count suspended time: what here goes by it (handshakes,
 * sessions, retries) may well last as long as the machine was awake.
 */
export function createSystemClock(): Clock {
  const now = (): number => performance.now()
  return {
    now,
    unixMs: () => Date.now(),
    schedule(at, callback) {
      let timer: NodeJS.Timeout | undefined
      const arm = (): void => {
        // Timers are cut to whole milliseconds and so fire early: rounded up, and looked at again.
        const wait = Math.min(Math.max(0, Math.ceil(at - now())), TIMEOUT_MS_MAX)
        timer = setTimeout(() => (now() < at ? arm() : callback()), wait)
        timer.unref()
      }
      arm()
      return () => clearTimeout(timer)
    },
  }
}

/** The system's CSPRNG. */
export function createSystemRandom(): Random {
  const random: Random = {
    bytes: (length) => Uint8Array.from(randomBytes(length)),
    below: (bound) => randomInt(bound),
    fork: () => random,
  }
  return random
}
