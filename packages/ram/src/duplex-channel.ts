import type { Duplex } from 'node:stream'
import {
  type AbortOptions,
  BulkAbortedError,
  type BulkChannel,
  type BulkChannelEvents,
  BulkClosedError,
  BulkConsumedError,
  type BulkMessage,
  BulkQueueFullError,
  BulkRefusedError,
  type BulkSendOptions,
  BulkSessionLostError,
  type BulkStats,
  BulkUnreachableError,
  type Bytes,
  type Clock,
  type NodeId,
  type Random,
} from '@mycelium/interface'
import { TypedEventEmitter } from 'main-event'
import type { ChannelConfig } from './channel-config.ts'
import { ChannelLink } from './channel-link.ts'
import { ChannelLinks } from './channel-links.ts'
import { encodeFrame, encodeHello, type WireFrame } from './channel-wire.ts'
import { Session } from './core/session.ts'
import { FRAGMENT_BYTES_MAX, SENDS_WAITING_MAX } from './core/session-constants.ts'
import { windowBytes } from './core/session-lanes.ts'
import type { SessionEffect, SessionEnd, SessionInput, SessionState } from './core/session-types.ts'
import { FlushQueue } from './flush-queue.ts'
import { ReceiveQueue } from './receive-queue.ts'
import { SendTicket } from './send-ticket.ts'

/** How long a closed channel waits until the peer has read its last frame. */
const LINGER_MS = 1_000

type Events = { [Type in keyof BulkChannelEvents]: CustomEvent<BulkChannelEvents[Type]> }

export interface DuplexChannelDeps {
  readonly clock: Clock
  readonly random: Random
  /** Opener: a new connection to the peer. */
  readonly connect?: (options: { readonly signal: AbortSignal }) => Promise<Duplex>
}

export interface DuplexChannelIdentity {
  readonly local: NodeId
  readonly remote: NodeId
  readonly purpose: string
  readonly sessionId: Uint8Array
}

/** The I/O shell of a {@link Session}: streams, one timer, promises and events. */
export class DuplexChannel extends TypedEventEmitter<Events> implements BulkChannel {
  readonly local: NodeId
  readonly remote: NodeId
  readonly purpose: string
  readonly #identity: DuplexChannelIdentity
  readonly #deps: DuplexChannelDeps
  readonly #session: Session<SendTicket>
  readonly #queue: ReceiveQueue
  readonly #opened = Promise.withResolvers<void>()
  readonly #over = Promise.withResolvers<void>()
  readonly #flushes: FlushQueue
  /** Effects in order; callbacks of the user may add to them while they are carried out. */
  readonly #effects: SessionEffect<SendTicket>[] = []
  #performing = false
  readonly #links = new ChannelLinks()
  #acceptedLinks = 0
  #timer: { readonly at: number; readonly cancel: () => void } | undefined
  /** Why nothing more is sent; set by the first cause. */
  #refusal: Error | undefined
  #end: SessionEnd | undefined
  #abortReason: Error | undefined
  #sendingEnded = false
  #wasOpen = false
  #consumer: 'none' | 'active' | 'gone' = 'none'

  constructor(
    deps: DuplexChannelDeps,
    identity: DuplexChannelIdentity,
    config: ChannelConfig & { readonly role: 'opener' | 'acceptor' },
  ) {
    super()
    this.#deps = deps
    this.#identity = identity
    this.local = identity.local
    this.remote = identity.remote
    this.purpose = identity.purpose
    const allocate = (bytes: number): Uint8Array => Buffer.allocUnsafeSlow(bytes)
    const sessionConfig = { ...config, fragmentBytes: FRAGMENT_BYTES_MAX }
    this.#session = new Session({ random: deps.random, allocate }, sessionConfig)
    this.#flushes = new FlushQueue(this.#session)
    this.#queue = new ReceiveQueue((priority, bytes) => {
      this.#step({ type: 'consumed', priority, bytes })
    })
    this.#opened.promise.catch(() => {}) // nobody may be waiting; `closed` tells
    this.#over.promise.catch(() => {})
  }

  /** Opener: connects and greets. Rejects as {@link BulkChannelProvider.open} says. */
  async open(options: AbortOptions): Promise<void> {
    const { signal } = options
    signal?.throwIfAborted()
    const abort = (): void => this.#step({ type: 'abort' })
    signal?.addEventListener('abort', abort)
    this.#carryOut(this.#session.start(this.#deps.clock.now()))
    try {
      await this.#opened.promise
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /** Acceptor: the opener came over a new connection. */
  attach(
    link: ChannelLink,
    hello: { readonly attempt: number; readonly state: SessionState },
  ): void {
    const number = ++this.#acceptedLinks
    const { attempt, state } = hello
    this.#listen(number, link)
    this.#step({ type: 'attached', link: number, attempt, state })
  }

  /** Settles when the channel is over, whatever ended it. */
  async ended(): Promise<void> {
    await this.#over.promise.catch(() => {})
  }

  get messageBytesMax(): number {
    return this.#session.limits.messageBytesMax
  }

  get bufferBytesMax(): number {
    return this.#session.limits.bufferBytesMax
  }

  get state(): 'open' | 'suspended' | 'closed' {
    if (this.#end !== undefined) return 'closed'
    return this.#session.linkUp ? 'open' : 'suspended'
  }

  async send(message: Bytes, options: BulkSendOptions = {}): Promise<void> {
    let ticket: SendTicket
    try {
      ticket = new SendTicket(message, options)
      const window = windowBytes(ticket.priority, this.bufferBytesMax)
      const bytesMax = Math.min(this.messageBytesMax, window)
      if (ticket.bytes < 1 || ticket.bytes > bytesMax) {
        throw new RangeError(`message must have 1..${bytesMax} bytes, got ${ticket.bytes}`)
      }
      options.signal?.throwIfAborted()
      if (this.#refusal !== undefined) throw this.#refusal
      if (this.#session.waitingCount >= SENDS_WAITING_MAX) {
        throw new BulkQueueFullError(this.purpose, SENDS_WAITING_MAX)
      }
    } catch (error) {
      options.onReleased?.()
      throw error
    }
    ticket.onAbort(() => this.#step({ type: 'withdraw', message: ticket }))
    this.#step({ type: 'send', message: ticket })
    await ticket.accepted
  }

  async flush(options: AbortOptions = {}): Promise<void> {
    const { signal } = options
    signal?.throwIfAborted()
    if (this.#end !== undefined) throw this.#refusal ?? new BulkClosedError(this.purpose)
    await this.#flushes.wait(signal)
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
        const message = this.#queue.shift()
        if (message !== undefined) {
          const { byteLength } = message.bytes
          yield message
          this.#queue.consumed(message.priority, byteLength)
        } else if (this.#queue.ended !== undefined) {
          left = false
          const { error } = this.#queue.ended
          if (error !== undefined) throw error
          if (this.#sendingEnded) await this.close()
          return
        } else {
          await this.#queue.changed()
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
      await this.flush()
    } catch (error) {
      this.abort(error instanceof Error ? error : new Error(String(error)))
      throw error
    }
    this.#refusal ??= new BulkClosedError(this.purpose)
    this.#sendingEnded = true
    this.#step({ type: 'end' })
    if (this.#consumer === 'gone') await this.close()
  }

  async close(options: AbortOptions = {}): Promise<void> {
    const { signal } = options
    if (this.#end !== undefined) return
    const abort = (): void => {
      this.abort(signal?.reason instanceof Error ? signal.reason : new Error('close was aborted'))
    }
    if (signal?.aborted === true) abort()
    else signal?.addEventListener('abort', abort)
    this.#refusal ??= new BulkClosedError(this.purpose)
    this.#step({ type: 'close' })
    if (this.#consumer !== 'active') this.#queue.discard()
    try {
      await this.#over.promise
    } finally {
      signal?.removeEventListener('abort', abort)
    }
    signal?.throwIfAborted()
  }

  abort(reason: Error): void {
    if (this.#end !== undefined) return
    this.#abortReason = reason
    this.#step({ type: 'abort' })
  }

  stats(): BulkStats {
    const { rttMs, ...counts } = this.#session.counts
    const linksUp = this.#session.linkUp ? 1 : 0
    return { ...counts, linksUp, ...(rttMs === undefined ? {} : { rttMs }) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // ---- the session

  #step(input: SessionInput<SendTicket>): void {
    this.#carryOut(this.#session.step(input, this.#deps.clock.now()))
  }

  #carryOut(effects: readonly SessionEffect<SendTicket>[]): void {
    this.#effects.push(...effects)
    if (this.#performing) return
    this.#performing = true
    try {
      for (
        let effect = this.#effects.shift();
        effect !== undefined;
        effect = this.#effects.shift()
      ) {
        this.#perform(effect)
      }
    } finally {
      this.#performing = false
    }
    this.#flushes.settle()
    this.#pump()
    this.#arm()
  }

  #perform(effect: SessionEffect<SendTicket>): void {
    switch (effect.type) {
      case 'accepted':
        return effect.message.accept()
      case 'rejected':
        return effect.message.reject(this.#refusal ?? new BulkClosedError(this.purpose))
      case 'released':
        return effect.message.release()
      case 'deliver':
        return this.#queue.push({ priority: effect.priority, bytes: effect.bytes })
      case 'peer-ended':
        return this.#queue.end()
      case 'connect':
        return this.#connect(effect.link)
      case 'disconnect':
        return this.#links.drop(effect.link)
      case 'opened':
        this.#wasOpen = true
        return this.#opened.resolve()
      case 'suspended':
        this.safeDispatchEvent('suspended', { detail: { since: effect.since } })
        return
      case 'resumed':
        this.safeDispatchEvent('resumed', { detail: { gapMs: effect.gapMs } })
        return
      case 'over':
        return this.#finish(effect.end, effect.unreleased)
    }
  }

  /** Gives the link what it takes: many frames with one system call. */
  #pump(): void {
    const { current } = this.#links
    if (current === undefined || !current.writable) return
    let corked = false
    while (current.writable) {
      const frame = this.#session.poll()
      if (frame === undefined) break
      if (!corked) current.cork()
      corked = true
      if (frame.type === 'hello') {
        const { sessionId, local, remote, purpose } = this.#identity
        const introduction = { sessionId, from: local, to: remote, purpose }
        current.write([encodeHello(frame, introduction)])
      } else {
        current.write(encodeFrame(frame))
      }
    }
    if (corked) current.uncork()
  }

  /** One timer; it may fire early, never late: most steps only move the deadline away. */
  #arm(): void {
    const at = this.#session.nextDeadline()
    if (at === undefined) {
      this.#timer?.cancel()
      this.#timer = undefined
    } else if (this.#timer === undefined || at < this.#timer.at) {
      this.#timer?.cancel()
      const cancel = this.#deps.clock.schedule(at, () => {
        this.#timer = undefined
        this.#step({ type: 'tick' })
      })
      this.#timer = { at, cancel }
    }
  }

  // ---- links

  #connect(number: number): void {
    const { connect } = this.#deps
    if (connect === undefined) throw new TypeError('an opener needs deps.connect')
    this.#links.connect(number, connect, {
      connected: (duplex) => {
        this.#listen(number, new ChannelLink(duplex))
        this.#step({ type: 'connected', link: number })
      },
      failed: (why) => this.#step({ type: 'disconnected', link: number, why }),
    })
  }

  #listen(number: number, link: ChannelLink): void {
    this.#links.add(number, link)
    const gone = (why: string): void => {
      this.#links.delete(number)
      this.#step({ type: 'disconnected', link: number, why })
    }
    link.listen({
      frame: (frame: WireFrame) => {
        if (frame.type !== 'hello') return this.#step({ type: 'frame', link: number, frame })
        link.destroy()
        gone('the peer greets twice')
      },
      writable: () => this.#pump(),
      gone,
    })
  }

  // ---- the end

  #finish(end: SessionEnd, unreleased: readonly SendTicket[]): void {
    const error = this.#errorOf(end)
    this.#end = end
    const failed = end.by === 'loss' || end.by === 'refusal' || end.by === 'peer-abort'
    const refusal = failed ? error : undefined
    this.#refusal = refusal ?? new BulkClosedError(this.purpose, { cause: this.#abortReason })
    if (end.by === 'abort' || end.by === 'peer-abort') this.#queue.discard()
    this.#queue.end(end.by === 'abort' ? this.#refusal : error)
    this.#flushes.reject(this.#refusal)
    this.#links.stopConnecting()
    this.#opened.reject(this.#refusal)
    this.#letGo(unreleased)
    const reason = end.by === 'abort' ? this.#abortReason : error
    this.safeDispatchEvent('closed', { detail: reason === undefined ? {} : { reason } })
    if (failed) this.#over.reject(this.#refusal)
    else this.#over.resolve()
  }

  /** Sends the last frame, closes the link, and only then gives the memory back. */
  #letGo(unreleased: readonly SendTicket[]): void {
    const last = this.#links.current
    const release = (): void => {
      for (const ticket of unreleased) ticket.release()
    }
    if (last === undefined) return release()
    const frame = this.#session.poll()
    this.#links.clear()
    if (frame !== undefined && frame.type !== 'hello') {
      last.write(encodeFrame(frame))
      last.end()
    } else {
      last.destroy()
    }
    const { clock } = this.#deps
    const cancel = clock.schedule(clock.now() + LINGER_MS, () => last.destroy())
    void last.closed.then(() => {
      cancel()
      release()
    })
  }

  #errorOf(end: SessionEnd): Error | undefined {
    const { remote, purpose } = this
    switch (end.by) {
      case 'loss':
        if (!this.#wasOpen) return new BulkUnreachableError(remote, end.why)
        return new BulkSessionLostError(remote, purpose, end.why)
      case 'refusal':
        return new BulkRefusedError(remote, purpose, end.reason)
      case 'peer-abort':
        return new BulkAbortedError(remote, purpose)
      case 'local':
      case 'peer':
      case 'abort':
        return undefined
    }
  }
}
