import type { Connection, Stream } from '@libp2p/interface'
import {
  type AbortOptions,
  type Bytes,
  type Clock,
  type Logger,
  type MessageTransport,
  type MessageTransportEvents,
  type NodeId,
  type Random,
  TransportLostError,
  TransportUnreachableError,
} from '@mycelium/interface'
import { REQUEST_LIMIT_MS, STREAM_OPEN_TIMEOUT_MS } from './constants.ts'
import { Deadline } from './deadline.ts'
import { type Handler, Lane, type LaneConfig, lengthOf, partsOf } from './lane.ts'
import { TypedTarget } from './typed-target.ts'
import { encodeFrame, FrameReader } from './wire.ts'

/** A {@link MessageTransport} of a fabric, that also tells which version a peer speaks. */
export interface FabricTransport extends MessageTransport {
  /** Protocol ids, newest first. */
  readonly protocols: readonly string[]
  /** `<major>.<minor>` agreed with the peer; known once something was sent to it. */
  versionOf(peer: NodeId): string | undefined
}

export interface TransportDeps {
  readonly self: NodeId
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly peers: () => readonly NodeId[]
  readonly used: (peer: NodeId) => Connection | undefined
}

/** One protocol over the connections of a fabric. */
export class ProtocolTransport
  extends TypedTarget<MessageTransportEvents>
  implements FabricTransport
{
  readonly protocols: readonly string[]
  readonly #deps: TransportDeps
  readonly #config: LaneConfig
  readonly #lanes = new Map<NodeId, Lane>()
  #handler: Handler | undefined

  constructor(deps: TransportDeps, protocols: readonly string[], config: LaneConfig) {
    super()
    this.#deps = deps
    this.#config = config
    this.protocols = protocols
    for (const peer of deps.peers()) this.#addLane(peer)
  }

  get self(): NodeId {
    return this.#deps.self
  }

  get messageBytesMax(): number {
    return this.#config.messageBytesMax
  }

  peers(): readonly NodeId[] {
    return [...this.#lanes.keys()].filter((peer) => this.#isUp(peer))
  }

  versionOf(peer: NodeId): string | undefined {
    return this.#lanes.get(peer)?.protocol?.split('/').at(-1)
  }

  send(to: NodeId, message: Bytes): boolean {
    const frame = encodeFrame('message', undefined, this.#checked(message))
    return this.#isUp(to) && this.#lanes.get(to)?.send(frame) === true
  }

  async request(to: NodeId, message: Bytes, { signal }: AbortOptions = {}): Promise<Uint8Array> {
    const parts = this.#checked(message)
    signal?.throwIfAborted()
    const lane = this.#isUp(to) ? this.#lanes.get(to) : undefined
    if (lane === undefined) throw new TransportUnreachableError(to, 'not connected')
    const { questions } = lane
    const { id, answer } = questions.ask()
    const fail = (error: unknown): void => {
      const wasWritten = questions.isWritten(id)
      if (questions.failed(id, error) && wasWritten) lane.cancel(id)
    }
    const onDropped = (why: string): void => fail(new TransportUnreachableError(to, why))
    if (!lane.ask(id, parts, onDropped)) onDropped('its queue is full')
    const onAbort = (): void => fail(signal?.reason)
    signal?.addEventListener('abort', onAbort)
    const { clock } = this.#deps
    const cancelTimer =
      signal === undefined
        ? clock.schedule(clock.now() + REQUEST_LIMIT_MS, () => {
            const why = `none in ${REQUEST_LIMIT_MS} ms`
            const cause = questions.isWritten(id) ? TransportLostError : TransportUnreachableError
            fail(new cause(to, why))
          })
        : (): void => {}
    try {
      return await answer
    } finally {
      cancelTimer()
      signal?.removeEventListener('abort', onAbort)
    }
  }

  handle(handler: Handler): () => void {
    if (this.#handler !== undefined) throw new TypeError('handler must be the only one')
    const own: Handler = (...question) => handler(...question)
    this.#handler = own
    return () => {
      if (this.#handler === own) this.#handler = undefined
    }
  }

  /** For the fabric: the peer has its first connection. */
  up(peer: NodeId): void {
    this.#addLane(peer)
    this.emit('peer:up', { peer })
  }

  /** For the fabric: another connection of the peer is used. */
  moved(peer: NodeId): void {
    this.#lanes.get(peer)?.move()
  }

  /** For the fabric: the peer lost its last connection, or must go. */
  down(peer: NodeId): void {
    const lane = this.#lanes.get(peer)
    if (lane === undefined) return
    this.#lanes.delete(peer)
    lane.close()
    this.emit('peer:down', { peer })
  }

  /** For the fabric: a peer opened a stream to us. */
  accept(stream: Stream, connection: Connection): void {
    const peer = connection.remotePeer.toString() as NodeId
    const reader = new FrameReader(this.#config)
    stream.addEventListener('message', ({ data }) => {
      try {
        for (const chunk of data instanceof Uint8Array ? [data] : data) {
          for (const frame of reader.push(chunk)) {
            // Asked for each: a listener may have dropped the peer.
            if (!this.#isUp(peer)) throw new Error('the peer is down')
            this.#lanes.get(peer)?.receive(frame, connection)
          }
        }
      } catch (error) {
        this.#deps.logger.log('warn', 'stream reset', { peer, error: String(error) })
        stream.abort(error instanceof Error ? error : new Error('reset', { cause: error }))
      }
    })
    // The peer sends no more: nothing is sent on this stream from here.
    stream.addEventListener('remoteCloseWrite', () => {
      stream.close().catch((error: unknown) => {
        stream.abort(new Error('could not be closed in order', { cause: error }))
      })
    })
    if (!this.#isUp(peer)) stream.abort(new Error('the peer is down'))
  }

  #addLane(peer: NodeId): void {
    const { clock, random } = this.#deps
    const deps = {
      peer,
      random,
      connection: () => this.#deps.used(peer),
      open: (connection: Connection) => this.#open(connection),
      now: () => clock.now(),
      handler: () => this.#handler,
      onMessage: (message: Uint8Array) => {
        this.emit('message', { from: peer, message })
      },
    }
    this.#lanes.set(peer, new Lane(deps, this.#config))
  }

  async #open(connection: Connection): Promise<Stream> {
    using deadline = new Deadline(this.#deps.clock, STREAM_OPEN_TIMEOUT_MS)
    const { signal } = deadline
    return await connection.newStream([...this.protocols], { signal, runOnLimitedConnection: true })
  }

  /** What the connections say: earlier than the events, which may still be on their way. */
  #isUp(peer: NodeId): boolean {
    return this.#deps.used(peer) !== undefined
  }

  #checked(message: Bytes): Uint8Array[] {
    const parts = partsOf(message)
    const length = lengthOf(parts)
    if (length > this.messageBytesMax) {
      throw new RangeError(`message must have at most ${this.messageBytesMax} bytes, got ${length}`)
    }
    return parts
  }
}
