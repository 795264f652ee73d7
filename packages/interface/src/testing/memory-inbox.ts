import type { BulkMessage, BulkPriority } from '../bulk-channel.ts'

/** What one end has received and its consumer has not yet pulled, bounded per class. */
export class MemoryInbox {
  readonly #limits: Readonly<Record<BulkPriority, number>>
  readonly #queues: Readonly<Record<BulkPriority, BulkMessage[]>> = { control: [], bulk: [] }
  readonly #unread: Record<BulkPriority, number> = { control: 0, bulk: 0 }
  readonly #onCredit: () => void
  #wake: () => void = () => {}
  #discarding = false
  #end: { readonly error?: Error } | undefined

  constructor(limits: Readonly<Record<BulkPriority, number>>, onCredit: () => void) {
    this.#limits = limits
    this.#onCredit = onCredit
  }

  fits(priority: BulkPriority, bytes: number): boolean {
    return this.#discarding || this.#unread[priority] + bytes <= this.#limits[priority]
  }

  push(message: BulkMessage): void {
    if (this.#discarding) return
    this.#unread[message.priority] += message.bytes.byteLength
    this.#queues[message.priority].push(message)
    this.#wake()
  }

  /** The next message, control first. It counts as unread until {@link credit}: note its length
   * before somebody has it, who may give its memory away. */
  shift(): BulkMessage | undefined {
    return this.#queues.control.shift() ?? this.#queues.bulk.shift()
  }

  credit(priority: BulkPriority, bytes: number): void {
    this.#unread[priority] -= bytes
    this.#onCredit()
  }

  /** Nobody will read any more: forgets what is here and what still comes. */
  discard(): void {
    this.#discarding = true
    this.#queues.control.length = 0
    this.#queues.bulk.length = 0
    this.#onCredit()
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
