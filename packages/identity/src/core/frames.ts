import { WIRE_FRAME_BYTES_MAX, WIRE_HEADER_BYTES } from '../constants.ts'

/** Cuts a stream of bytes into frames: 2 bytes of length, big-endian, then so many bytes. */
export interface FrameReader {
  /** Takes bytes as they come, in pieces of any size. Keeps them: the caller gives them away. */
  push(bytes: Uint8Array): void
  /**
   * The next whole frame without its header; `undefined`: more bytes are needed; `malformed`: an
   * empty frame or one above the limit was announced, and nothing after it can be understood.
   */
  next(): Uint8Array | 'malformed' | undefined
  /** What came and belongs to no frame that was taken: it goes to whoever reads next. */
  rest(): Uint8Array
}

/** At most one frame and what came with it is kept: a reader asks `next` until there is none. */
export function createFrameReader(): FrameReader {
  return new Reader()
}

class Reader implements FrameReader {
  #pending: Uint8Array = new Uint8Array(0)

  push(bytes: Uint8Array): void {
    if (this.#pending.byteLength === 0) {
      this.#pending = bytes
      return
    }
    const joined = new Uint8Array(this.#pending.byteLength + bytes.byteLength)
    joined.set(this.#pending)
    joined.set(bytes, this.#pending.byteLength)
    this.#pending = joined
  }

  next(): Uint8Array | 'malformed' | undefined {
    const [high, low] = this.#pending
    if (high === undefined || low === undefined) return undefined
    const length = high * 256 + low
    // Told before the bytes come: no memory is taken for them.
    if (length === 0 || length > WIRE_FRAME_BYTES_MAX) return 'malformed'
    const end = WIRE_HEADER_BYTES + length
    if (this.#pending.byteLength < end) return undefined
    const frame = this.#pending.slice(WIRE_HEADER_BYTES, end)
    this.#pending = this.#pending.subarray(end)
    return frame
  }

  rest(): Uint8Array {
    const rest = this.#pending
    this.#pending = new Uint8Array(0)
    return rest
  }
}

/**
 * A frame with its header, as it goes over the wire.
 *
 * @throws {RangeError} `frame` is empty or above the limit
 */
export function addFrameHeader(frame: Uint8Array): Uint8Array {
  const length = frame.byteLength
  if (length === 0 || length > WIRE_FRAME_BYTES_MAX) {
    throw new RangeError(`frame must have 1..${WIRE_FRAME_BYTES_MAX} bytes, got ${length}`)
  }
  const bytes = new Uint8Array(WIRE_HEADER_BYTES + length)
  bytes[0] = length >>> 8
  bytes[1] = length & 0xff
  bytes.set(frame, WIRE_HEADER_BYTES)
  return bytes
}
