import type { Clock } from '@mycelium/interface'
import { createSystemClock } from '../../src/system.ts'

/** Real time, with leaps on demand: what waits for a time that was leapt over happens at once. */
export interface ShiftedClock extends Clock {
  /** Both clocks. */
  leap(ms: number): void
  /** Only the time of day, as if somebody set it. */
  leapWall(ms: number): void
}

interface Waiting {
  readonly at: number
  readonly callback: () => void
  cancel: () => void
}

export function createShiftedClock(): ShiftedClock {
  const system = createSystemClock()
  const waiting = new Set<Waiting>()
  let shift = 0
  let wallShift = 0
  const arm = (one: Waiting): void => {
    one.cancel = system.schedule(one.at - shift, () => {
      waiting.delete(one)
      one.callback()
    })
  }
  return {
    now: () => system.now() + shift,
    unixMs: () => system.unixMs() + shift + wallShift,
    schedule(at, callback) {
      const one: Waiting = { at, callback, cancel: () => undefined }
      waiting.add(one)
      arm(one)
      return () => {
        waiting.delete(one)
        one.cancel()
      }
    },
    leap(ms) {
      shift += ms
      for (const one of waiting) {
        one.cancel()
        arm(one)
      }
    },
    leapWall(ms) {
      wallShift += ms
    },
  }
}
