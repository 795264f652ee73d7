/** The audit log in a folder of its own (0700, files 0600). */
import { join } from 'node:path'
import type { Clock, Logger, Random } from '@mycelium/interface'
import { AUDIT_HEAD_NAME, AUDIT_SEGMENT_BYTES_MAX, segmentPath } from './audit-files.ts'
import { findTail } from './audit-tail.ts'
import type { OpenSegment } from './audit-tail.ts'
import { SEGMENT_MAGIC, checkEntry } from './core/audit-codec.ts'
import type { AuditEntry, AuditSink } from './core/audit-entry.ts'
import { AuditCore } from './core/audit.ts'
import type { AuditEffect, AuditInput } from './core/audit.ts'
import type { Signer } from './core/model.ts'
import { createCrypto } from './crypto.ts'
import {
  FolderSyncError,
  createWholeFile,
  openPrivateFolder,
  removeFile,
  replaceFile,
  writeAll,
} from './disk/atomic-file.ts'
import { lockFolder } from './disk/folder-lock.ts'
import { IdentityClosedError, IdentityLockedError, IdentityWriteError } from './disk-errors.ts'

/** 250,000 ordinary entries. */
const BYTES_MAX: number = 2 ** 26
/** A cut drops so much at once, and an opening reads so much. */
const SEGMENT_BYTES: number = 2 ** 21
/** Entries and signatures that wait for the disk: under 2 MiB. What comes above is counted. */
export const AUDIT_WAITING_MAX = 4_096
/** Bytes of one write and flush. */
const BATCH_BYTES_MAX: number = 2 ** 18
/** A full disk is tried again after so long. */
const RETRY_MS = 10_000

export interface AuditLogDeps {
  readonly clock: Clock
  readonly random: Random
  readonly signer: Signer
  /** Whose log it may have been until now: after a rotation of the node key. */
  readonly formerSigner?: Signer
  readonly logger?: Logger
}

export interface AuditLogInit {
  /** Made if it is not there. */
  readonly folder: string
  /**
   * Bytes of all files together; above, the oldest segment goes, and a signed entry says so.
   *
   * @default 67108864
   */
  readonly bytesMax?: number
  /**
   * Bytes of one segment, from 65,536 to the half of `bytesMax` less 32,768. Smaller: less is
   * dropped at once, more files.
   *
   * @default 2097152
   */
  readonly segmentBytes?: number
}

export interface AuditMetrics {
  /** Number of the last entry. */
  readonly entries: number
  /** Entries that found no room while the disk took nothing. */
  readonly lost: number
  /** Effects that wait for the disk. */
  readonly waiting: number
  /** Bytes of all segments, those that wait included. */
  readonly bytes: number
  readonly isFailing: boolean
}

export interface AuditLog extends AuditSink, AsyncDisposable {
  readonly metrics: AuditMetrics
  /**
   * Resolves when all entries before it are durable, what strangers caused included.
   *
   * @throws {IdentityWriteError} they are not, and are tried again (with `doubt`: they are not)
   */
  flush(): Promise<void>
  /** From now on another key signs; the present one says so. Rejects as `flush`. */
  rotateKey(signer: Signer): Promise<void>
  /** Idempotent. Signs and closes. Rejects as `flush`; the folder is free in any case. */
  stop(): Promise<void>
}

/**
 * Opens or begins a log. What found no room while the disk took nothing is counted in an
 * entry of its own.
 *
 * @throws {IdentityLockedError}
 * @throws {IdentityUnsafePathError}
 * @throws {AuditDamagedError} what was signed is not there any more, or the log is of another key
 * @throws {IdentityWriteError}
 */
export async function createAuditLog(deps: AuditLogDeps, init: AuditLogInit): Promise<AuditLog> {
  const { bytesMax = BYTES_MAX, segmentBytes = SEGMENT_BYTES } = init
  if (segmentBytes > AUDIT_SEGMENT_BYTES_MAX) {
    throw new RangeError(`segmentBytes: at most ${AUDIT_SEGMENT_BYTES_MAX} (got ${segmentBytes})`)
  }
  const crypto = createCrypto()
  const core = new AuditCore({ crypto, signer: deps.signer }, { bytesMax, segmentBytes })
  const folder = await openPrivateFolder(init.folder)
  const release = await lockFolder(folder, 'mycelium-audit').catch((cause: unknown) => {
    throw new IdentityWriteError(join(folder, 'lock'), false, { cause })
  })
  if (release === undefined) throw new IdentityLockedError(folder)
  try {
    const found = await findTail(folder, crypto, deps)
    const log = new FolderAuditLog({ deps, core, folder, release, file: found?.file })
    const id = deps.random.bytes(16)
    await log.begin(found === undefined ? { kind: 'begin', id } : found.input)
    return log
  } catch (error) {
    await release()
    throw error
  }
}

interface Parts {
  readonly deps: AuditLogDeps
  readonly core: AuditCore
  readonly folder: string
  readonly release: () => Promise<void>
  readonly file: OpenSegment | undefined
}

class FolderAuditLog implements AuditLog {
  readonly #deps: AuditLogDeps
  readonly #core: AuditCore
  readonly #folder: string
  readonly #release: () => Promise<void>
  /** What is not durable yet, in order. */
  readonly #waiting: AuditEffect[] = []
  #file: OpenSegment | undefined
  #pumping: Promise<void> = Promise.resolve()
  #isPumping = false
  #failure: IdentityWriteError | undefined
  #retryAt: number | undefined
  #cancelTimer: () => void = () => {}
  #lostAll = 0
  /** Of those, what no entry tells of yet. */
  #lost = 0
  #stopped: Promise<void> | undefined

  constructor({ deps, core, folder, release, file }: Parts) {
    this.#deps = deps
    this.#core = core
    this.#folder = folder
    this.#release = release
    this.#file = file
  }

  get metrics(): AuditMetrics {
    return {
      entries: this.#core.number,
      lost: this.#lostAll,
      waiting: this.#waiting.length,
      bytes: this.#core.bytes,
      isFailing: this.#failure !== undefined,
    }
  }

  async begin(input: AuditInput): Promise<void> {
    try {
      this.#step(input)
      await this.#settle()
    } catch (error) {
      this.#cancelTimer()
      await this.#file?.handle.close()
      throw error
    }
  }

  append(entry: AuditEntry): void {
    if (this.#stopped !== undefined || !this.#hasRoom()) {
      checkEntry(entry)
      this.#lost++
      this.#lostAll++
      return
    }
    this.#tellLost()
    this.#step({ kind: 'entry', entry })
  }

  async flush(): Promise<void> {
    if (this.#stopped !== undefined) return await this.#stopped
    this.#tellLost()
    this.#step({ kind: 'flush' })
    await this.#settle()
  }

  async rotateKey(signer: Signer): Promise<void> {
    if (this.#stopped !== undefined) throw new IdentityClosedError('audit log')
    this.#step({ kind: 'rotate', signer })
    await this.#settle()
  }

  stop(): Promise<void> {
    return (this.#stopped ??= this.#close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #close(): Promise<void> {
    try {
      this.#tellLost()
      this.#step({ kind: 'close' })
      await this.#settle()
    } finally {
      this.#cancelTimer()
      await this.#file?.handle.close()
      await this.#release()
    }
  }

  #hasRoom(): boolean {
    return this.#failure?.doubt !== true && this.#waiting.length < AUDIT_WAITING_MAX
  }

  #tellLost(): void {
    if (this.#lost === 0 || !this.#hasRoom()) return
    const count = this.#lost
    this.#lost = 0
    this.#step({ kind: 'lost', count })
  }

  #step(input: AuditInput): void {
    const { clock } = this.#deps
    const time = { now: clock.now(), unixMs: Math.floor(clock.unixMs()) }
    this.#waiting.push(...this.#core.step(input, time))
    // After a failure only the timer, or somebody who waits, tries again.
    if (this.#failure === undefined) void this.#pump()
    this.#arm()
  }

  #arm(): void {
    this.#cancelTimer()
    const ends = [this.#core.nextDeadline(), this.#retryAt].filter((at) => at !== undefined)
    if (ends.length === 0) return
    this.#cancelTimer = this.#deps.clock.schedule(Math.min(...ends), () => {
      if (this.#retryAt !== undefined && this.#retryAt <= this.#deps.clock.now()) {
        this.#retryAt = undefined
        void this.#pump()
      }
      this.#step({ kind: 'tick' })
    })
  }

  /** Tries at once. @throws {IdentityWriteError} */
  async #settle(): Promise<void> {
    await this.#pump()
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Never rejects. */
  #pump(): Promise<void> {
    if (!this.#isPumping) this.#pumping = this.#carryOutAll()
    return this.#pumping
  }

  async #carryOutAll(): Promise<void> {
    this.#isPumping = true
    try {
      while (this.#waiting.length > 0 && this.#failure?.doubt !== true) {
        await this.#carryOutSome()
        this.#failure = undefined
        this.#retryAt = undefined
      }
    } catch (cause) {
      this.#fail(cause)
    } finally {
      this.#isPumping = false
    }
  }

  #fail(cause: unknown): void {
    const path = join(this.#folder, AUDIT_HEAD_NAME)
    const isKnown = cause instanceof IdentityWriteError
    const doubt = cause instanceof FolderSyncError
    this.#failure = isKnown ? cause : new IdentityWriteError(path, doubt, { cause })
    this.#deps.logger?.log('error', 'audit-write-failed', { error: this.#failure })
    if (this.#failure.doubt) {
      // Nothing is written any more: what waits is lost, as is what comes.
      const entries = this.#waiting.filter(({ kind }) => kind === 'append').length
      this.#lostAll += entries
      this.#waiting.length = 0
    } else if (this.#stopped === undefined) {
      this.#retryAt = this.#deps.clock.now() + RETRY_MS
      this.#arm()
    }
  }

  /** One write and one head, or one deletion; what is done goes from the queue. */
  async #carryOutSome(): Promise<void> {
    const [next] = this.#waiting
    if (next === undefined) return
    if (next.kind === 'drop') {
      await removeFile(segmentPath(this.#folder, next.segment))
      this.#waiting.shift()
      return
    }
    const batch = batchOf(this.#waiting)
    if (batch.frames.length > 0) {
      await this.#appendFrames(batch.segment, Buffer.concat(batch.frames))
      // Of the heads among them the last one counts.
      this.#waiting.splice(0, batch.count, ...(batch.head === undefined ? [] : [batch.head]))
      return
    }
    if (next.kind === 'head') {
      await replaceFile(join(this.#folder, AUDIT_HEAD_NAME), next.payload)
      this.#waiting.shift()
    }
  }

  async #appendFrames(first: number, bytes: Buffer): Promise<void> {
    const path = segmentPath(this.#folder, first)
    const file = this.#file
    if (file?.first !== first) {
      const handle = await createWholeFile(path, Buffer.concat([SEGMENT_MAGIC, bytes]))
      this.#file = { first, handle, length: SEGMENT_MAGIC.length + bytes.length }
      await file?.handle.close()
      return
    }
    try {
      await writeAll(file.handle, bytes, file.length)
    } catch (cause) {
      await file.handle.truncate(file.length).catch(() => {
        throw new IdentityWriteError(path, true, { cause })
      })
      throw new IdentityWriteError(path, false, { cause })
    }
    try {
      await file.handle.datasync()
    } catch (cause) {
      // After a failed flush the kernel may have dropped the pages: no second try can be believed.
      throw new IdentityWriteError(path, true, { cause })
    }
    file.length += bytes.length
  }
}

/** The frames at the beginning of the queue that one write takes, and the last head among them. */
function batchOf(waiting: readonly AuditEffect[]): {
  readonly segment: number
  readonly frames: readonly Uint8Array[]
  readonly head: AuditEffect | undefined
  readonly count: number
} {
  const frames: Uint8Array[] = []
  let segment: number | undefined
  let head: AuditEffect | undefined
  let bytes = 0
  let count = 0
  for (const effect of waiting) {
    if (effect.kind === 'drop') break
    if (effect.kind === 'head') {
      // One that leads waits for no frames.
      if (count === 0) break
      head = effect
    } else {
      segment ??= effect.segment
      bytes += effect.frame.length
      if (effect.segment !== segment || (frames.length > 0 && bytes > BATCH_BYTES_MAX)) break
      frames.push(effect.frame)
    }
    count++
  }
  return { segment: segment ?? 0, frames, head, count }
}
