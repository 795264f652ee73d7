/**
 * Bytes of the frames of a session. Little-endian. Every frame: type u8, class u8 (0 control,
 * 1 bulk; 0 where there is none), u16 zero, u32 length of what follows.
 *
 * Fixed lengths except for `hello` (names and purpose) and `data` (a part of a message). The
 * decoder takes memory only for heads, at most {@link HEAD_BYTES_MAX}; parts of messages are handed
 * on as views of what came in.
 */
import {
  FRAGMENT_BYTES_MAX,
  NODE_ID_BYTES_MAX,
  PURPOSE_BYTES_MAX,
  SESSION_ID_BYTES,
} from './core/session-constants.ts'
import type {
  DataFrame,
  ReceivedFrame,
  RefusalReason,
  SessionFrame,
  SessionState,
} from './core/session-types.ts'
import { FrameError } from './errors.ts'

/** Who wants which session with whom; travels in each `hello`. */
export interface Introduction {
  readonly sessionId: Uint8Array
  readonly from: string
  readonly to: string
  readonly purpose: string
}

type HelloFrame = SessionFrame & { readonly type: 'hello' }
/** A greeting with the names in it. */
export type Hello = HelloFrame & Introduction

/** What the decoder gives, in the order of the stream. */
export type WireFrame = ReceivedFrame | Hello

const MAGIC = 0x4342_796d // 'myBC'
const VERSION = 1
const FRAME_HEAD_BYTES = 8
const DATA_HEAD_BYTES = 16
const STATE_BYTES = 33
const WELCOME_BYTES = 12 + STATE_BYTES
const HELLO_FIXED_BYTES = 12 + SESSION_ID_BYTES + WELCOME_BYTES + 4
const HELLO_BYTES_MAX = HELLO_FIXED_BYTES + 2 * NODE_ID_BYTES_MAX + PURPOSE_BYTES_MAX
/** Longest head that the decoder keeps. */
export const HEAD_BYTES_MAX: number = FRAME_HEAD_BYTES + HELLO_BYTES_MAX

const TYPES = {
  hello: 1,
  welcome: 2,
  refused: 3,
  data: 4,
  state: 5,
  ping: 6,
  pong: 7,
  end: 8,
  close: 9,
  closed: 10,
  abort: 11,
} as const
type FrameType = keyof typeof TYPES
const TYPE_NAMES = new Map<number, FrameType>(
  (Object.entries(TYPES) as [FrameType, number][]).map(([name, code]) => [code, name]),
)
/** Lengths of what follows the head; `hello` and `data` are checked apart. */
const LENGTHS: Readonly<Record<Exclude<FrameType, 'hello' | 'data'>, number>> = {
  welcome: WELCOME_BYTES,
  refused: 1,
  state: STATE_BYTES,
  ping: 8,
  pong: 8,
  end: 0,
  close: 0,
  closed: 0,
  abort: 0,
}
const REASONS: readonly RefusalReason[] = [
  'no-listener',
  'queue-full',
  'not-allowed',
  'unknown-session',
]
/** Two halves of a 64-bit number; above 2^53 - 1 it is no safe integer. */
const HIGH_MAX: number = 2 ** 21 - 1

// ---- encode

/** A frame as one head and, for data, the parts of the message in place. */
export function encodeFrame(frame: Exclude<SessionFrame, HelloFrame>): Uint8Array[] {
  switch (frame.type) {
    case 'data':
      return encodeData(frame)
    case 'welcome': {
      const bytes = head('welcome', WELCOME_BYTES)
      writeLimits(bytes, FRAME_HEAD_BYTES, frame)
      writeState(bytes, FRAME_HEAD_BYTES + 12, frame.state)
      return [bytes]
    }
    case 'state': {
      const bytes = head('state', STATE_BYTES)
      writeState(bytes, FRAME_HEAD_BYTES, frame.state)
      return [bytes]
    }
    case 'ping':
    case 'pong': {
      const bytes = head(frame.type, 8)
      bytes.writeDoubleLE(frame.token, FRAME_HEAD_BYTES)
      return [bytes]
    }
    case 'end':
    case 'close':
    case 'closed':
    case 'abort':
      return [head(frame.type, 0)]
  }
}

export function encodeRefusal(reason: RefusalReason): Uint8Array {
  const bytes = head('refused', 1)
  bytes.writeUInt8(REASONS.indexOf(reason), FRAME_HEAD_BYTES)
  return bytes
}

export function encodeHello(frame: HelloFrame, introduction: Introduction): Uint8Array {
  const names = [introduction.from, introduction.to, introduction.purpose].map((text) =>
    Buffer.from(text, 'utf8'),
  )
  const length = names.reduce((sum, name) => sum + name.byteLength, HELLO_FIXED_BYTES)
  const bytes = head('hello', length)
  let at = FRAME_HEAD_BYTES
  bytes.writeUInt32LE(MAGIC, at)
  bytes.writeUInt8(VERSION, at + 4)
  bytes.writeUInt8(frame.fresh ? 1 : 0, at + 5)
  bytes.writeUInt32LE(frame.attempt, at + 8)
  at += 12
  bytes.set(introduction.sessionId, at)
  at += SESSION_ID_BYTES
  writeLimits(bytes, at, frame)
  writeState(bytes, at + 12, frame.state)
  at += WELCOME_BYTES
  bytes.writeUInt8(names[0]?.byteLength ?? 0, at)
  bytes.writeUInt8(names[1]?.byteLength ?? 0, at + 1)
  bytes.writeUInt16LE(names[2]?.byteLength ?? 0, at + 2)
  at += 4
  for (const name of names) {
    bytes.set(name, at)
    at += name.byteLength
  }
  return bytes
}

function encodeData(frame: DataFrame): Uint8Array[] {
  let size = 0
  for (const part of frame.parts) size += part.byteLength
  const bytes = Buffer.allocUnsafe(FRAME_HEAD_BYTES + DATA_HEAD_BYTES)
  writeHead(bytes, 'data', DATA_HEAD_BYTES + size)
  bytes.writeUInt8(frame.priority === 'bulk' ? 1 : 0, 1)
  writeNumber(bytes, FRAME_HEAD_BYTES, frame.sequence)
  bytes.writeUInt32LE(frame.offset, FRAME_HEAD_BYTES + 8)
  bytes.writeUInt32LE(frame.totalBytes, FRAME_HEAD_BYTES + 12)
  return [bytes, ...frame.parts]
}

function head(type: FrameType, length: number): Buffer {
  const bytes = Buffer.alloc(FRAME_HEAD_BYTES + length)
  writeHead(bytes, type, length)
  return bytes
}

function writeHead(bytes: Buffer, type: FrameType, length: number): void {
  bytes.writeUInt32LE(TYPES[type], 0)
  bytes.writeUInt32LE(length, 4)
}

function writeNumber(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32LE(value % 2 ** 32, at)
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4)
}

function writeLimits(
  bytes: Buffer,
  at: number,
  limits: { readonly messageBytesMax: number; readonly bufferBytesMax: number },
): void {
  bytes.writeUInt32LE(limits.messageBytesMax, at)
  writeNumber(bytes, at + 4, limits.bufferBytesMax)
}

function writeState(bytes: Buffer, at: number, { control, bulk, ended }: SessionState): void {
  writeNumber(bytes, at, control.delivered)
  writeNumber(bytes, at + 8, control.consumedBytes)
  writeNumber(bytes, at + 16, bulk.delivered)
  writeNumber(bytes, at + 24, bulk.consumedBytes)
  bytes.writeUInt8(ended ? 1 : 0, at + 32)
}

// ---- decode

/**
 * Cuts a stream into frames. One per link. After an error it must not be used again: where the next
 * frame begins is unknown.
 */
export class ChannelDecoder {
  readonly #head: Buffer = Buffer.allocUnsafe(HEAD_BYTES_MAX)
  #filled = 0
  /** Bytes of head to gather before anything can be said. */
  #needed = FRAME_HEAD_BYTES
  /** The data frame under way. */
  #data: DataHead | undefined

  /**
   * Takes the next bytes of the stream, in any portions, and calls `onFrame` for each frame or part
   * of a message in them.
   *
   * @throws {FrameError} `ERR_RAM_FRAME`
   */
  push(chunk: Uint8Array, onFrame: (frame: WireFrame) => void): void {
    let at = 0
    while (at < chunk.byteLength) {
      if (this.#data !== undefined) {
        at += this.#piece(this.#data, chunk, at, onFrame)
        continue
      }
      const size = Math.min(this.#needed - this.#filled, chunk.byteLength - at)
      this.#head.set(chunk.subarray(at, at + size), this.#filled)
      this.#filled += size
      at += size
      if (this.#filled === this.#needed) this.#gathered(onFrame)
    }
  }

  #piece(
    data: DataHead,
    chunk: Uint8Array,
    at: number,
    onFrame: (frame: WireFrame) => void,
  ): number {
    const size = Math.min(data.left, chunk.byteLength - at)
    const { priority, sequence, offset, totalBytes } = data
    data.offset += size
    data.left -= size
    if (data.left === 0) this.#data = undefined
    const bytes = chunk.subarray(at, at + size)
    onFrame({ type: 'data', priority, sequence, offset, totalBytes, bytes })
    return size
  }

  #gathered(onFrame: (frame: WireFrame) => void): void {
    const { type, length } = readHead(this.#head)
    const needed = FRAME_HEAD_BYTES + (type === 'data' ? DATA_HEAD_BYTES : length)
    if (this.#filled < needed) {
      this.#needed = needed
      return
    }
    this.#filled = 0
    this.#needed = FRAME_HEAD_BYTES
    if (type === 'data') this.#data = readData(this.#head, length)
    else onFrame(readFrame(type, this.#head.subarray(FRAME_HEAD_BYTES, needed)))
  }
}

interface DataHead {
  readonly priority: 'control' | 'bulk'
  readonly sequence: number
  offset: number
  readonly totalBytes: number
  left: number
}

function readHead(bytes: Buffer): { type: FrameType; length: number } {
  const type = TYPE_NAMES.get(bytes.readUInt8(0))
  const priority = bytes.readUInt8(1)
  const length = bytes.readUInt32LE(4)
  if (type === undefined) throw new FrameError(`unknown type ${bytes.readUInt8(0)}`)
  if (bytes.readUInt16LE(2) !== 0 || priority > (type === 'data' ? 1 : 0)) {
    throw new FrameError(`head of ${type} has bits set that must be 0`)
  }
  let fits: boolean
  if (type === 'hello') fits = length >= HELLO_FIXED_BYTES && length <= HELLO_BYTES_MAX
  else if (type !== 'data') fits = length === LENGTHS[type]
  else fits = length > DATA_HEAD_BYTES && length <= DATA_HEAD_BYTES + FRAGMENT_BYTES_MAX
  if (!fits) throw new FrameError(`${type} cannot have ${length} bytes`)
  return { type, length }
}

function readData(bytes: Buffer, length: number): DataHead {
  const offset = bytes.readUInt32LE(FRAME_HEAD_BYTES + 8)
  const totalBytes = bytes.readUInt32LE(FRAME_HEAD_BYTES + 12)
  const left = length - DATA_HEAD_BYTES
  if (offset + left > totalBytes) {
    throw new FrameError(`${left} bytes at ${offset} of a message of ${totalBytes}`)
  }
  const priority = bytes.readUInt8(1) === 1 ? 'bulk' : 'control'
  return { priority, sequence: readNumber(bytes, FRAME_HEAD_BYTES), offset, totalBytes, left }
}

function readFrame(type: Exclude<FrameType, 'data'>, bytes: Buffer): WireFrame {
  switch (type) {
    case 'hello':
      return readHello(bytes)
    case 'welcome':
      return { type, ...readLimits(bytes, 0), state: readState(bytes, 12) }
    case 'refused': {
      const reason = REASONS[bytes.readUInt8(0)]
      if (reason === undefined) throw new FrameError(`unknown reason ${bytes.readUInt8(0)}`)
      return { type, reason }
    }
    case 'state':
      return { type, state: readState(bytes, 0) }
    case 'ping':
    case 'pong': {
      const token = bytes.readDoubleLE(0)
      if (!Number.isFinite(token)) throw new FrameError('the token of a ping is no number')
      return { type, token }
    }
    case 'end':
    case 'close':
    case 'closed':
    case 'abort':
      return { type }
  }
}

function readHello(bytes: Buffer): Hello {
  if (bytes.readUInt32LE(0) !== MAGIC) throw new FrameError('the peer speaks another protocol')
  if (bytes.readUInt8(4) !== VERSION) {
    throw new FrameError(`the peer speaks version ${bytes.readUInt8(4)}, this end ${VERSION}`)
  }
  const flags = bytes.readUInt8(5)
  if (flags > 1 || bytes.readUInt16LE(6) !== 0) throw new FrameError('unknown flags in a hello')
  let at = 12 + SESSION_ID_BYTES
  const sessionId = Uint8Array.from(bytes.subarray(12, at))
  const limits = readLimits(bytes, at)
  const state = readState(bytes, at + 12)
  at += WELCOME_BYTES
  const sizes = [bytes.readUInt8(at), bytes.readUInt8(at + 1), bytes.readUInt16LE(at + 2)] as const
  at += 4
  if (at + sizes[0] + sizes[1] + sizes[2] !== bytes.byteLength) {
    throw new FrameError('the names in a hello do not fill it')
  }
  const text = (size: number, sizeMax: number): string => {
    if (size < 1 || size > sizeMax) throw new FrameError(`a name of ${size} bytes in a hello`)
    at += size
    return readText(bytes.subarray(at - size, at))
  }
  const from = text(sizes[0], NODE_ID_BYTES_MAX)
  const to = text(sizes[1], NODE_ID_BYTES_MAX)
  const purpose = text(sizes[2], PURPOSE_BYTES_MAX)
  const attempt = bytes.readUInt32LE(8)
  const fresh = flags === 1
  return { type: 'hello', attempt, fresh, sessionId, ...limits, state, from, to, purpose }
}

function readText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new FrameError('a name in a hello is not UTF-8', { cause })
  }
}

function readNumber(bytes: Buffer, at: number): number {
  const high = bytes.readUInt32LE(at + 4)
  if (high > HIGH_MAX) throw new FrameError('a number above 2^53 - 1')
  return high * 2 ** 32 + bytes.readUInt32LE(at)
}

function readLimits(
  bytes: Buffer,
  at: number,
): { readonly messageBytesMax: number; readonly bufferBytesMax: number } {
  const messageBytesMax = bytes.readUInt32LE(at)
  const bufferBytesMax = readNumber(bytes, at + 4)
  if (messageBytesMax < 1 || messageBytesMax > bufferBytesMax) {
    throw new FrameError(`messages of ${messageBytesMax} in a buffer of ${bufferBytesMax}`)
  }
  return { messageBytesMax, bufferBytesMax }
}

function readState(bytes: Buffer, at: number): SessionState {
  const ended = bytes.readUInt8(at + 32)
  if (ended > 1) throw new FrameError('an end that is neither 0 nor 1')
  const of = (start: number): SessionState['bulk'] => ({
    delivered: readNumber(bytes, start),
    consumedBytes: readNumber(bytes, start + 8),
  })
  return { control: of(at), bulk: of(at + 16), ended: ended === 1 }
}
