import type { BulkPriority, BulkSendOptions, Bytes } from '@mycelium/interface'
import type { OutgoingMessage } from './core/session-types.ts'

/** One call of `send`, from the call to the release of its memory. */
export class SendTicket implements OutgoingMessage {
  readonly priority: BulkPriority
  readonly bytes: number
  parts: readonly Uint8Array[]
  readonly #onReleased: (() => void) | undefined
  readonly #signal: AbortSignal | undefined
  readonly #settled = Promise.withResolvers<void>()
  #withdraw: (() => void) | undefined

  constructor(message: Bytes, options: BulkSendOptions) {
    this.priority = options.priority ?? 'bulk'
    this.#onReleased = options.onReleased
    this.#signal = options.signal
    this.parts = partsOf(message)
    this.bytes = this.parts.reduce((sum, part) => sum + part.byteLength, 0)
  }

  /** Settles when the message is accepted or will never be. */
  get accepted(): Promise<void> {
    return this.#settled.promise
  }

  /** Calls `withdraw` when the caller aborts before the message is accepted. */
  onAbort(withdraw: () => void): void {
    this.#withdraw = withdraw
    this.#signal?.addEventListener('abort', withdraw)
  }

  /** The message has its place: keeps a copy, unless the caller lends its memory. */
  accept(): void {
    if (this.#onReleased === undefined) this.parts = [Buffer.concat(this.parts, this.bytes)]
    this.#settle()
    this.#settled.resolve()
  }

  /** It will not be sent. The caller's own abort is the reason, if there was one. */
  reject(error: Error): void {
    this.#settle()
    this.release()
    this.#settled.reject(this.#signal?.aborted === true ? this.#signal.reason : error)
  }

  /** Its memory is not read any more. */
  release(): void {
    this.parts = []
    this.#onReleased?.()
  }

  #settle(): void {
    if (this.#withdraw !== undefined) this.#signal?.removeEventListener('abort', this.#withdraw)
  }
}

function partsOf(message: Bytes): readonly Uint8Array[] {
  const parts = message instanceof Uint8Array ? [message] : [...message]
  for (const part of parts) {
    if (!(part instanceof Uint8Array)) {
      throw new TypeError(`message must be Bytes, got ${typeof part}`)
    }
  }
  return parts
}
