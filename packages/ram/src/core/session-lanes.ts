import type { BulkPriority } from '@mycelium/interface'
import { IncomingLane } from './incoming-lane.ts'
import { OutgoingLane } from './outgoing-lane.ts'
import { CONTROL_SHARE } from './session-constants.ts'
import type {
  DataFrame,
  DataPiece,
  OutgoingMessage,
  SessionLimits,
  SessionState,
} from './session-types.ts'

const PRIORITIES: readonly BulkPriority[] = ['control', 'bulk']

/** Bytes of a buffer that one class may fill: control has a reserve that bulk cannot take. */
export function windowBytes(priority: BulkPriority, bufferBytesMax: number): number {
  const control = Math.floor(bufferBytesMax / CONTROL_SHARE)
  return priority === 'control' ? control : bufferBytesMax - control
}

export interface LaneCounts {
  readonly acceptedBytes: number
  readonly acknowledgedBytes: number
  readonly receivedBytes: number
  readonly resentBytes: number
}

/** The messages of a session: both classes, both directions. Control goes first everywhere. */
export class SessionLanes<Message extends OutgoingMessage> {
  readonly #outgoing: Readonly<Record<BulkPriority, OutgoingLane<Message>>>
  readonly #incoming: Readonly<Record<BulkPriority, IncomingLane>>
  #resentBytes = 0

  constructor(
    { bufferBytesMax, messageBytesMax }: SessionLimits,
    allocate: (bytes: number) => Uint8Array,
  ) {
    const out = (priority: BulkPriority): OutgoingLane<Message> =>
      new OutgoingLane(priority, windowBytes(priority, bufferBytesMax))
    const into = (priority: BulkPriority): IncomingLane =>
      new IncomingLane(windowBytes(priority, bufferBytesMax), messageBytesMax, allocate)
    this.#outgoing = { control: out('control'), bulk: out('bulk') }
    this.#incoming = { control: into('control'), bulk: into('bulk') }
  }

  get waitingCount(): number {
    return this.#outgoing.control.waitingCount + this.#outgoing.bulk.waitingCount
  }

  get progress(): Readonly<Record<BulkPriority, { accepted: number; acknowledged: number }>> {
    const of = (priority: BulkPriority): { accepted: number; acknowledged: number } => {
      const { accepted, acknowledged } = this.#outgoing[priority]
      return { accepted, acknowledged }
    }
    return { control: of('control'), bulk: of('bulk') }
  }

  get counts(): LaneCounts {
    const { control, bulk } = this.#outgoing
    return {
      acceptedBytes: control.acceptedBytes + bulk.acceptedBytes,
      acknowledgedBytes: control.acknowledgedBytes + bulk.acknowledgedBytes,
      receivedBytes: this.#incoming.control.deliveredBytes + this.#incoming.bulk.deliveredBytes,
      resentBytes: this.#resentBytes,
    }
  }

  /** Everything accepted was delivered and the peer said so. */
  get allAcknowledged(): boolean {
    return PRIORITIES.every((priority) => {
      const { accepted, acknowledged } = this.#outgoing[priority]
      return accepted === acknowledged
    })
  }

  /** Everything accepted was handed to the present link. */
  get drained(): boolean {
    return PRIORITIES.every((priority) => this.#outgoing[priority].drained)
  }

  /** What this end has received. */
  get received(): Omit<SessionState, 'ended'> {
    return { control: this.#incoming.control.state, bulk: this.#incoming.bulk.state }
  }

  /** Both ends agreed on less. Only before the first message. */
  narrow(limits: SessionLimits): void {
    for (const priority of PRIORITIES) {
      const window = windowBytes(priority, limits.bufferBytesMax)
      this.#outgoing[priority].narrow(window)
      this.#incoming[priority].narrow(window, limits)
    }
  }

  push(message: Message): void {
    this.#outgoing[message.priority].push(message)
  }

  withdraw(message: Message): boolean {
    return this.#outgoing[message.priority].withdraw(message)
  }

  /** Takes waiting messages, oldest first per class, as long as there is room. */
  accept(): Message[] {
    const accepted: Message[] = []
    for (const priority of PRIORITIES) {
      const lane = this.#outgoing[priority]
      for (let next = lane.accept(); next !== undefined; next = lane.accept()) accepted.push(next)
    }
    return accepted
  }

  /** @returns what is released @throws {SessionViolation} the peer's word cannot be true */
  acknowledge(state: SessionState): Message[] {
    return PRIORITIES.flatMap((priority) => this.#outgoing[priority].acknowledge(state[priority]))
  }

  /** A new link: what is not acknowledged goes again. */
  rewind(): void {
    for (const priority of PRIORITIES) this.#resentBytes += this.#outgoing[priority].rewind()
  }

  /** The link is gone: parts of messages that came over it are useless. */
  reset(): void {
    for (const priority of PRIORITIES) this.#incoming[priority].reset()
  }

  next(bytesMax: number): DataFrame | undefined {
    return this.#outgoing.control.next(bytesMax) ?? this.#outgoing.bulk.next(bytesMax)
  }

  /** @returns the message that the piece completes @throws {SessionViolation} it is out of place */
  piece(piece: DataPiece): Uint8Array | undefined {
    return this.#incoming[piece.priority].piece(piece)
  }

  consumed(priority: BulkPriority, bytes: number): void {
    this.#incoming[priority].consumed(bytes)
  }

  takeWaiting(): Message[] {
    return PRIORITIES.flatMap((priority) => this.#outgoing[priority].takeWaiting())
  }

  takeAccepted(): Message[] {
    return PRIORITIES.flatMap((priority) => this.#outgoing[priority].takeAccepted())
  }
}
