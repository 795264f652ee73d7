import type { DataPiece, ReceivedState, SessionLimits } from './session-types.ts'
import { SessionViolation } from './session-violation.ts'

interface Partial {
  readonly bytes: Uint8Array
  filled: number
}

/** Incoming messages of one class: put together, counted, bounded by what is not consumed. */
export class IncomingLane {
  #windowBytes: number
  #messageBytesMax: number
  readonly #allocate: (bytes: number) => Uint8Array
  #delivered = 0
  #deliveredBytes = 0
  #consumedBytes = 0
  #partial: Partial | undefined

  constructor(
    windowBytes: number,
    messageBytesMax: number,
    allocate: (bytes: number) => Uint8Array,
  ) {
    this.#windowBytes = windowBytes
    this.#messageBytesMax = messageBytesMax
    this.#allocate = allocate
  }

  get deliveredBytes(): number {
    return this.#deliveredBytes
  }

  get state(): ReceivedState {
    return { delivered: this.#delivered, consumedBytes: this.#consumedBytes }
  }

  /** Both ends agreed on less. Only before the first message. */
  narrow(windowBytes: number, { messageBytesMax }: SessionLimits): void {
    this.#windowBytes = Math.min(this.#windowBytes, windowBytes)
    this.#messageBytesMax = messageBytesMax
  }

  /** The link is gone: the peer sends a message that is here in part again from its start. */
  reset(): void {
    this.#partial = undefined
  }

  consumed(bytes: number): void {
    this.#consumedBytes += bytes
  }

  /**
   * Takes the next piece.
   *
   * @returns the message that it completes
   * @throws {SessionViolation} out of order, too long, or more than the peer has credit for. No
   * memory is taken before the announced size was checked.
   */
  piece(piece: DataPiece): Uint8Array | undefined {
    const { sequence, offset, totalBytes, bytes } = piece
    if (sequence !== this.#delivered) {
      throw new SessionViolation(`message ${sequence} came instead of ${this.#delivered}`)
    }
    const partial = this.#partial ?? this.#begin(totalBytes)
    if (offset !== partial.filled || totalBytes !== partial.bytes.byteLength) {
      throw new SessionViolation(`byte ${offset} of ${totalBytes} came at ${partial.filled}`)
    }
    if (offset + bytes.byteLength > totalBytes) {
      throw new SessionViolation(`a piece reaches beyond the ${totalBytes} bytes of its message`)
    }
    partial.bytes.set(bytes, offset)
    partial.filled += bytes.byteLength
    if (partial.filled < totalBytes) {
      this.#partial = partial
      return undefined
    }
    this.#partial = undefined
    this.#delivered++
    this.#deliveredBytes += totalBytes
    return partial.bytes
  }

  #begin(totalBytes: number): Partial {
    if (totalBytes < 1 || totalBytes > this.#messageBytesMax) {
      throw new SessionViolation(`announces ${totalBytes} of ${this.#messageBytesMax} bytes`)
    }
    const unreadBytes = this.#deliveredBytes - this.#consumedBytes
    if (unreadBytes + totalBytes > this.#windowBytes) {
      throw new SessionViolation(`sends ${totalBytes} bytes without credit`)
    }
    return { bytes: this.#allocate(totalBytes), filled: 0 }
  }
}
