import type { Duplex } from 'node:stream'
import type { AbortOptions, BulkChannel, Clock, NodeId, Random } from '@mycelium/interface'
import type { ChannelConfig } from './channel-config.ts'
import { ChannelLink } from './channel-link.ts'
import { encodeRefusal, type Hello } from './channel-wire.ts'
import type { RefusalReason } from './core/session-types.ts'
import { DuplexChannel } from './duplex-channel.ts'

/** Channels that a listener has not taken yet; stated by the contract of BulkChannelProvider. */
export const UNACCEPTED_MAX = 16
/** Connections that have not greeted yet. More are closed at once. */
export const GREETING_MAX = 64
/** Sessions at a time. Each may hold two buffers of memory. */
export const SESSIONS_MAX = 256

interface Listener {
  readonly prefix: string
  offer(channel: DuplexChannel): boolean
}

/** The accepting side of a provider: greets connections and finds or makes their sessions. */
export class ChannelAcceptor {
  readonly #clock: Clock
  readonly #random: Random
  readonly #local: NodeId
  readonly #config: ChannelConfig
  readonly #greeting = new Set<ChannelLink>()
  readonly #sessions = new Map<string, DuplexChannel>()
  readonly #listeners = new Set<Listener & { stop(): void }>()

  constructor(
    deps: { readonly clock: Clock; readonly random: Random },
    local: NodeId,
    config: ChannelConfig,
  ) {
    this.#clock = deps.clock
    this.#random = deps.random
    this.#local = local
    this.#config = config
  }

  /**
   * Takes a new connection. `authenticated`: who is surely at its other end; without it the peer is
   * believed, which is right only where the system lets nobody else connect.
   */
  handle(duplex: Duplex, authenticated?: NodeId): void {
    if (this.#greeting.size >= GREETING_MAX) {
      duplex.on('error', () => {}) // it is closed because there are too many, whatever it says
      duplex.destroy()
      return
    }
    const link = new ChannelLink(duplex)
    this.#greeting.add(link)
    const late = (): void => {
      this.#greeting.delete(link)
      link.destroy()
    }
    const cancel = this.#clock.schedule(this.#clock.now() + this.#config.connectMs, late)
    const greeted = (): void => {
      cancel()
      this.#greeting.delete(link)
    }
    link.listen({
      frame: (frame) => {
        greeted()
        if (frame.type !== 'hello') return link.destroy()
        const refusal = this.#greet(link, frame, authenticated)
        if (refusal === undefined) return
        link.write([encodeRefusal(refusal)])
        link.end()
      },
      writable: () => {},
      gone: greeted,
    })
  }

  /** See {@link BulkChannelProvider.accept}. Listens from the call on, until left or aborted. */
  accept(prefix: string, options: AbortOptions = {}): AsyncGenerator<BulkChannel, void, undefined> {
    const listener = new ChannelListener(prefix, () => {
      this.#listeners.delete(listener)
      options.signal?.removeEventListener('abort', abort)
    })
    const abort = (): void => listener.fail(options.signal?.reason)
    this.#listeners.add(listener)
    if (options.signal?.aborted === true) abort()
    else options.signal?.addEventListener('abort', abort)
    return listener
  }

  /** Ends the listeners and aborts the channels. */
  async stop(reason: Error): Promise<void> {
    for (const listener of [...this.#listeners]) listener.stop()
    for (const link of this.#greeting) link.destroy()
    this.#greeting.clear()
    const channels = [...this.#sessions.values()]
    for (const channel of channels) channel.abort(reason)
    await Promise.all(channels.map(async (channel) => await channel.ended()))
  }

  #greet(
    link: ChannelLink,
    hello: Hello,
    authenticated: NodeId | undefined,
  ): RefusalReason | undefined {
    const remote = hello.from as NodeId
    if (hello.to !== this.#local) return 'not-allowed'
    if (authenticated !== undefined && authenticated !== remote) return 'not-allowed'
    const key = Buffer.from(hello.sessionId).toString('hex')
    const known = this.#sessions.get(key)
    if (known !== undefined) {
      if (known.remote !== remote) return 'unknown-session'
      known.attach(link, hello)
      return undefined
    }
    if (!hello.fresh) return 'unknown-session'
    const listener = this.#listenerFor(hello.purpose)
    if (listener === undefined) return 'no-listener'
    if (this.#sessions.size >= SESSIONS_MAX) return 'queue-full'
    const channel = this.#makeChannel(hello, remote)
    if (!listener.offer(channel)) return 'queue-full'
    this.#sessions.set(key, channel)
    void channel.ended().then(() => this.#sessions.delete(key))
    channel.attach(link, hello)
    return undefined
  }

  /** The one with the longest prefix. */
  #listenerFor(purpose: string): Listener | undefined {
    return [...this.#listeners]
      .filter(({ prefix }) => purpose.startsWith(prefix))
      .sort((a, b) => b.prefix.length - a.prefix.length)[0]
  }

  #makeChannel(hello: Hello, remote: NodeId): DuplexChannel {
    const { sessionId, purpose } = hello
    const config = {
      ...this.#config,
      role: 'acceptor' as const,
      messageBytesMax: Math.min(this.#config.messageBytesMax, hello.messageBytesMax),
      bufferBytesMax: Math.min(this.#config.bufferBytesMax, hello.bufferBytesMax),
    }
    const deps = { clock: this.#clock, random: this.#random }
    return new DuplexChannel(deps, { local: this.#local, remote, purpose, sessionId }, config)
  }
}

/** Channels for one prefix that wait to be taken. */
class ChannelListener implements AsyncGenerator<BulkChannel, void, undefined>, Listener {
  readonly prefix: string
  readonly #onEnd: () => void
  readonly #channels: DuplexChannel[] = []
  readonly #takers: PromiseWithResolvers<IteratorResult<BulkChannel, void>>[] = []
  #end: { readonly error?: unknown } | undefined

  constructor(prefix: string, onEnd: () => void) {
    this.prefix = prefix
    this.#onEnd = onEnd
  }

  offer(channel: DuplexChannel): boolean {
    const taker = this.#takers.shift()
    if (taker !== undefined) {
      taker.resolve({ value: channel, done: false })
      return true
    }
    if (this.#channels.length >= UNACCEPTED_MAX) return false
    this.#channels.push(channel)
    return true
  }

  async next(): Promise<IteratorResult<BulkChannel, void>> {
    for (let next = this.#channels.shift(); next !== undefined; next = this.#channels.shift()) {
      if (next.state !== 'closed') return { value: next, done: false } // its peer may have gone
    }
    const end = this.#end
    if (end !== undefined) {
      this.#end = {}
      if (end.error !== undefined) return await Promise.reject<never>(end.error)
      return { value: undefined, done: true }
    }
    const taker = Promise.withResolvers<IteratorResult<BulkChannel, void>>()
    this.#takers.push(taker)
    return await taker.promise
  }

  async return(): Promise<IteratorResult<BulkChannel, void>> {
    this.stop()
    return { value: undefined, done: true }
  }

  async throw(error: unknown): Promise<IteratorResult<BulkChannel, void>> {
    this.stop()
    throw error
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop()
  }

  stop(): void {
    this.#finish({})
  }

  fail(error: unknown): void {
    this.#finish({ error })
  }

  #finish(end: { readonly error?: unknown }): void {
    if (this.#end !== undefined) return
    const [first, ...others] = this.#takers.splice(0)
    this.#end = first === undefined ? end : {}
    if (end.error === undefined) first?.resolve({ value: undefined, done: true })
    else first?.reject(end.error)
    for (const other of others) other.resolve({ value: undefined, done: true })
    for (const channel of this.#channels.splice(0)) channel.abort(new Error('nobody took it'))
    this.#onEnd()
  }
}
