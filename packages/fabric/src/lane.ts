import type { Connection, Stream } from '@libp2p/interface'
import { type Bytes, type NodeId, type Random, TransportRefusedError } from '@mycelium/interface'
import { QUESTIONS_MAX } from './constants.ts'
import { FabricFrameError } from './errors.ts'
import { Outbox, type OutboxConfig, type OutboxDeps } from './outbox.ts'
import { Questions } from './questions.ts'
import { encodeFrame, type Frame, isRefusalCode } from './wire.ts'

export type Handler = (
  from: NodeId,
  message: Uint8Array,
  options: { readonly signal: AbortSignal },
) => Promise<Bytes>

export interface LaneConfig extends OutboxConfig {
  readonly messageBytesMax: number
  readonly handlersMax: number
}

export interface LaneDeps extends Pick<OutboxDeps, 'connection' | 'open' | 'now'> {
  readonly peer: NodeId
  readonly random: Random
  readonly handler: () => Handler | undefined
  readonly onMessage: (message: Uint8Array) => void
}

/** Everything between one transport and one peer that is up. */
export class Lane {
  readonly questions: Questions
  readonly #deps: LaneDeps
  readonly #config: LaneConfig
  readonly #outbox: Outbox
  /** Requests of the peer, from their arrival until their answer is written. */
  readonly #handling = new Map<bigint, { controller: AbortController; connection: Connection }>()
  readonly #watched = new WeakSet<Connection>()
  #isClosed = false

  constructor(deps: LaneDeps, config: LaneConfig) {
    this.#deps = deps
    this.#config = config
    this.questions = new Questions(deps.peer, deps.random)
    const onBroken = (stream: Stream): void => this.questions.broken(stream)
    this.#outbox = new Outbox({ ...deps, onBroken }, config)
  }

  /** Protocol id that was agreed with the peer. */
  get protocol(): string | undefined {
    return this.#outbox.protocol
  }

  /** Queues a message. False: no room, or the peer takes none. */
  send(bytes: Uint8Array): boolean {
    if (this.#outbox.isHeldOff || !this.#outbox.hasRoom(bytes.length)) return false
    this.#outbox.push({ bytes, isCounted: true })
    return true
  }

  /** Queues a question. False: no room. */
  ask(id: bigint, parts: readonly Uint8Array[], onDropped: (why: string) => void): boolean {
    const bytes = encodeFrame('question', id, parts)
    if (this.questions.count > QUESTIONS_MAX || !this.#outbox.hasRoom(bytes.length)) return false
    const onWritten = (stream: Stream): void => {
      const connection = this.#deps.connection()
      this.questions.written(id, stream, connection)
      if (connection !== undefined) this.#watch(connection)
    }
    const isWanted = (): boolean => this.questions.isOpen(id)
    this.#outbox.push({ bytes, isCounted: true, isWanted, onWritten, onDropped })
    return true
  }

  /** Tells the peer that nobody waits any more. As many as there were questions, so not counted. */
  cancel(id: bigint): void {
    this.#outbox.push({ bytes: encodeFrame('cancel', id, []), isCounted: false })
  }

  /** @throws `ERR_FABRIC_FRAME` */
  receive(frame: Frame, connection: Connection): void {
    switch (frame.kind) {
      case 'message':
        this.#deps.onMessage(frame.bytes)
        break
      case 'question':
        this.#handle(frame.id, frame.bytes, connection)
        break
      case 'answer':
        this.questions.answered(frame.id, frame.bytes)
        break
      case 'refusal':
        this.questions.failed(frame.id, new TransportRefusedError(this.#deps.peer, frame.code))
        break
      case 'cancel':
        this.#handling.get(frame.id)?.controller.abort(new Error('the asker has gone'))
        break
    }
  }

  move(): void {
    this.#outbox.move()
  }

  close(): void {
    this.#isClosed = true
    this.#outbox.close()
    this.questions.close()
    for (const { controller } of this.#handling.values()) {
      controller.abort(new Error('the asker has gone'))
    }
  }

  /** Ends what depends on a connection, once, when it ends. */
  #watch(connection: Connection): void {
    if (this.#watched.has(connection)) return
    this.#watched.add(connection)
    connection.addEventListener('close', () => {
      this.questions.broken(connection)
      for (const work of this.#handling.values()) {
        if (work.connection === connection) work.controller.abort(new Error('the asker has gone'))
      }
    })
  }

  #handle(id: bigint, message: Uint8Array, connection: Connection): void {
    if (this.#handling.has(id)) throw new FabricFrameError(`question ${id} comes twice`)
    const handler = this.#deps.handler()
    if (handler === undefined) {
      this.#refuse(id, 'ERR_TRANSPORT_NO_HANDLER')
      return
    }
    if (this.#handling.size >= this.#config.handlersMax) {
      this.#refuse(id, 'ERR_TRANSPORT_BUSY')
      return
    }
    const controller = new AbortController()
    this.#handling.set(id, { controller, connection })
    this.#watch(connection)
    void this.#work(handler, message, controller.signal).then((bytes) => {
      const done = (): void => void this.#handling.delete(id)
      const frame =
        typeof bytes === 'string'
          ? encodeFrame('refusal', id, [new TextEncoder().encode(bytes)])
          : encodeFrame('answer', id, bytes)
      // After an abort nobody waits for it.
      if (this.#isClosed || controller.signal.aborted) done()
      else this.#answer(frame, done)
    })
  }

  /** Parts of the answer, or the code of the refusal. Never rejects. */
  async #work(
    handler: Handler,
    message: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array[] | string> {
    try {
      const parts = partsOf(await handler(this.#deps.peer, message, { signal }))
      const isTooLong = lengthOf(parts) > this.#config.messageBytesMax
      return isTooLong ? 'ERR_TRANSPORT_ANSWER_TOO_LONG' : parts
    } catch (error) {
      const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined
      return isRefusalCode(code) ? code : 'ERR_TRANSPORT_HANDLER'
    }
  }

  #answer(bytes: Uint8Array, done: () => void): void {
    this.#outbox.push({ bytes, isCounted: false, onWritten: done, onDropped: done })
  }

  /** Holds no place of a handler, so it is counted: who floods gets no answer. */
  #refuse(id: bigint, code: string): void {
    const bytes = encodeFrame('refusal', id, [new TextEncoder().encode(code)])
    if (this.#outbox.hasRoom(bytes.length)) this.#outbox.push({ bytes, isCounted: true })
  }
}

/** @throws {TypeError} neither bytes nor parts */
export function partsOf(message: Bytes): Uint8Array[] {
  const parts: unknown[] = message instanceof Uint8Array ? [message] : [...message]
  return parts.map((part) => {
    if (!(part instanceof Uint8Array)) throw new TypeError('message must consist of Uint8Arrays')
    return part
  })
}

export function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0)
}
