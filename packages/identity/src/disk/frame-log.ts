/**
 * An append-only file of frames, each durable before the next is begun. Knows nothing of what the
 * frames hold.
 *
 * Header (40 bytes): 8 bytes of magic, u32 version, u32 count of the frames that the file was made
 * with, 8 random bytes of salt, the first 16 bytes of SHA-256 over all that. Frame: u32 length of
 * the payload, u32 number (from 1, growing by one), the first 16 bytes of SHA-256 over salt,
 * length, number and payload, payload. Integers are big-endian.
 *
 * So damage that no valid frame follows was never acknowledged (a torn tail: cut off when the file
 * is opened), and damage that one follows was (refused), like damage in what the file was made
 * with. Damage in the very last frame cannot be told from a torn one. The salt keeps a payload from
 * passing for a frame: whoever makes payloads does not know it.
 */
import { createHash, randomBytes } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { IdentityDamagedError, IdentityFullError, IdentityWriteError } from '../disk-errors.ts'
import { FolderSyncError, createWholeFile, openPrivateFile, writeAll } from './atomic-file.ts'

const VERSION = 1
const HEAD_BYTES = 40
const FRAME_HEAD_BYTES = 24
const SUM_BYTES = 16

export interface FrameLogInit {
  readonly path: string
  /** 8 characters. */
  readonly magic: string
  /** Bound on one payload. */
  readonly payloadBytesMax: number
  /** Bound on the file. */
  readonly bytesMax: number
}

interface Frame {
  readonly number: number
  readonly payload: Buffer
  readonly end: number
}

export interface FrameLogRecovery {
  /** Of all frames, in order. Views of one buffer. */
  readonly payloads: readonly Uint8Array[]
  /** Bytes of a torn tail that were cut off; 0: none. */
  readonly tornBytes: number
}

/** One call at a time. */
export class FrameLog {
  readonly #init: FrameLogInit
  #file: FileHandle | undefined
  #salt: Buffer = Buffer.alloc(0)
  #number = 0
  #length = 0
  /** What the file holds is not known any more: nothing more is written. */
  #isInDoubt = false

  /**
   * Reads the file if there is one; it is made with the first frame. The caller holds the folder's
   * lock.
   *
   * @throws {IdentityDamagedError} what was durable is damaged
   * @throws {IdentityUnsafePathError}
   */
  static async open(init: FrameLogInit): Promise<{ log: FrameLog; recovery: FrameLogRecovery }> {
    const log = new FrameLog(init)
    const file = await openPrivateFile(init.path, { isWritten: true })
    if (file === undefined) return { log, recovery: { payloads: [], tornBytes: 0 } }
    try {
      return { log, recovery: await log.#recover(file) }
    } catch (error) {
      await file.close()
      throw error
    }
  }

  private constructor(init: FrameLogInit) {
    this.#init = init
  }

  get bytes(): number {
    return this.#length
  }

  /**
   * Resolves when the payload is durable.
   *
   * @throws {IdentityWriteError} it is not, or with `doubt`: nobody knows
   * @throws {IdentityFullError} the file may not grow so far
   */
  async append(payload: Uint8Array): Promise<void> {
    const { path, bytesMax } = this.#init
    if (this.#isInDoubt) throw new IdentityWriteError(path, false)
    if (this.#file === undefined) return await this.replace([payload])
    const frame = sealFrame(this.#salt, this.#number + 1, payload)
    if (this.#length + frame.length > bytesMax) {
      throw new IdentityFullError(`bytes in ${path}`, bytesMax)
    }
    try {
      await writeAll(this.#file, frame, this.#length)
    } catch (cause) {
      await this.#undo(this.#file, cause)
      throw new IdentityWriteError(path, false, { cause })
    }
    try {
      await this.#file.datasync()
    } catch (cause) {
      // After a failed flush the kernel may have dropped the pages: no second try can be believed.
      this.#isInDoubt = true
      throw new IdentityWriteError(path, true, { cause })
    }
    this.#number++
    this.#length += frame.length
  }

  /**
   * Makes the file anew with these payloads alone. It takes as much room beside the old one.
   *
   * @throws {IdentityWriteError} the old file stays in use, or with `doubt`: none is
   * @throws {IdentityFullError} the file may not be so long
   */
  async replace(payloads: readonly Uint8Array[]): Promise<void> {
    const { path, magic, bytesMax } = this.#init
    if (this.#isInDoubt) throw new IdentityWriteError(path, false)
    const salt = randomBytes(8)
    const frames = payloads.map((payload, index) => sealFrame(salt, index + 1, payload))
    const bytes = Buffer.concat([sealHead(magic, frames.length, salt), ...frames])
    if (bytes.length > bytesMax) throw new IdentityFullError(`bytes in ${path}`, bytesMax)
    const former = this.#file
    try {
      this.#file = await createWholeFile(path, bytes)
    } catch (cause) {
      this.#isInDoubt = cause instanceof FolderSyncError
      throw new IdentityWriteError(path, this.#isInDoubt, { cause })
    }
    this.#salt = salt
    this.#number = frames.length
    this.#length = bytes.length
    await former?.close()
  }

  async close(): Promise<void> {
    await this.#file?.close()
    this.#file = undefined
    this.#isInDoubt = true
  }

  /** Cuts off what a failed write left, durably. */
  async #undo(file: FileHandle, cause: unknown): Promise<void> {
    try {
      await file.truncate(this.#length)
      await file.datasync()
    } catch {
      this.#isInDoubt = true
      throw new IdentityWriteError(this.#init.path, true, { cause })
    }
  }

  async #recover(file: FileHandle): Promise<FrameLogRecovery> {
    const { path, bytesMax, payloadBytesMax } = this.#init
    const { size } = await file.stat()
    if (size > bytesMax) throw new IdentityDamagedError(path, bytesMax, `${size} bytes`)
    const bytes = Buffer.alloc(size)
    const { bytesRead } = await file.read(bytes, 0, size, 0)
    if (bytesRead < size) throw new IdentityDamagedError(path, bytesRead, 'the file ends here')
    const { salt, frames } = readHead(this.#init, bytes)
    const payloads: Uint8Array[] = []
    let length = HEAD_BYTES
    for (;;) {
      const frame = frameAt(bytes, length, {
        salt,
        payloadBytesMax,
        numberMin: payloads.length + 1,
      })
      if (frame === undefined || frame.number !== payloads.length + 1) break
      payloads.push(frame.payload)
      length = frame.end
    }
    if (payloads.length < frames) {
      const what = `${payloads.length} of ${frames} first records are valid`
      throw new IdentityDamagedError(path, length, what)
    }
    const numberMin = payloads.length + 1
    for (let offset = length; offset < size; offset++) {
      if (frameAt(bytes, offset, { salt, payloadBytesMax, numberMin }) === undefined) continue
      throw new IdentityDamagedError(path, length, `a valid record follows at byte ${offset}`)
    }
    if (size > length) {
      await file.truncate(length)
      await file.datasync()
    }
    this.#file = file
    this.#salt = salt
    this.#number = payloads.length
    this.#length = length
    return { payloads, tornBytes: size - length }
  }
}

function sealHead(magic: string, frames: number, salt: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  head.write(magic, 0, 8, 'latin1')
  head.writeUInt32BE(VERSION, 8)
  head.writeUInt32BE(frames, 12)
  salt.copy(head, 16)
  sum(head.subarray(0, 24)).copy(head, 24)
  return head
}

function readHead(
  { path, magic }: FrameLogInit,
  bytes: Buffer,
): { readonly salt: Buffer; readonly frames: number } {
  if (bytes.length < HEAD_BYTES || bytes.toString('latin1', 0, 8) !== magic) {
    throw new IdentityDamagedError(path, 0, `no header of ${magic}`)
  }
  if (!sum(bytes.subarray(0, 24)).equals(bytes.subarray(24, HEAD_BYTES))) {
    throw new IdentityDamagedError(path, 0, 'checksum of the header')
  }
  const version = bytes.readUInt32BE(8)
  if (version !== VERSION) {
    throw new IdentityDamagedError(path, 8, `version ${version}, expected ${VERSION}`)
  }
  return { salt: Buffer.from(bytes.subarray(16, 24)), frames: bytes.readUInt32BE(12) }
}

function sealFrame(salt: Buffer, number: number, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(FRAME_HEAD_BYTES + payload.length)
  frame.writeUInt32BE(payload.length, 0)
  frame.writeUInt32BE(number, 4)
  frame.set(payload, FRAME_HEAD_BYTES)
  sum(salt, frame.subarray(0, 8), payload).copy(frame, 8)
  return frame
}

/** @returns `undefined`: no valid frame with at least this number begins here */
function frameAt(
  bytes: Buffer,
  offset: number,
  {
    salt,
    payloadBytesMax,
    numberMin,
  }: {
    readonly salt: Buffer
    readonly payloadBytesMax: number
    readonly numberMin: number
  },
): Frame | undefined {
  if (offset + FRAME_HEAD_BYTES > bytes.length) return undefined
  const length = bytes.readUInt32BE(offset)
  const number = bytes.readUInt32BE(offset + 4)
  const start = offset + FRAME_HEAD_BYTES
  const end = start + length
  // Frames between the expected one and this take room: cheap to know before a hash is made.
  const numberMax = numberMin + Math.floor(bytes.length / FRAME_HEAD_BYTES)
  if (length > payloadBytesMax || end > bytes.length) return undefined
  if (number < numberMin || number > numberMax) return undefined
  const payload = bytes.subarray(start, end)
  const expected = sum(salt, bytes.subarray(offset, offset + 8), payload)
  if (!expected.equals(bytes.subarray(offset + 8, start))) return undefined
  return { number, payload, end }
}

function sum(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest().subarray(0, SUM_BYTES)
}
