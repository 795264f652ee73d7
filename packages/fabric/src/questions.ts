import type { Connection, Stream } from '@libp2p/interface'
import {
  type NodeId,
  type Random,
  TransportLostError,
  TransportUnreachableError,
} from '@mycelium/interface'

interface Question {
  readonly resolve: (answer: Uint8Array) => void
  readonly reject: (error: unknown) => void
  /** Set once it was written: then it may have arrived. */
  stream: Stream | undefined
  connection: Connection | undefined
}

/** Questions to one peer that wait for their answers. */
export class Questions {
  readonly #peer: NodeId
  readonly #open = new Map<bigint, Question>()
  /**
   * Begins anywhere: a peer that still works on a question of our last life, over a connection that
   * it does not know to be dead, must not answer one of this life with it.
   */
  #nextId: bigint

  constructor(peer: NodeId, random: Random) {
    this.#peer = peer
    this.#nextId = new DataView(random.bytes(8).buffer).getBigUint64(0)
  }

  get count(): number {
    return this.#open.size
  }

  ask(): { readonly id: bigint; readonly answer: Promise<Uint8Array> } {
    const id = this.#nextId
    this.#nextId = BigInt.asUintN(64, this.#nextId + 1n)
    const { promise: answer, resolve, reject } = Promise.withResolvers<Uint8Array>()
    this.#open.set(id, { resolve, reject, stream: undefined, connection: undefined })
    return { id, answer }
  }

  written(id: bigint, stream: Stream, connection: Connection | undefined): void {
    const question = this.#open.get(id)
    if (question === undefined) return
    question.stream = stream
    question.connection = connection
  }

  isWritten(id: bigint): boolean {
    return this.#open.get(id)?.stream !== undefined
  }

  isOpen(id: bigint): boolean {
    return this.#open.has(id)
  }

  /** Late and unknown answers are nobody's. */
  answered(id: bigint, answer: Uint8Array): void {
    const question = this.#open.get(id)
    this.#open.delete(id)
    question?.resolve(answer)
  }

  /** True: it was open. */
  failed(id: bigint, error: unknown): boolean {
    const question = this.#open.get(id)
    question?.reject(error)
    return this.#open.delete(id)
  }

  /** What went by that stream, or that connection, will not be answered. */
  broken(by: Stream | Connection): void {
    for (const [id, { stream, connection }] of this.#open) {
      if (stream !== by && connection !== by) continue
      this.failed(id, new TransportLostError(this.#peer, 'the connection ended'))
    }
  }

  close(): void {
    const why = 'the connection ended'
    for (const [id, { stream }] of this.#open) {
      const isWritten = stream !== undefined
      const cause = isWritten ? TransportLostError : TransportUnreachableError
      this.failed(id, new cause(this.#peer, why))
    }
  }
}
