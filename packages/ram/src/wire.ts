/**
 * Messages between a primary and a backup: a head of 64 bytes, then a payload. Integers are
 * little-endian.
 *
 * | offset | bytes | head |
 * | --- | --- | --- |
 * | 0 | 4 | `MRAM` |
 * | 4 | 1 | version |
 * | 5 | 1 | type |
 * | 6 | 2 | 1: the payload is compressed with zstd; otherwise 0 |
 * | 8 | 8 | fencing epoch |
 * | 16 | 8 | counter of the epoch; 0 outside of epochs |
 * | 24 | 8 | region: hash of its name |
 * | 32 | 4 | index of the chunk in its epoch |
 * | 36 | 4 | bytes of the payload |
 * | 40 | 8 | XXH3-64 of the payload before compression |
 * | 48 | 8 | bytes of the payload before compression; 0 if it is not compressed |
 * | 56 | 8 | XXH3-64 of bytes 0 to 55 |
 */
import {
  CHUNK_BYTES_MAX,
  HEAD_BYTES,
  MESSAGE_BYTES_MAX,
  PAGE_BYTES,
  PROTOCOL_VERSION,
  REFUSAL_CHARS_MAX,
} from './constants.ts'
import type { Attachment, Version } from './core/epoch.ts'
import { FrameError } from './errors.ts'

/** XXH3-64. */
export type Hasher = (bytes: Uint8Array) => bigint

/** Where a message belongs. */
export interface Address {
  readonly fencing: bigint
  readonly counter: number
  readonly region: bigint
}

/** Pages lie in the payload, which is the addon's to check. */
interface PagesMessage extends Address {
  readonly index: number
  readonly payload: Uint8Array
  /** Of the payload before compression. */
  readonly checksum: bigint
  /** Bytes of the payload before compression with zstd; absent: it is not compressed. */
  readonly unpackedBytes?: number
}
/** Part of an epoch: kept aside until its footer. */
export interface ChunkMessage extends PagesMessage {
  readonly type: 'chunk'
}
/** Part of a fill: applied at once. */
export interface FillMessage extends PagesMessage {
  readonly type: 'fill'
}
/** Backup to primary, first: what it holds. */
export interface HelloMessage extends Address {
  readonly type: 'hello'
  readonly regionBytes: number
  /** The last epoch applied, if the image is exactly that. */
  readonly applied?: Version
  /** Image hash of what is there, whether or not it is an epoch. */
  readonly root: bigint
}
/**
 * Primary to backup: how it will be brought up to date. `resume`: the image stays what it is until
 * the next epoch. `fill`: pages will be overwritten. `compare`: the same, but send hashes first.
 */
export interface OfferMessage extends Address {
  readonly type: 'offer'
  readonly mode: OfferMode
  readonly regionBytes: number
}
export type OfferMode = 'resume' | 'fill' | 'compare'
/** Page hashes: of a backup's image (`compare`), or of the primary's memory at a seal (scrub). */
export interface HashesMessage extends Address {
  readonly type: 'hashes'
  readonly firstPage: number
  /** 8 bytes a page. */
  readonly hashes: Uint8Array
}
export interface FooterMessage extends Address {
  readonly type: 'footer'
  /** Absent: the pages are complete and need no base. */
  readonly base?: Version
  readonly root: bigint
  readonly chunkCount: number
  readonly attachment: Attachment
}
export interface AckMessage extends Address {
  readonly type: 'ack'
  readonly root: bigint
  /** Pages whose hash differs from the primary's; absent if no hashes came with the epoch. */
  readonly mismatchPages?: number
}
export interface RefuseMessage extends Address {
  readonly type: 'refuse'
  readonly code: string
  readonly text: string
}
export type RamMessage =
  | ChunkMessage
  | FillMessage
  | HelloMessage
  | OfferMessage
  | HashesMessage
  | FooterMessage
  | AckMessage
  | RefuseMessage

const MAGIC = 0x4d41524d // 'MRAM'
const TYPES = ['chunk', 'fill', 'hello', 'offer', 'hashes', 'footer', 'ack', 'refuse'] as const
const MODES = ['resume', 'fill', 'compare'] as const
const ATTACHMENT_KINDS = ['none', 'full', 'difference'] as const
const FLAG_ZSTD = 1
const NOT_COMPARED = 0xffff_ffff
const VERSION_BYTES = 25

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Writes the head of a chunk into the room that the encoder left for it. */
export function writeHead(
  bytes: Uint8Array,
  type: RamMessage['type'],
  address: Address,
  index: number,
  checksum: bigint,
  hash: Hasher,
  unpackedBytes = 0,
): void {
  const view = viewOf(bytes)
  view.setUint32(0, MAGIC, true)
  view.setUint8(4, PROTOCOL_VERSION)
  view.setUint8(5, TYPES.indexOf(type))
  view.setUint16(6, unpackedBytes === 0 ? 0 : FLAG_ZSTD, true)
  view.setBigUint64(8, address.fencing, true)
  view.setBigUint64(16, BigInt(address.counter), true)
  view.setBigUint64(24, address.region, true)
  view.setUint32(32, index, true)
  view.setUint32(36, bytes.byteLength - HEAD_BYTES, true)
  view.setBigUint64(40, checksum, true)
  view.setBigUint64(48, BigInt(unpackedBytes), true)
  view.setBigUint64(56, hash(bytes.subarray(0, 56)), true)
}

/** A whole message of any type but `chunk` and `fill`, whose payloads come from the addon. */
export function encodeMessage(
  message: Exclude<RamMessage, ChunkMessage | FillMessage>,
  hash: Hasher,
): Uint8Array {
  const payload = encodePayload(message)
  const bytes = new Uint8Array(HEAD_BYTES + payload.byteLength)
  bytes.set(payload, HEAD_BYTES)
  writeHead(bytes, message.type, message, 0, hash(payload), hash)
  return bytes
}

function encodePayload(message: Exclude<RamMessage, ChunkMessage | FillMessage>): Uint8Array {
  switch (message.type) {
    case 'hello': {
      const payload = new Uint8Array(16 + VERSION_BYTES)
      viewOf(payload).setBigUint64(0, BigInt(message.regionBytes), true)
      viewOf(payload).setBigUint64(8, message.root, true)
      writeVersion(payload, 16, message.applied)
      return payload
    }
    case 'offer': {
      const payload = new Uint8Array(9)
      viewOf(payload).setBigUint64(0, BigInt(message.regionBytes), true)
      payload[8] = MODES.indexOf(message.mode)
      return payload
    }
    case 'hashes': {
      const payload = new Uint8Array(4 + message.hashes.byteLength)
      viewOf(payload).setUint32(0, message.firstPage, true)
      payload.set(message.hashes, 4)
      return payload
    }
    case 'footer':
      return encodeFooter(message)
    case 'ack': {
      const payload = new Uint8Array(12)
      viewOf(payload).setBigUint64(0, message.root, true)
      viewOf(payload).setUint32(8, message.mismatchPages ?? NOT_COMPARED, true)
      return payload
    }
    case 'refuse': {
      const text = `${message.code}\n${message.text}`.slice(0, REFUSAL_CHARS_MAX)
      return new TextEncoder().encode(text)
    }
  }
}

const FOOTER_BYTES: number = VERSION_BYTES + 8 + 4 + 1

function encodeFooter({ base, root, chunkCount, attachment }: FooterMessage): Uint8Array {
  const payload = new Uint8Array(FOOTER_BYTES + attachment.bytes.byteLength)
  const view = viewOf(payload)
  writeVersion(payload, 0, base)
  view.setBigUint64(VERSION_BYTES, root, true)
  view.setUint32(VERSION_BYTES + 8, chunkCount, true)
  view.setUint8(VERSION_BYTES + 12, ATTACHMENT_KINDS.indexOf(attachment.kind))
  payload.set(attachment.bytes, FOOTER_BYTES)
  return payload
}

/**
 * Reads a message. Views into `bytes`, no copies.
 *
 * @param regionBytes - size of the own region: page numbers are checked against it
 * @throws {FrameError} `ERR_RAM_FRAME`
 */
export function decodeMessage(bytes: Uint8Array, regionBytes: number, hash: Hasher): RamMessage {
  if (bytes.byteLength < HEAD_BYTES || bytes.byteLength > MESSAGE_BYTES_MAX) {
    throw new FrameError(`message of ${bytes.byteLength} bytes`)
  }
  const view = viewOf(bytes)
  if (view.getUint32(0, true) !== MAGIC) throw new FrameError('not a message of this protocol')
  if (hash(bytes.subarray(0, 56)) !== view.getBigUint64(56, true)) {
    throw new FrameError('the head does not have its checksum')
  }
  const version = view.getUint8(4)
  if (version !== PROTOCOL_VERSION) throw new FrameError(`protocol version ${version}`)
  const type = TYPES[view.getUint8(5)]
  if (type === undefined) throw new FrameError(`message type ${view.getUint8(5)}`)
  const unpackedBytes = readUnpackedBytes(view, type)
  const payload = bytes.subarray(HEAD_BYTES)
  if (view.getUint32(36, true) !== payload.byteLength) {
    throw new FrameError(`payload of ${payload.byteLength} bytes, not ${view.getUint32(36, true)}`)
  }
  const address: Address = {
    fencing: view.getBigUint64(8, true),
    counter: readSafeInteger(view, 16),
    region: view.getBigUint64(24, true),
  }
  const checksum = view.getBigUint64(40, true)
  if (type === 'chunk' || type === 'fill') {
    const { byteLength } = bytes
    if (byteLength > CHUNK_BYTES_MAX) throw new FrameError(`${type} of ${byteLength} bytes`)
    const index = view.getUint32(32, true)
    const packed = unpackedBytes === 0 ? {} : { unpackedBytes }
    return { type, ...address, index, payload, checksum, ...packed }
  }
  if (hash(payload) !== checksum) throw new FrameError('the payload does not have its checksum')
  return decodePayload(type, address, payload, regionBytes)
}

function readUnpackedBytes(view: DataView, type: RamMessage['type']): number {
  const flags = view.getUint16(6, true)
  const bytes = readSafeInteger(view, 48)
  const isCompressed = flags === FLAG_ZSTD && bytes > 0 && (type === 'chunk' || type === 'fill')
  if (isCompressed ? bytes > CHUNK_BYTES_MAX : flags !== 0 || bytes !== 0) {
    throw new FrameError(`flags ${flags} with ${bytes} bytes before compression`)
  }
  return bytes
}

function decodePayload(
  type: Exclude<RamMessage['type'], 'chunk' | 'fill'>,
  address: Address,
  payload: Uint8Array,
  regionBytes: number,
): RamMessage {
  const view = viewOf(payload)
  switch (type) {
    case 'hello': {
      expectLength(payload, 16 + VERSION_BYTES)
      const applied = readVersion(view, 16)
      const root = view.getBigUint64(8, true)
      const bytes = readSafeInteger(view, 0)
      return { type, ...address, regionBytes: bytes, root, ...(applied && { applied }) }
    }
    case 'offer': {
      expectLength(payload, 9)
      const mode = MODES[view.getUint8(8)]
      if (mode === undefined) throw new FrameError(`offer mode ${view.getUint8(8)}`)
      return { type, ...address, regionBytes: readSafeInteger(view, 0), mode }
    }
    case 'hashes':
      return decodeHashes(address, payload, regionBytes)
    case 'footer':
      return decodeFooter(address, payload)
    case 'ack': {
      expectLength(payload, 12)
      const mismatchPages = view.getUint32(8, true)
      const root = view.getBigUint64(0, true)
      return { type, ...address, root, ...(mismatchPages !== NOT_COMPARED && { mismatchPages }) }
    }
    case 'refuse': {
      if (payload.byteLength > REFUSAL_CHARS_MAX * 4) throw new FrameError('refusal too long')
      const [code = '', ...rest] = new TextDecoder().decode(payload).split('\n')
      return { type, ...address, code, text: rest.join(' ') }
    }
  }
}

function decodeHashes(address: Address, payload: Uint8Array, regionBytes: number): HashesMessage {
  if (payload.byteLength < 4 || (payload.byteLength - 4) % 8 !== 0) {
    throw new FrameError(`hashes of ${payload.byteLength} bytes`)
  }
  const firstPage = viewOf(payload).getUint32(0, true)
  const hashes = payload.subarray(4)
  if ((firstPage + hashes.byteLength / 8) * PAGE_BYTES > regionBytes) {
    throw new FrameError(`hashes of ${hashes.byteLength / 8} pages from ${firstPage} on`)
  }
  return { type: 'hashes', ...address, firstPage, hashes }
}

function decodeFooter(address: Address, payload: Uint8Array): FooterMessage {
  if (payload.byteLength < FOOTER_BYTES) {
    throw new FrameError(`footer of ${payload.byteLength} bytes`)
  }
  const view = viewOf(payload)
  const base = readVersion(view, 0)
  const kind = ATTACHMENT_KINDS[view.getUint8(VERSION_BYTES + 12)]
  const bytes = payload.subarray(FOOTER_BYTES)
  if (kind === undefined || (kind === 'none' && bytes.byteLength > 0)) {
    throw new FrameError('attachment of an unknown kind')
  }
  return {
    type: 'footer',
    ...address,
    root: view.getBigUint64(VERSION_BYTES, true),
    chunkCount: view.getUint32(VERSION_BYTES + 8, true),
    attachment: { kind, bytes },
    ...(base && { base }),
  }
}

function expectLength(payload: Uint8Array, length: number): void {
  if (payload.byteLength !== length) {
    throw new FrameError(`payload of ${payload.byteLength} bytes, not ${length}`)
  }
}

function writeVersion(payload: Uint8Array, offset: number, version: Version | undefined): void {
  if (version === undefined) return
  const view = viewOf(payload)
  view.setUint8(offset, 1)
  view.setBigUint64(offset + 1, version.name.fencing, true)
  view.setBigUint64(offset + 9, BigInt(version.name.counter), true)
  view.setBigUint64(offset + 17, version.root, true)
}

function readVersion(view: DataView, offset: number): Version | undefined {
  const present = view.getUint8(offset)
  if (present === 0) return undefined
  if (present !== 1) throw new FrameError(`version mark ${present}`)
  return {
    name: {
      fencing: view.getBigUint64(offset + 1, true),
      counter: readSafeInteger(view, offset + 9),
    },
    root: view.getBigUint64(offset + 17, true),
  }
}

function readSafeInteger(view: DataView, offset: number): number {
  const value = view.getBigUint64(offset, true)
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new FrameError(`number ${value}`)
  return Number(value)
}
