import type { Bytes } from '../base.ts'
import type { BulkPriority, BulkSendOptions } from '../bulk-channel.ts'

/** Calls of `send` that may wait for room; {@link BulkChannel.send} states it. */
export const SENDS_WAITING_MAX = 1_024

export interface OutgoingMessage {
  readonly priority: BulkPriority
  readonly bytes: number
  /** The sender's own memory while `inPlace`, else a copy. */
  parts: readonly Uint8Array[]
  readonly released: () => void
}

interface Waiting {
  readonly message: OutgoingMessage
  readonly inPlace: boolean
  readonly resolve: () => void
  readonly reject: (reason: unknown) => void
}

interface Flush {
  /** Messages of the class that must have been acknowledged. */
  readonly control: number
  readonly bulk: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** What one end wants to send: calls that wait for room, and accepted messages, per class. */
export class MemoryOutbox {
  readonly #limits: Readonly<Record<BulkPriority, number>>
  readonly #waiting: Readonly<Record<BulkPriority, Waiting[]>> = { control: [], bulk: [] }
  readonly #accepted: Readonly<Record<BulkPriority, OutgoingMessage[]>> = { control: [], bulk: [] }
  readonly #unacknowledged: Record<BulkPriority, number> = { control: 0, bulk: 0 }
  readonly #acknowledgedCount: Record<BulkPriority, number> = { control: 0, bulk: 0 }
  readonly #flushing = new Set<Flush>()
  acceptedBytes = 0
  acknowledgedBytes = 0

  constructor(limits: Readonly<Record<BulkPriority, number>>) {
    this.#limits = limits
  }

  get waitingCount(): number {
    return this.#waiting.control.length + this.#waiting.bulk.length
  }

  async send(message: OutgoingMessage, options: BulkSendOptions): Promise<void> {
    const { signal } = options
    await new Promise<void>((resolve, reject) => {
      const withdraw = (): void => {
        const queue = this.#waiting[message.priority]
        queue.splice(queue.indexOf(waiting), 1)
        waiting.reject(signal?.reason)
        this.acceptWaiting() // a shorter one behind it may fit
      }
      const waiting: Waiting = {
        message,
        inPlace: options.onReleased !== undefined,
        resolve: () => {
          signal?.removeEventListener('abort', withdraw)
          resolve()
        },
        reject: (reason) => {
          signal?.removeEventListener('abort', withdraw)
          message.released()
          reject(reason)
        },
      }
      signal?.addEventListener('abort', withdraw)
      this.#waiting[message.priority].push(waiting)
      this.acceptWaiting()
    })
  }

  /** Accepts, in call order per class, what has room now. */
  acceptWaiting(): void {
    for (const priority of ['control', 'bulk'] as const) {
      const queue = this.#waiting[priority]
      for (let first = queue[0]; first !== undefined; first = queue[0]) {
        const { message } = first
        if (this.#unacknowledged[priority] + message.bytes > this.#limits[priority]) break
        queue.shift()
        if (!first.inPlace) message.parts = [concat(message)]
        this.#unacknowledged[priority] += message.bytes
        this.acceptedBytes += message.bytes
        this.#accepted[priority].push(message)
        first.resolve()
      }
    }
  }

  /** The accepted message that goes next in its class. */
  peek(priority: BulkPriority): OutgoingMessage | undefined {
    return this.#accepted[priority][0]
  }

  /** The first of its class was delivered. */
  acknowledge(priority: BulkPriority): void {
    const message = this.#accepted[priority].shift()
    if (message === undefined) return
    this.#unacknowledged[priority] -= message.bytes
    this.acknowledgedBytes += message.bytes
    this.#acknowledgedCount[priority]++
    message.released()
    for (const flush of [...this.#flushing]) this.#settleIfDone(flush)
    this.acceptWaiting()
  }

  async flush(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    await new Promise<void>((resolve, reject) => {
      const until = (priority: BulkPriority): number =>
        this.#acknowledgedCount[priority] + this.#accepted[priority].length
      const abort = (): void => {
        this.#flushing.delete(flush)
        reject(signal?.reason)
      }
      const settled = (): void => {
        this.#flushing.delete(flush)
        signal?.removeEventListener('abort', abort)
      }
      const flush: Flush = {
        control: until('control'),
        bulk: until('bulk'),
        resolve: () => {
          settled()
          resolve()
        },
        reject: (error) => {
          settled()
          reject(error)
        },
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#flushing.add(flush)
      this.#settleIfDone(flush)
    })
  }

  #settleIfDone(flush: Flush): void {
    const { control, bulk } = this.#acknowledgedCount
    if (control >= flush.control && bulk >= flush.bulk) flush.resolve()
  }

  /** Rejects the calls that wait for room. */
  refuseWaiting(error: Error): void {
    for (const queue of [this.#waiting.control, this.#waiting.bulk]) {
      for (const waiting of queue.splice(0)) waiting.reject(error)
    }
  }

  /** Lets go of everything: the channel is closed. */
  release(error: Error): void {
    this.refuseWaiting(error)
    for (const queue of [this.#accepted.control, this.#accepted.bulk]) {
      for (const message of queue.splice(0)) message.released()
    }
    for (const flush of [...this.#flushing]) flush.reject(error)
  }
}

/** @throws {TypeError} `message` is neither a Uint8Array nor an iterable of them */
export function partsOf(message: Bytes): readonly Uint8Array[] {
  const parts = message instanceof Uint8Array ? [message] : [...message]
  for (const part of parts) {
    if (!(part instanceof Uint8Array))
      throw new TypeError(`message must be Bytes, got ${typeof part}`)
  }
  return parts
}

/** A new array with the bytes of all parts. */
export function concat({
  parts,
  bytes,
}: {
  parts: readonly Uint8Array[]
  bytes: number
}): Uint8Array {
  const whole = new Uint8Array(bytes)
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.byteLength
  }
  return whole
}
