import type { Clock } from '@mycelium/interface'

/** Resolves after `ms`, or when `signal` aborts. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve()
      return
    }
    const end = (): void => {
      cancel()
      signal.removeEventListener('abort', end)
      resolve()
    }
    const cancel = clock.schedule(clock.now() + ms, end)
    signal.addEventListener('abort', end)
  })
}
