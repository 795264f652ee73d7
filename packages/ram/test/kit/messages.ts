import { HEAD_BYTES } from '../../src/constants.ts'
import type { Attachment, Version } from '../../src/core/epoch.ts'
import {
  type Address,
  type ChunkMessage,
  encodeMessage,
  type FillMessage,
  type Hasher,
  type RamMessage,
  writeHead,
} from '../../src/wire.ts'

export const PAGE = 4096
export const REGION_BYTES: number = 64 * PAGE
export const ADDRESS: Address = { fencing: 7n, counter: 12, region: 0x1234_5678_9abc_def0n }
export const VERSION: Version = { name: { fencing: 6n, counter: 11 }, root: 0xfeed_beefn }
const FULL: Attachment = { kind: 'full', bytes: Uint8Array.of(1, 2, 3) }

/** Encodes any message: `chunk` and `fill` as the shell does, around their payload. */
export function encodeAny(message: RamMessage, hash: Hasher): Uint8Array {
  if (message.type !== 'chunk' && message.type !== 'fill') return encodeMessage(message, hash)
  const { type, index, payload, checksum, unpackedBytes } = message
  const bytes = new Uint8Array(HEAD_BYTES + payload.byteLength)
  bytes.set(payload, HEAD_BYTES)
  writeHead(bytes, type, message, index, checksum, hash, unpackedBytes)
  return bytes
}

export function pagesMessage(
  type: 'chunk' | 'fill',
  payload: Uint8Array,
  hash: Hasher,
  fields: { readonly index?: number; readonly unpackedBytes?: number } = {},
): ChunkMessage | FillMessage {
  return { type, ...ADDRESS, index: 0, payload, checksum: hash(payload), ...fields }
}

/** One or more of each type, with every optional field present and absent. */
export function samples(hash: Hasher): readonly RamMessage[] {
  const payload = Uint8Array.from({ length: 40 }, (_, index) => index * 7)
  const base = { ...ADDRESS, root: 99n, chunkCount: 3 }
  return [
    pagesMessage('chunk', payload, hash, { index: 5 }),
    pagesMessage('chunk', payload, hash, { index: 6, unpackedBytes: 70_000 }),
    pagesMessage('chunk', new Uint8Array(0), hash),
    pagesMessage('fill', payload, hash),
    pagesMessage('fill', payload, hash, { unpackedBytes: 1 }),
    { type: 'hello', ...ADDRESS, regionBytes: REGION_BYTES, root: 0n },
    { type: 'hello', ...ADDRESS, regionBytes: 2 ** 41, root: 2n ** 64n - 1n, applied: VERSION },
    { type: 'offer', ...ADDRESS, mode: 'resume', regionBytes: REGION_BYTES },
    { type: 'offer', ...ADDRESS, mode: 'fill', regionBytes: REGION_BYTES },
    { type: 'offer', ...ADDRESS, mode: 'compare', regionBytes: REGION_BYTES },
    { type: 'hashes', ...ADDRESS, firstPage: 0, hashes: new Uint8Array(0) },
    { type: 'hashes', ...ADDRESS, firstPage: 60, hashes: payload.subarray(0, 32) },
    { type: 'footer', ...base, attachment: { kind: 'none', bytes: new Uint8Array(0) } },
    { type: 'footer', ...base, attachment: FULL, base: VERSION },
    { type: 'footer', ...base, attachment: { kind: 'difference', bytes: payload }, base: VERSION },
    { type: 'footer', ...base, attachment: { kind: 'full', bytes: new Uint8Array(0) } },
    { type: 'ack', ...ADDRESS, root: 5n },
    { type: 'ack', ...ADDRESS, root: 5n, mismatchPages: 0 },
    { type: 'ack', ...ADDRESS, root: 5n, mismatchPages: 2 ** 29 },
    { type: 'refuse', ...ADDRESS, code: 'ERR_RAM_BASE', text: 'größer als 5 – nein' },
    { type: 'refuse', ...ADDRESS, code: '', text: '' },
  ]
}
