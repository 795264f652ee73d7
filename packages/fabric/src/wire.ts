/**
 * Frames of a transport's stream, big-endian:
 *
 * | bytes | what                                                     |
 * | ----- | -------------------------------------------------------- |
 * | 4     | length of the rest, 1..9 + the longest message           |
 * | 1     | kind                                                     |
 * | 8     | number of the question; not in a message                 |
 * | rest  | message, question or answer; code of a refusal; nothing  |
 */
import { FabricFrameError } from './errors.ts'

export const FrameKind = {
  message: 0,
  question: 1,
  answer: 2,
  refusal: 3,
  cancel: 4,
} as const

export type Frame =
  | { readonly kind: 'message'; readonly bytes: Uint8Array }
  | { readonly kind: 'question' | 'answer'; readonly id: bigint; readonly bytes: Uint8Array }
  | { readonly kind: 'refusal'; readonly id: bigint; readonly code: string }
  | { readonly kind: 'cancel'; readonly id: bigint }

const LENGTH_BYTES = 4
const KIND_BYTES = 1
const ID_BYTES = 8

/** Bytes of a frame beside its message, at most. */
export const FRAME_OVERHEAD_BYTES: number = LENGTH_BYTES + KIND_BYTES + ID_BYTES

/** What may stand in a refusal: no text of a peer reaches a log beyond it. */
const CODE = /^[A-Z][A-Z0-9_]{0,63}$/

export function isRefusalCode(code: unknown): code is string {
  return typeof code === 'string' && CODE.test(code)
}

/** A frame of its own bytes. `parts` are copied; `length` is their sum. */
export function encodeFrame(
  kind: keyof typeof FrameKind,
  id: bigint | undefined,
  parts: readonly Uint8Array[],
): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const headBytes = KIND_BYTES + (id === undefined ? 0 : ID_BYTES)
  const frame = new Uint8Array(LENGTH_BYTES + headBytes + length)
  const view = new DataView(frame.buffer)
  view.setUint32(0, headBytes + length)
  view.setUint8(LENGTH_BYTES, FrameKind[kind])
  if (id !== undefined) view.setBigUint64(LENGTH_BYTES + KIND_BYTES, id)
  let offset = LENGTH_BYTES + headBytes
  for (const part of parts) {
    frame.set(part, offset)
    offset += part.length
  }
  return frame
}

/** Cuts a stream of bytes into frames. Holds one frame at most, of a length checked before. */
export class FrameReader {
  readonly #messageBytesMax: number
  readonly #head: Uint8Array = new Uint8Array(LENGTH_BYTES)
  #headFilled = 0
  #body: Uint8Array | undefined
  #bodyFilled = 0

  constructor({ messageBytesMax }: { readonly messageBytesMax: number }) {
    this.#messageBytesMax = messageBytesMax
  }

  /** Whether a frame has begun and not ended. */
  get isInside(): boolean {
    return this.#headFilled > 0
  }

  /**
   * The frames that `chunk` completes, each with bytes of its own.
   *
   * @throws `ERR_FABRIC_FRAME` the stream is of no use any more
   */
  *push(chunk: Uint8Array): Generator<Frame> {
    let rest = chunk
    while (rest.length > 0) {
      if (this.#body === undefined) {
        const taken = rest.subarray(0, LENGTH_BYTES - this.#headFilled)
        this.#head.set(taken, this.#headFilled)
        this.#headFilled += taken.length
        rest = rest.subarray(taken.length)
        if (this.#headFilled === LENGTH_BYTES) this.#begin()
        continue
      }
      const taken = rest.subarray(0, this.#body.length - this.#bodyFilled)
      this.#body.set(taken, this.#bodyFilled)
      this.#bodyFilled += taken.length
      rest = rest.subarray(taken.length)
      if (this.#bodyFilled < this.#body.length) continue
      const body = this.#body
      this.#body = undefined
      this.#headFilled = 0
      const frame = decodeBody(body)
      if ('bytes' in frame && frame.bytes.length > this.#messageBytesMax) {
        throw new FabricFrameError(`a message of ${frame.bytes.length} bytes`)
      }
      yield frame
    }
  }

  #begin(): void {
    const length = new DataView(this.#head.buffer).getUint32(0)
    const bytesMax = KIND_BYTES + ID_BYTES + this.#messageBytesMax
    if (length < KIND_BYTES || length > bytesMax) {
      throw new FabricFrameError(`${length} bytes, allowed are 1..${bytesMax}`)
    }
    this.#body = new Uint8Array(length)
    this.#bodyFilled = 0
  }
}

function decodeBody(body: Uint8Array): Frame {
  const [kind] = body
  if (kind === FrameKind.message) return { kind: 'message', bytes: body.subarray(KIND_BYTES) }
  if (body.length < KIND_BYTES + ID_BYTES) throw new FabricFrameError('no room for its number')
  const id = new DataView(body.buffer).getBigUint64(KIND_BYTES)
  const bytes = body.subarray(KIND_BYTES + ID_BYTES)
  switch (kind as number) {
    case FrameKind.question:
      return { kind: 'question', id, bytes }
    case FrameKind.answer:
      return { kind: 'answer', id, bytes }
    case FrameKind.refusal:
      return { kind: 'refusal', id, code: decodeCode(bytes) }
    case FrameKind.cancel:
      if (bytes.length > 0) throw new FabricFrameError('a cancel with content')
      return { kind: 'cancel', id }
    default:
      throw new FabricFrameError(`unknown kind ${kind}`)
  }
}

function decodeCode(bytes: Uint8Array): string {
  const code = new TextDecoder('latin1').decode(bytes)
  if (!isRefusalCode(code)) throw new FabricFrameError('a refusal without a proper code')
  return code
}
