/**
 * Durable entries of the lease server: one file, a header and then frames.
 *
 * Header: "MYCLEASE", u32 version, u32 salt (random per file), u32 count of the frames that the
 * file was made with, u32 CRC-32 of all that. Frame: u32 length of the payload, u32 number (from 1,
 * growing by one), u32 CRC-32 over salt, length, number and payload; the payload is a CBOR array of
 * entries, one frame per group commit. All integers big-endian.
 *
 * A frame is acknowledged after fdatasync, and the next one is begun only then. So damage that no
 * valid frame follows was never acknowledged (a torn tail: cut off), and damage that one follows
 * was (refused), like damage in what the file was made with. Damage in the very last frame cannot
 * be told from a torn one. Compaction writes a new file with all entries beside the old one and
 * renames it.
 */
import { randomBytes } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { LeaseEntry } from '../core/lease-table.ts'
import { LeaseLogCorruptError, LeaseLogWriteError } from '../errors.ts'
import { decodeEntries, encodeEntries } from './lease-entry.ts'

/** Entries of one group commit: a bound on a frame, and on what one failed write undoes. */
export const LOG_BATCH_ENTRIES_MAX = 256
/** 256 entries with a record of 4 KiB each, their names, tokens and CBOR. */
const FRAME_PAYLOAD_BYTES_MAX = 2 ** 21
/** Below this, compaction gains nothing worth a rename. */
const COMPACT_BYTES_MIN = 2 ** 18
/** Compacts when the log has grown to so many times its size after the last compaction. */
const COMPACT_GROWTH = 4
/** A log that cannot be compacted (full disk) grows no further: 4,096 entries take under 32 MiB. */
const LOG_BYTES_MAX: number = 2 ** 27

const MAGIC = Buffer.from('MYCLEASE')
const VERSION = 1
const HEAD_BYTES = 24
const FRAME_HEAD_BYTES = 12
const FILE_NAME = 'leases.log'
const TEMPORARY_NAME = 'leases.log.new'

interface Frame {
  readonly number: number
  readonly payload: Buffer
  readonly end: number
}

export interface LeaseLogRecovery {
  /** Bytes of a torn tail that were cut off; 0: none. */
  readonly tornBytes: number
}

export class LeaseLog {
  readonly #folder: string
  readonly #durable = new Map<string, LeaseEntry>()
  #file: FileHandle
  #salt = 0
  #number = 0
  #length = 0
  #compactedLength = 0
  /** What the file holds is not known any more: nothing more is written. */
  #isInDoubt = false

  /**
   * The caller holds the folder's lock. One call at a time, like all of this class.
   *
   * @throws {LeaseLogCorruptError} what was durable is damaged
   */
  static async open(folder: string): Promise<{ log: LeaseLog; recovery: LeaseLogRecovery }> {
    const path = join(folder, FILE_NAME)
    await rm(join(folder, TEMPORARY_NAME), { force: true })
    const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    if (bytes === undefined) {
      const log = new LeaseLog(folder, await createFile(folder, []))
      return { log, recovery: { tornBytes: 0 } }
    }
    const file = await open(path, 'r+')
    try {
      const { salt, frames } = readHead(path, bytes)
      const log = new LeaseLog(folder, { file, salt, length: HEAD_BYTES })
      log.#recover(path, bytes, frames)
      const tornBytes = bytes.length - log.#length
      if (tornBytes > 0) {
        await file.truncate(log.#length)
        await file.datasync()
      }
      return { log, recovery: { tornBytes } }
    } catch (error) {
      await file.close()
      throw error
    }
  }

  private constructor(
    folder: string,
    start: { readonly file: FileHandle; readonly salt: number; readonly length: number },
  ) {
    this.#folder = folder
    this.#file = start.file
    this.#salt = start.salt
    this.#length = start.length
    this.#compactedLength = start.length
  }

  get path(): string {
    return join(this.#folder, FILE_NAME)
  }

  /** What is durable, by name. */
  get entries(): ReadonlyMap<string, LeaseEntry> {
    return this.#durable
  }

  /**
   * Resolves when all entries are durable; of one name the last counts.
   *
   * @param entries - at most {@link LOG_BATCH_ENTRIES_MAX}
   * @throws {LeaseLogWriteError} none is, or with `doubt`: nobody knows
   */
  async append(entries: readonly LeaseEntry[]): Promise<void> {
    if (this.#isInDoubt) throw new LeaseLogWriteError(this.path, false)
    const frame = sealFrame(this.#salt, this.#number + 1, encodeEntries(entries))
    if (this.#length + frame.length > LOG_BYTES_MAX) {
      throw new LeaseLogWriteError(this.path, false, { cause: new Error('the log is full') })
    }
    try {
      await writeAll(this.#file, frame, this.#length)
    } catch (cause) {
      await this.#undo(cause)
      throw new LeaseLogWriteError(this.path, false, { cause })
    }
    try {
      await this.#file.datasync()
    } catch (cause) {
      // After a failed flush the kernel may have dropped the pages: no second try can be believed.
      this.#isInDoubt = true
      throw new LeaseLogWriteError(this.path, true, { cause })
    }
    this.#number++
    this.#length += frame.length
    for (const entry of entries) this.#durable.set(entry.name, entry)
  }

  /** Cuts off what a failed write left, durably. */
  async #undo(cause: unknown): Promise<void> {
    try {
      await this.#file.truncate(this.#length)
      await this.#file.datasync()
    } catch {
      this.#isInDoubt = true
      throw new LeaseLogWriteError(this.path, true, { cause })
    }
  }

  get isCompactionDue(): boolean {
    const floor = Math.max(COMPACT_BYTES_MIN, this.#compactedLength * COMPACT_GROWTH)
    return !this.#isInDoubt && this.#length >= floor
  }

  /**
   * Writes all entries into a new file that replaces the log.
   *
   * @throws {LeaseLogWriteError} the old log stays in use, or with `doubt`: none is
   */
  async compact(): Promise<void> {
    const salt = randomBytes(4).readUInt32BE()
    const frames: Buffer[] = []
    const all = [...this.#durable.values()]
    let number = 0
    for (let i = 0; i < all.length; i += LOG_BATCH_ENTRIES_MAX) {
      const payload = encodeEntries(all.slice(i, i + LOG_BATCH_ENTRIES_MAX))
      frames.push(sealFrame(salt, ++number, payload))
    }
    // Whether it works or not, the next try comes only after more growth.
    this.#compactedLength = this.#length
    try {
      const created = await createFile(this.#folder, frames, salt)
      await this.#file.close()
      this.#file = created.file
      this.#salt = salt
      this.#number = number
      this.#length = created.length
      this.#compactedLength = created.length
    } catch (cause) {
      this.#isInDoubt = cause instanceof FolderSyncError
      await rm(join(this.#folder, TEMPORARY_NAME), { force: true }).catch(() => undefined)
      throw new LeaseLogWriteError(this.path, this.#isInDoubt, { cause })
    }
  }

  async close(): Promise<void> {
    await this.#file.close()
  }

  /** @param framesMin - durable since the file has its name */
  #recover(path: string, bytes: Buffer, framesMin: number): void {
    for (;;) {
      const frame = frameAt(bytes, this.#length, this.#salt)
      if (frame === undefined || frame.number !== this.#number + 1) break
      let entries: LeaseEntry[]
      try {
        entries = decodeEntries(frame.payload)
      } catch (cause) {
        throw new LeaseLogCorruptError(path, this.#length, 'an entry is not readable', { cause })
      }
      for (const entry of entries) this.#durable.set(entry.name, entry)
      this.#number = frame.number
      this.#length = frame.end
    }
    if (this.#number < framesMin) {
      const what = `${this.#number} of ${framesMin} first records are valid`
      throw new LeaseLogCorruptError(path, this.#length, what)
    }
    this.#compactedLength = this.#length
    for (let offset = this.#length; offset < bytes.length; offset++) {
      const later = frameAt(bytes, offset, this.#salt)
      if (later === undefined || later.number <= this.#number) continue
      throw new LeaseLogCorruptError(path, this.#length, `a valid record follows at ${offset}`)
    }
  }
}

class FolderSyncError extends Error {}

function readHead(path: string, bytes: Buffer): { salt: number; frames: number } {
  if (bytes.length < HEAD_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new LeaseLogCorruptError(path, 0, 'no header of a lease log')
  }
  const [version, salt, frames, sum] = [8, 12, 16, 20].map((offset) => bytes.readUInt32BE(offset))
  if (sum !== crc32(bytes.subarray(0, 20))) {
    throw new LeaseLogCorruptError(path, 0, 'checksum of the header')
  }
  if (version !== VERSION) {
    throw new LeaseLogCorruptError(path, MAGIC.length, `version ${version}, expected ${VERSION}`)
  }
  return { salt: salt ?? 0, frames: frames ?? 0 }
}

function sealHead(salt: number, frames: number): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  MAGIC.copy(head)
  head.writeUInt32BE(VERSION, 8)
  head.writeUInt32BE(salt, 12)
  head.writeUInt32BE(frames, 16)
  head.writeUInt32BE(crc32(head.subarray(0, 20)), 20)
  return head
}

/** Whole and flushed under its final name, or not at all. */
async function createFile(
  folder: string,
  frames: readonly Buffer[],
  salt: number = randomBytes(4).readUInt32BE(),
): Promise<{ file: FileHandle; salt: number; length: number }> {
  const bytes = Buffer.concat([sealHead(salt, frames.length), ...frames])
  const file = await open(join(folder, TEMPORARY_NAME), 'w+', 0o600)
  try {
    await writeAll(file, bytes, 0)
    await file.sync()
    await rename(join(folder, TEMPORARY_NAME), join(folder, FILE_NAME))
    await syncFolder(folder)
  } catch (error) {
    await file.close()
    throw error
  }
  return { file, salt, length: bytes.length }
}

/** Makes a rename durable. @throws {FolderSyncError} nobody knows which file a restart will find */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (cause) {
    throw new FolderSyncError(`cannot flush ${folder}`, { cause })
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done)
    if (bytesWritten === 0) throw new Error('nothing was written')
    done += bytesWritten
  }
}

function sealFrame(salt: number, number: number, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(FRAME_HEAD_BYTES + payload.length)
  frame.writeUInt32BE(payload.length, 0)
  frame.writeUInt32BE(number >>> 0, 4)
  frame.set(payload, FRAME_HEAD_BYTES)
  frame.writeUInt32BE(checksum(salt, frame, payload.length), 8)
  return frame
}

/** `frame` begins with length and number; its checksum field is not read. */
function checksum(salt: number, frame: Buffer, length: number): number {
  const start = crc32(frame.subarray(0, 8), salt)
  return crc32(frame.subarray(FRAME_HEAD_BYTES, FRAME_HEAD_BYTES + length), start)
}

function frameAt(bytes: Buffer, offset: number, salt: number): Frame | undefined {
  if (offset + FRAME_HEAD_BYTES > bytes.length) return undefined
  const length = bytes.readUInt32BE(offset)
  const end = offset + FRAME_HEAD_BYTES + length
  if (length === 0 || length > FRAME_PAYLOAD_BYTES_MAX || end > bytes.length) return undefined
  const frame = bytes.subarray(offset, end)
  if (frame.readUInt32BE(8) !== checksum(salt, frame, length)) return undefined
  return { number: frame.readUInt32BE(4), payload: frame.subarray(FRAME_HEAD_BYTES), end }
}
