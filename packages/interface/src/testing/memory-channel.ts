import type { AbortOptions, Bytes, NodeId } from '../base.ts'
import type {
  BulkChannel,
  BulkChannelEvents,
  BulkMessage,
  BulkPriority,
  BulkSendOptions,
  BulkStats,
} from '../bulk-channel.ts'
import {
  BulkAbortedError,
  BulkClosedError,
  BulkConsumedError,
  BulkQueueFullError,
  BulkSessionLostError,
} from '../errors.ts'
import { MemoryInbox } from './memory-inbox.ts'
import {
  concat,
  MemoryOutbox,
  type OutgoingMessage,
  partsOf,
  SENDS_WAITING_MAX,
} from './memory-outbox.ts'
import { TypedTarget } from './typed-target.ts'

export interface MemoryChannelConfig {
  readonly local: NodeId
  readonly remote: NodeId
  readonly purpose: string
  readonly messageBytesMax: number
  readonly bufferBytesMax: number
  readonly now: () => number
}

/** One end of an in-process channel. The pair connects two of them and owns their faults. */
export class MemoryChannel extends TypedTarget<BulkChannelEvents> implements BulkChannel {
  readonly local: NodeId
  readonly remote: NodeId
  readonly purpose: string
  readonly messageBytesMax: number
  readonly bufferBytesMax: number
  readonly #now: () => number
  readonly #limits: Readonly<Record<BulkPriority, number>>
  readonly #outbox: MemoryOutbox
  readonly #inbox: MemoryInbox
  #peer: MemoryChannel | undefined
  #state: 'open' | 'suspended' | 'closed' = 'open'
  #suspendedAt = 0
  /** Why nothing is sent any more; set by the first cause. */
  #refusal: Error | undefined
  #closing: Promise<void> | undefined
  #sendingEnded = false
  #consumer: 'none' | 'active' | 'gone' = 'none'
  #pumpQueued = false
  #receivedBytes = 0

  constructor(config: MemoryChannelConfig) {
    super()
    this.local = config.local
    this.remote = config.remote
    this.purpose = config.purpose
    this.messageBytesMax = config.messageBytesMax
    this.bufferBytesMax = config.bufferBytesMax
    this.#now = config.now
    const control = Math.floor(config.bufferBytesMax / 16)
    this.#limits = { control, bulk: config.bufferBytesMax - control }
    this.#outbox = new MemoryOutbox(this.#limits)
    this.#inbox = new MemoryInbox(this.#limits, () => this.#peer?.pump())
  }

  connect(peer: MemoryChannel): void {
    this.#peer = peer
  }

  get state(): 'open' | 'suspended' | 'closed' {
    return this.#state
  }

  async send(message: Bytes, options: BulkSendOptions = {}): Promise<void> {
    const released = options.onReleased ?? ((): void => {})
    let outgoing: OutgoingMessage
    try {
      const parts = partsOf(message)
      const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0)
      const priority = options.priority ?? 'bulk'
      outgoing = { parts, bytes, released, priority }
      const bytesMax = Math.min(this.messageBytesMax, this.#limits[priority])
      if (bytes < 1 || bytes > bytesMax) {
        throw new RangeError(`message must have 1..${bytesMax} bytes, got ${bytes}`)
      }
      options.signal?.throwIfAborted()
      if (this.#refusal !== undefined) throw this.#refusal
      if (this.#outbox.waitingCount >= SENDS_WAITING_MAX) {
        throw new BulkQueueFullError(this.purpose, SENDS_WAITING_MAX)
      }
    } catch (error) {
      released()
      throw error
    }
    const accepted = this.#outbox.send(outgoing, options)
    this.pump()
    await accepted
  }

  async flush(options: AbortOptions = {}): Promise<void> {
    options.signal?.throwIfAborted()
    if (this.#state === 'closed') throw this.#refusal ?? new BulkClosedError(this.purpose)
    await this.#outbox.flush(options.signal)
  }

  receive(): AsyncGenerator<BulkMessage, void, undefined> {
    const second = this.#consumer !== 'none'
    if (!second) this.#consumer = 'active'
    return this.#consume(second)
  }

  async *#consume(second: boolean): AsyncGenerator<BulkMessage, void, undefined> {
    if (second) throw new BulkConsumedError(this.purpose)
    let left = true
    try {
      for (;;) {
        const message = this.#inbox.shift()
        if (message !== undefined) {
          const { byteLength } = message.bytes
          yield message
          this.#inbox.credit(message.priority, byteLength)
        } else if (this.#inbox.ended !== undefined) {
          left = false
          this.#endIfBothHalvesEnded()
          if (this.#inbox.ended.error !== undefined) throw this.#inbox.ended.error
          return
        } else {
          await this.#inbox.changed()
        }
      }
    } finally {
      this.#consumer = 'gone'
      if (left) await this.close()
    }
  }

  get source(): AsyncIterable<Uint8Array> {
    const messages = this.receive()
    return (async function* bytesOf() {
      for await (const { bytes } of messages) yield bytes
    })()
  }

  async sink(source: AsyncIterable<Bytes> | Iterable<Bytes>): Promise<void> {
    try {
      for await (const message of source) await this.send(message)
    } catch (error) {
      this.abort(error instanceof Error ? error : new Error(String(error)))
      throw error
    }
    await this.flush()
    this.#refusal ??= new BulkClosedError(this.purpose)
    this.#sendingEnded = true
    this.#peer?.peerEnded()
    this.#endIfBothHalvesEnded()
  }

  async close(options: AbortOptions = {}): Promise<void> {
    const { signal } = options
    if (this.#state === 'closed') return
    const abort = (): void => {
      this.abort(signal?.reason instanceof Error ? signal.reason : new Error('close was aborted'))
    }
    if (signal?.aborted === true) abort()
    else signal?.addEventListener('abort', abort, { once: true })
    this.#closing ??= this.#close()
    try {
      await this.#closing
    } finally {
      signal?.removeEventListener('abort', abort)
    }
    signal?.throwIfAborted()
  }

  async #close(): Promise<void> {
    this.#refusal ??= new BulkClosedError(this.purpose)
    this.#outbox.refuseWaiting(this.#refusal)
    if (this.#consumer !== 'active') this.#inbox.discard()
    try {
      await this.#outbox.flush(undefined)
    } catch (error) {
      // The peer closed first, or this side aborted: told by the event, nothing is left to flush.
      if (!(error instanceof BulkClosedError)) throw error
    }
    if (this.#state === 'closed') return
    this.#finish(undefined)
    this.#peer?.peerClosed()
  }

  abort(reason: Error): void {
    if (this.#state === 'closed') return
    this.#inbox.discard()
    this.#finish(new BulkClosedError(this.purpose, { cause: reason }), reason)
    this.#peer?.peerAborted()
  }

  stats(): BulkStats {
    return {
      acceptedBytes: this.#outbox.acceptedBytes,
      acknowledgedBytes: this.#outbox.acknowledgedBytes,
      receivedBytes: this.#receivedBytes,
      resentBytes: 0,
      linksUp: this.#state === 'open' ? 1 : 0,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Delivers what is accepted and fits the peer's inbox, in a later microtask. */
  pump(): void {
    if (this.#pumpQueued) return
    this.#pumpQueued = true
    queueMicrotask(() => {
      this.#pumpQueued = false
      for (const priority of ['control', 'bulk'] as const) this.#deliver(priority)
    })
  }

  #deliver(priority: BulkPriority): void {
    const peer = this.#peer
    while (this.#state === 'open' && peer !== undefined) {
      const message = this.#outbox.peek(priority)
      if (message === undefined || !peer.#inbox.fits(priority, message.bytes)) return
      peer.#receivedBytes += message.bytes
      peer.#inbox.push({ priority, bytes: concat(message) })
      this.#outbox.acknowledge(priority)
    }
  }

  suspend(): void {
    if (this.#state !== 'open') return
    this.#state = 'suspended'
    this.#suspendedAt = this.#now()
    this.emit('suspended', { since: this.#suspendedAt })
  }

  resume(): void {
    if (this.#state !== 'suspended') return
    this.#state = 'open'
    this.emit('resumed', { gapMs: this.#now() - this.#suspendedAt })
    this.pump()
  }

  lose(): void {
    if (this.#state === 'closed') return
    const error = new BulkSessionLostError(this.remote, this.purpose, 'lost on purpose by a test')
    this.#finish(error, error)
  }

  /** The peer's sending half ended; what it sent is in the inbox. */
  peerEnded(): void {
    this.#inbox.end()
  }

  peerClosed(): void {
    if (this.#state !== 'closed') this.#finish(undefined)
  }

  peerAborted(): void {
    if (this.#state === 'closed') return
    const error = new BulkAbortedError(this.remote, this.purpose)
    this.#inbox.discard()
    this.#finish(error, error)
  }

  #endIfBothHalvesEnded(): void {
    if (this.#sendingEnded && this.#inbox.ended !== undefined && this.#state !== 'closed') {
      this.#finish(undefined)
    }
  }

  #finish(error: Error | undefined, reason?: Error): void {
    this.#state = 'closed'
    this.#refusal =
      error ??
      (this.#refusal instanceof BulkClosedError ? this.#refusal : undefined) ??
      new BulkClosedError(this.purpose)
    this.#outbox.release(this.#refusal)
    this.#inbox.end(error)
    this.emit('closed', reason === undefined ? {} : { reason })
  }
}
