import type { AbortOptions, Bytes, Clock, NodeId } from '../base.ts'
import { TransportLostError, TransportRefusedError, TransportUnreachableError } from '../errors.ts'
import type { MessageTransport, MessageTransportEvents } from '../message-transport.ts'
import { TypedTarget } from './typed-target.ts'

export interface MemoryTransportsDeps {
  /** For the limit of requests without a signal. */
  readonly clock: Pick<Clock, 'now' | 'schedule'>
}

export interface MemoryTransportsInit {
  /** @default 65_536 */
  readonly messageBytesMax?: number
  /** Bytes under way to one peer, above which `send` drops. @default 4 messages of the longest */
  readonly queueBytesMax?: number
  /** Messages and questions under way to one peer. @default 1_024 */
  readonly queueMax?: number
  /** Requests of one peer handled at once. @default 32 */
  readonly handlersMax?: number
}

/** In-process transports of several members, and the faults between them. */
export interface MemoryTransports {
  /** In the order of the names; each connected with each. */
  readonly transports: readonly MessageTransport[]
  /** Both ends have told `peer:down` when it returns. Idempotent. */
  disconnect(one: NodeId, other: NodeId): void
  /** Both ends have told `peer:up` when it returns. Idempotent. */
  connect(one: NodeId, other: NodeId): void
}

const MESSAGE_BYTES_DEFAULT = 65_536
const QUEUE_DEFAULT = 1_024
const HANDLERS_DEFAULT = 32

/** The contract's limit of a request without a signal. */
const REQUEST_LIMIT_MS = 10_000

/** What may stand in `remoteCode`: no text of a peer reaches a log beyond it. */
const CODE = /^[A-Z][A-Z0-9_]{0,63}$/

/**
 * {@link MessageTransport}s inside this process: the whole contract, without a socket. Messages
 * arrive in later microtasks, never inside `send`.
 *
 * @throws {RangeError} a name comes twice
 */
export function createMemoryTransports(
  { clock }: MemoryTransportsDeps,
  names: readonly NodeId[],
  init: MemoryTransportsInit = {},
): MemoryTransports {
  const messageBytesMax = init.messageBytesMax ?? MESSAGE_BYTES_DEFAULT
  const limits: Limits = {
    clock,
    messageBytesMax,
    queueBytesMax: init.queueBytesMax ?? 4 * messageBytesMax,
    queueMax: init.queueMax ?? QUEUE_DEFAULT,
    handlersMax: init.handlersMax ?? HANDLERS_DEFAULT,
  }
  const members = new Map(names.map((name) => [name, new MemoryTransport(name, limits)]))
  if (members.size !== names.length) throw new RangeError(`names must differ, got ${names.join()}`)
  const memberOf = (name: NodeId): MemoryTransport => {
    const member = members.get(name)
    if (member === undefined) throw new RangeError(`name must be a member, got ${name}`)
    return member
  }
  const connect = (one: NodeId, other: NodeId): void => {
    const [a, b] = [memberOf(one), memberOf(other)]
    if (a === b || a.isLinked(other)) return
    const link = { isUp: true }
    // Both ends stand before either tells it, so that a listener can already send.
    a.attach(b, link)
    b.attach(a, link)
    a.tellUp(other)
    b.tellUp(one)
  }
  for (const [index, one] of names.entries()) {
    for (const other of names.slice(index + 1)) connect(one, other)
  }
  return {
    transports: [...members.values()],
    connect,
    disconnect: (one, other) => {
      const [a, b] = [memberOf(one), memberOf(other)]
      if (!a.isLinked(other)) return
      a.detach(other)
      b.detach(one)
      a.tellDown(other)
      b.tellDown(one)
    },
  }
}

interface Limits {
  readonly clock: Pick<Clock, 'now' | 'schedule'>
  readonly messageBytesMax: number
  readonly queueBytesMax: number
  readonly queueMax: number
  readonly handlersMax: number
}

type Handler = Parameters<MessageTransport['handle']>[0]

interface Question {
  readonly settle: (outcome: Uint8Array | Error) => void
  isDelivered: boolean
}

/** One member's end of a connection. */
interface Lane {
  readonly remote: MemoryTransport
  readonly link: { isUp: boolean }
  queuedBytes: number
  queued: number
  readonly questions: Map<number, Question>
  readonly handling: Map<number, AbortController>
}

class MemoryTransport extends TypedTarget<MessageTransportEvents> implements MessageTransport {
  readonly self: NodeId
  readonly #limits: Limits
  readonly #lanes = new Map<NodeId, Lane>()
  #handler: Handler | undefined
  #nextQuestion = 0

  constructor(self: NodeId, limits: Limits) {
    super()
    this.self = self
    this.#limits = limits
  }

  get messageBytesMax(): number {
    return this.#limits.messageBytesMax
  }

  peers(): readonly NodeId[] {
    return [...this.#lanes.keys()]
  }

  isLinked(peer: NodeId): boolean {
    return this.#lanes.has(peer)
  }

  attach(remote: MemoryTransport, link: { isUp: boolean }): void {
    const [questions, handling] = [new Map<never, never>(), new Map<never, never>()]
    this.#lanes.set(remote.self, { remote, link, queuedBytes: 0, queued: 0, questions, handling })
  }

  tellUp(peer: NodeId): void {
    this.emit('peer:up', { peer })
  }

  tellDown(peer: NodeId): void {
    this.emit('peer:down', { peer })
  }

  detach(peer: NodeId): void {
    const lane = this.#lanes.get(peer)
    if (lane === undefined) return
    lane.link.isUp = false
    this.#lanes.delete(peer)
    for (const controller of lane.handling.values()) controller.abort(new Error('asker has gone'))
    for (const question of lane.questions.values()) {
      const why = 'the connection ended'
      question.settle(
        question.isDelivered
          ? new TransportLostError(peer, why)
          : new TransportUnreachableError(peer, why),
      )
    }
  }

  send(to: NodeId, message: Bytes): boolean {
    const bytes = this.#copy(message)
    const lane = this.#lanes.get(to)
    if (lane === undefined || !this.#hasRoom(lane, bytes)) return false
    this.#transmit(lane, bytes.length, () => lane.remote.#receive(this.self, bytes))
    return true
  }

  async request(to: NodeId, message: Bytes, options: AbortOptions = {}): Promise<Uint8Array> {
    const bytes = this.#copy(message)
    options.signal?.throwIfAborted()
    const lane = this.#lanes.get(to)
    if (lane === undefined) throw new TransportUnreachableError(to, 'not connected')
    if (!this.#hasRoom(lane, bytes)) throw new TransportUnreachableError(to, 'its queue is full')
    const id = this.#nextQuestion++
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    const settle = (outcome: Uint8Array | Error): void => {
      lane.questions.delete(id)
      if (outcome instanceof Error) reject(outcome)
      else resolve(outcome)
    }
    const question: Question = { settle, isDelivered: false }
    lane.questions.set(id, question)
    this.#transmit(lane, bytes.length, () => {
      if (!lane.questions.has(id)) return
      question.isDelivered = true
      lane.remote.#ask(this.self, id, bytes)
    })
    const giveUp = (error: unknown): void => {
      if (!lane.questions.delete(id)) return
      reject(error)
      if (lane.link.isUp) lane.remote.#cancel(this.self, id)
    }
    const onAbort = (): void => giveUp(options.signal?.reason)
    const { clock } = this.#limits
    const cancelTimer =
      options.signal === undefined
        ? clock.schedule(clock.now() + REQUEST_LIMIT_MS, () => {
            giveUp(new TransportLostError(to, `none in ${REQUEST_LIMIT_MS} ms`))
          })
        : (): void => {}
    options.signal?.addEventListener('abort', onAbort)
    try {
      return await promise
    } finally {
      cancelTimer()
      options.signal?.removeEventListener('abort', onAbort)
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

  #copy(message: Bytes): Uint8Array {
    const parts = partsOf(message)
    const length = lengthOf(parts)
    if (length > this.messageBytesMax) {
      throw new RangeError(`message must have at most ${this.messageBytesMax} bytes, got ${length}`)
    }
    const bytes = new Uint8Array(length)
    let offset = 0
    for (const part of parts) {
      bytes.set(part, offset)
      offset += part.length
    }
    return bytes
  }

  #hasRoom(lane: Lane, { length }: Uint8Array): boolean {
    const { queueBytesMax, queueMax } = this.#limits
    return lane.queued < queueMax && lane.queuedBytes + length <= queueBytesMax
  }

  #transmit(lane: Lane, bytes: number, deliver: () => void): void {
    lane.queued++
    lane.queuedBytes += bytes
    queueMicrotask(() => {
      lane.queued--
      lane.queuedBytes -= bytes
      if (lane.link.isUp) deliver()
    })
  }

  #receive(from: NodeId, message: Uint8Array): void {
    this.emit('message', { from, message })
  }

  #cancel(from: NodeId, id: number): void {
    this.#lanes.get(from)?.handling.get(id)?.abort(new Error('asker has gone'))
  }

  #ask(from: NodeId, id: number, message: Uint8Array): void {
    const lane = this.#lanes.get(from)
    if (lane === undefined) return
    const answer = (outcome: Uint8Array | string): void => {
      lane.handling.delete(id)
      queueMicrotask(() => {
        if (lane.link.isUp) lane.remote.#answered(this.self, id, outcome)
      })
    }
    if (this.#handler === undefined) {
      answer('ERR_TRANSPORT_NO_HANDLER')
    } else if (lane.handling.size >= this.#limits.handlersMax) {
      answer('ERR_TRANSPORT_BUSY')
    } else {
      const controller = new AbortController()
      lane.handling.set(id, controller)
      void this.#work(this.#handler, { from, message, signal: controller.signal }).then(answer)
    }
  }

  /** The answer, or the code of the refusal. Never rejects. */
  async #work(
    handler: Handler,
    question: { readonly from: NodeId; readonly message: Uint8Array; readonly signal: AbortSignal },
  ): Promise<Uint8Array | string> {
    let answer: Uint8Array[]
    try {
      const { from, message, signal } = question
      answer = partsOf(await handler(from, message, { signal }))
    } catch (error) {
      const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined
      return typeof code === 'string' && CODE.test(code) ? code : 'ERR_TRANSPORT_HANDLER'
    }
    return lengthOf(answer) > this.messageBytesMax
      ? 'ERR_TRANSPORT_ANSWER_TOO_LONG'
      : this.#copy(answer)
  }

  #answered(from: NodeId, id: number, outcome: Uint8Array | string): void {
    this.#lanes
      .get(from)
      ?.questions.get(id)
      ?.settle(typeof outcome === 'string' ? new TransportRefusedError(from, outcome) : outcome)
  }
}

function partsOf(message: Bytes): Uint8Array[] {
  return message instanceof Uint8Array ? [message] : [...message]
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0)
}
