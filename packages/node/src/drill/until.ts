import { setTimeout } from 'node:timers/promises'

/** Between two looks, in milliseconds: how exact a time is that was measured so. */
const LOOK_MS = 50

/** What a drill promises did not come true. */
export class BrokenPromiseError extends Error {
  override get name(): string {
    return 'BrokenPromiseError'
  }
}

export interface UntilInit {
  readonly signal: AbortSignal
  readonly timeoutMs: number
  /** In words, for the error. */
  readonly what: string
}

/**
 * Looks until `look` finds nothing that is missing any more. Resolves to how long that took, in
 * milliseconds. Rejects with {@link BrokenPromiseError}, which says what was missing last.
 */
export async function until(
  look: () => Promise<string | undefined>,
  { signal, timeoutMs, what }: UntilInit,
): Promise<number> {
  const startedAt = performance.now()
  for (;;) {
    const missing = await look()
    const elapsedMs = performance.now() - startedAt
    if (missing === undefined) return Math.round(elapsedMs)
    signal.throwIfAborted()
    if (elapsedMs >= timeoutMs) {
      const seconds = (timeoutMs / 1_000).toFixed(0)
      throw new BrokenPromiseError(`${what} took more than ${seconds} s: ${missing}`)
    }
    await setTimeout(LOOK_MS, undefined, { signal })
  }
}

/** Does `work` with all items, so many at a time. Rejects as the first that does. */
export async function eachOf<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const left = [...items]
  const worker = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
}
