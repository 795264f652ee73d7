import type { BulkPriority } from '@mycelium/interface'
import type { DataFrame, OutgoingMessage, ReceivedState } from './session-types.ts'
import { SessionViolation } from './session-violation.ts'

/** Outgoing messages of one class: waiting for room, accepted, handed to a link, acknowledged. */
export class OutgoingLane<Message extends OutgoingMessage> {
  readonly #priority: BulkPriority
  #windowBytes: number
  readonly #waiting: Message[] = []
  /** Accepted and not acknowledged, oldest first. */
  readonly #accepted: Message[] = []
  #unacknowledgedBytes = 0
  /** Acknowledged messages: the sequence number of the first of `#accepted`. */
  #acknowledged = 0
  #acknowledgedBytes = 0
  /** In `#accepted`: the message that goes next, and how far it has gone. */
  #nextIndex = 0
  #nextOffset = 0
  /** Bytes of all messages before the next one, acknowledged ones included. */
  #startedBytes = 0
  /** Where the parts of the next message stand at `#nextOffset`. */
  #partIndex = 0
  #partOffset = 0
  #peerConsumedBytes = 0

  constructor(priority: BulkPriority, windowBytes: number) {
    this.#priority = priority
    this.#windowBytes = windowBytes
  }

  get waitingCount(): number {
    return this.#waiting.length
  }

  /** Messages acknowledged so far. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  /** Messages accepted so far. */
  get accepted(): number {
    return this.#acknowledged + this.#accepted.length
  }

  get acceptedBytes(): number {
    return this.#acknowledgedBytes + this.#unacknowledgedBytes
  }

  get acknowledgedBytes(): number {
    return this.#acknowledgedBytes
  }

  /** Every accepted message was handed to the present link. */
  get drained(): boolean {
    return this.#nextIndex === this.#accepted.length
  }

  /** The peer's window is smaller than ours. Only before the first message. */
  narrow(windowBytes: number): void {
    this.#windowBytes = Math.min(this.#windowBytes, windowBytes)
  }

  push(message: Message): void {
    this.#waiting.push(message)
  }

  /** True: `message` was waiting and is not any more. */
  withdraw(message: Message): boolean {
    const index = this.#waiting.indexOf(message)
    if (index >= 0) this.#waiting.splice(index, 1)
    return index >= 0
  }

  /** Takes the oldest waiting message into the buffer if there is room. */
  accept(): Message | undefined {
    const message = this.#waiting[0]
    if (message === undefined) return undefined
    if (this.#unacknowledgedBytes + message.bytes > this.#windowBytes) return undefined
    this.#waiting.shift()
    this.#accepted.push(message)
    this.#unacknowledgedBytes += message.bytes
    return message
  }

  /**
   * Takes the peer's word for what it received, over the present link or, before {@link rewind},
   * over the last one.
   *
   * @returns messages whose memory is not read any more
   * @throws {SessionViolation} it goes back, or beyond what was sent
   */
  acknowledge(state: ReceivedState): Message[] {
    const count = state.delivered - this.#acknowledged
    if (count < 0 || count > this.#nextIndex) {
      const sent = this.#acknowledged + this.#nextIndex
      throw new SessionViolation(`acknowledges ${state.delivered} of ${sent} messages`)
    }
    if (state.consumedBytes < this.#peerConsumedBytes) {
      throw new SessionViolation('takes credit back')
    }
    const released = this.#accepted.splice(0, count)
    for (const { bytes } of released) {
      this.#unacknowledgedBytes -= bytes
      this.#acknowledgedBytes += bytes
    }
    if (state.consumedBytes > this.#acknowledgedBytes) {
      throw new SessionViolation('gives credit for what it has not received')
    }
    this.#acknowledged = state.delivered
    this.#peerConsumedBytes = state.consumedBytes
    this.#nextIndex -= count
    return released
  }

  /** A new link: whatever is not acknowledged goes again. @returns bytes that go again */
  rewind(): number {
    let bytes = this.#nextOffset
    for (let index = 0; index < this.#nextIndex; index++) bytes += this.#accepted[index]?.bytes ?? 0
    this.#restart()
    return bytes
  }

  #restart(): void {
    this.#nextIndex = 0
    this.#nextOffset = 0
    this.#partIndex = 0
    this.#partOffset = 0
    this.#startedBytes = this.#acknowledgedBytes
  }

  /** The next part of a message, of at most `bytesMax`; none without credit for all of it. */
  next(bytesMax: number): DataFrame | undefined {
    const message = this.#accepted[this.#nextIndex]
    if (message === undefined) return undefined
    const usedBytes = this.#startedBytes - this.#peerConsumedBytes
    if (this.#nextOffset === 0 && usedBytes + message.bytes > this.#windowBytes) return undefined
    const offset = this.#nextOffset
    const size = Math.min(bytesMax, message.bytes - offset)
    const frame: DataFrame = {
      type: 'data',
      priority: this.#priority,
      sequence: this.#acknowledged + this.#nextIndex,
      offset,
      totalBytes: message.bytes,
      parts: this.#slice(message, size),
    }
    this.#nextOffset += size
    if (this.#nextOffset === message.bytes) {
      this.#startedBytes += message.bytes
      this.#nextIndex++
      this.#nextOffset = 0
      this.#partIndex = 0
      this.#partOffset = 0
    }
    return frame
  }

  #slice(message: Message, size: number): Uint8Array[] {
    const slices: Uint8Array[] = []
    for (let left = size; left > 0;) {
      const part = message.parts[this.#partIndex]
      if (part === undefined) throw new Error('a message changed its length while it was sent')
      const end = Math.min(part.byteLength, this.#partOffset + left)
      if (end > this.#partOffset) slices.push(part.subarray(this.#partOffset, end))
      left -= end - this.#partOffset
      this.#partOffset = end
      if (end === part.byteLength) {
        this.#partIndex++
        this.#partOffset = 0
      }
    }
    return slices
  }

  /** Gives up all that waits. */
  takeWaiting(): Message[] {
    return this.#waiting.splice(0)
  }

  /** Gives up all that is accepted and not acknowledged. Final. */
  takeAccepted(): Message[] {
    this.#restart()
    return this.#accepted.splice(0)
  }
}
