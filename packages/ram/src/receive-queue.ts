import type { BulkMessage, BulkPriority } from '@mycelium/interface'

/** Delivered messages that the consumer has not pulled. Bounded by the credit that the peer has. */
export class ReceiveQueue {
  readonly #queues: Readonly<Record<BulkPriority, BulkMessage[]>> = { control: [], bulk: [] }
  readonly #onConsumed: (priority: BulkPriority, bytes: number) => void
  #wake: () => void = () => {}
  #discarding = false
  #end: { readonly error?: Error } | undefined

  /** `onConsumed` hears of each message once, when it is done with. */
  constructor(onConsumed: (priority: BulkPriority, bytes: number) => void) {
    this.#onConsumed = onConsumed
  }

  push(message: BulkMessage): void {
    if (this.#discarding) {
      this.consumed(message.priority, message.bytes.byteLength)
      return
    }
    this.#queues[message.priority].push(message)
    this.#wake()
  }

  /** The next message, control first. Its credit returns with {@link consumed}: note its length
   * before somebody has it, who may give its memory away. */
  shift(): BulkMessage | undefined {
    return this.#queues.control.shift() ?? this.#queues.bulk.shift()
  }

  consumed(priority: BulkPriority, bytes: number): void {
    this.#onConsumed(priority, bytes)
  }

  /** Nobody will read any more: forgets what is here and what still comes. */
  discard(): void {
    this.#discarding = true
    for (const queue of [this.#queues.control, this.#queues.bulk]) {
      for (const { priority, bytes } of queue.splice(0)) this.consumed(priority, bytes.byteLength)
    }
  }

  /** Nothing follows what is here. The first call counts. */
  end(error?: Error): void {
    this.#end ??= error === undefined ? {} : { error }
    this.#wake()
  }

  get ended(): { readonly error?: Error } | undefined {
    return this.#end
  }

  /** Resolves at the next {@link push} or {@link end}. For one waiter. */
  async changed(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
  }
}
