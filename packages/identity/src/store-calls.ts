import type { AbortOptions } from '@mycelium/interface'
import { IdentityClosedError, IdentityFullError } from './disk-errors.ts'
import { FACT_BYTES_MAX, RECORD_BYTES_MAX, STORE_CALLS_MAX } from './store.ts'

/** One call after the other, as the contract of a store says. */
export class StoreCalls {
  #last: Promise<unknown> = Promise.resolve()
  #count = 0
  #closed: Promise<void> | undefined

  async run<T>({ signal }: AbortOptions, body: () => Promise<T> | T): Promise<T> {
    signal?.throwIfAborted()
    if (this.#closed !== undefined) throw new IdentityClosedError('store of the identity')
    if (this.#count >= STORE_CALLS_MAX) {
      throw new IdentityFullError('calls of one store at once', STORE_CALLS_MAX)
    }
    this.#count++
    const before = this.#last
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#last = promise
    try {
      await before
      signal?.throwIfAborted()
      return await body()
    } finally {
      this.#count--
      resolve()
    }
  }

  /** Idempotent. `release` runs after the last call. */
  close(release: () => Promise<void>): Promise<void> {
    return (this.#closed ??= this.#last.then(release))
  }
}

/** @returns a copy @throws {RangeError} */
export function checkedRecord(bytes: Uint8Array): Uint8Array {
  if (bytes.length > RECORD_BYTES_MAX) {
    throw new RangeError(`bytes: at most ${RECORD_BYTES_MAX} in one record, got ${bytes.length}`)
  }
  return Uint8Array.from(bytes)
}

/** @returns copies @throws {RangeError} */
export function checkedFacts(envelopes: readonly Uint8Array[]): readonly Uint8Array[] {
  return envelopes.map((one, index) => {
    if (one.length > 0 && one.length <= FACT_BYTES_MAX) return Uint8Array.from(one)
    const what = `1..${FACT_BYTES_MAX} bytes, got ${one.length}`
    throw new RangeError(`envelopes: number ${index} has to have ${what}`)
  })
}
