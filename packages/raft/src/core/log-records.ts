/**
 * Records in a file that only grows: what a log on disk is made of. Each has a header of three
 * numbers, little endian: bytes of the content; CRC-32C of the content, begun with that of the
 * record before, so that none can be missing or stand elsewhere; CRC-32C of these two.
 *
 * A crash may leave the end of the file incomplete: a record cut off, or sectors that are still
 * zero. That was never acknowledged, and is dropped. Everything else that does not fit is damage.
 */
import { LogCorruptError } from '../errors.ts'

const HEADER_BYTES = 12
/** What a disk writes whole: below, bytes of one record are written together or not at all. */
const SECTOR_BYTES = 512

/** CRC-32C (Castagnoli), reflected: RFC 3720, appendix B.4. */
const POLYNOMIAL = 0x82f63b78

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1
  return value >>> 0
})

/** @param seed - the sum of what comes before */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed >>> 0
  for (const byte of bytes) crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] ?? 0)
  return ~crc >>> 0
}

/** @param seed - sum of the record before; 0 for the first */
export function frameRecord(
  content: Uint8Array,
  seed: number,
): { readonly bytes: Uint8Array; readonly sum: number } {
  const bytes = new Uint8Array(HEADER_BYTES + content.length)
  const view = new DataView(bytes.buffer)
  const sum = crc32c(content, seed)
  view.setUint32(0, content.length, true)
  view.setUint32(4, sum, true)
  view.setUint32(8, crc32c(bytes.subarray(0, 8)), true)
  bytes.set(content, HEADER_BYTES)
  return { bytes, sum }
}

export interface ReadRecords {
  /** Contents, as views of the bytes given. */
  readonly records: readonly Uint8Array[]
  /** Of the last one: the seed of the next. */
  readonly sum: number
  /** Where the next one begins; what follows is torn, and must be cut off before it is written. */
  readonly length: number
}

/** @throws {LogCorruptError} `ERR_RAFT_LOG_CORRUPT`: damaged, not just torn at the end */
export function readRecords(bytes: Uint8Array): ReadRecords {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const records: Uint8Array[] = []
  let sum = 0
  let at = 0
  while (at < bytes.length) {
    const begin = at + HEADER_BYTES
    if (begin > bytes.length) break
    if (view.getUint32(at + 8, true) !== crc32c(bytes.subarray(at, at + 8))) {
      checkTorn(bytes, at)
      break
    }
    const end = begin + view.getUint32(at, true)
    if (end > bytes.length) break
    const content = bytes.subarray(begin, end)
    const expected = view.getUint32(at + 4, true)
    if (crc32c(content, sum) !== expected) {
      checkTorn(bytes, at)
      break
    }
    records.push(content)
    sum = expected
    at = end
  }
  return { records, sum, length: at }
}

/** What was synchronised is never zero again by itself; what was not may be, sector by sector. */
function checkTorn(bytes: Uint8Array, at: number): void {
  for (let from = at; from < bytes.length;) {
    const to = Math.min(bytes.length, from + SECTOR_BYTES - (from % SECTOR_BYTES))
    if (bytes.subarray(from, to).every((byte) => byte === 0)) return
    from = to
  }
  throw new LogCorruptError(at)
}
