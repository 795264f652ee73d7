import type { Clock, MonotonicMs } from '@mycelium/interface'

/** setTimeout's own bound; later deadlines are reached in steps. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1

/**
 * A clock on CLOCK_BOOTTIME, which counts suspend. Timers of a suspended machine fire late:
 * whatever must not happen late needs the guard.
 *
 * @param boottimeMs - reads CLOCK_BOOTTIME, milliseconds with fraction
 */
export function createBootClock(boottimeMs: () => MonotonicMs): Clock {
  return {
    now: boottimeMs,
    unixMs: () => Date.now(),
    schedule(at, callback) {
      let timer: NodeJS.Timeout | undefined
      const arm = (): void => {
        // setTimeout cuts fractions off and would fire early.
        const delayMs = Math.min(Math.max(0, Math.ceil(at - boottimeMs())), TIMEOUT_MS_MAX)
        timer = setTimeout(() => (boottimeMs() < at ? arm() : callback()), delayMs)
      }
      arm()
      return () => clearTimeout(timer)
    },
  }
}
