/**
 * A folder (0700) with one file (0600) for each record and one for facts.
 *
 * Record: "MYCELREC", 32 bytes of SHA-256 over name, 0 and content, content. It is written beside,
 * flushed and renamed. Facts: a {@link FrameLog}; each frame is a group of envelopes, each behind
 * its length (u32, big-endian).
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { AbortOptions } from '@mycelium/interface'
import {
  FolderSyncError,
  openPrivateFolder,
  readPrivateFile,
  removeFile,
  replaceFile,
  sweepTemporary,
} from './disk/atomic-file.ts'
import { lockFolder } from './disk/folder-lock.ts'
import { FrameLog } from './disk/frame-log.ts'
import type { FrameLogRecovery } from './disk/frame-log.ts'
import { IdentityDamagedError, IdentityLockedError, IdentityWriteError } from './disk-errors.ts'
import { StoreCalls, checkedFacts, checkedRecord } from './store-calls.ts'
import { RECORD_BYTES_MAX, RECORD_NAMES } from './store.ts'
import type { IdentityStore, RecordName } from './store.ts'

const MAGIC = Buffer.from('MYCELREC')
const HEAD_BYTES = MAGIC.length + 32
const FACTS_NAME = 'facts.log'
const FACTS_MAGIC = 'MYCELFCT'
/** 128 of the longest facts, or thousands of ordinary ones: one flush for all. */
const FRAME_BYTES_MAX: number = 2 ** 20
/** 65,536 facts of 1 KiB; ordinary ones take a third. They are all in memory as well. */
const FACTS_BYTES_MAX: number = 2 ** 26

export interface FileStoreInit {
  /** Made if it is not there. */
  readonly folder: string
}

export interface FileStore extends IdentityStore {
  /** Bytes of an unfinished write of facts that were cut off; 0: none. */
  readonly tornBytes: number
}

/**
 * Opens the store and locks its folder until it is disposed of, or the process dies.
 *
 * @throws {IdentityLockedError} another holds it
 * @throws {IdentityUnsafePathError} others can read or write there, or a link lies there
 * @throws {IdentityDamagedError} facts are damaged
 * @throws {IdentityWriteError} there is no room for the lock
 */
export async function createFileStore(init: FileStoreInit): Promise<FileStore> {
  const folder = await openPrivateFolder(init.folder)
  const release = await lockFolder(folder, 'mycelium-identity').catch((cause: unknown) => {
    throw new IdentityWriteError(join(folder, 'lock'), false, { cause })
  })
  if (release === undefined) throw new IdentityLockedError(folder)
  try {
    await sweepTemporary(folder, [...RECORD_NAMES, FACTS_NAME])
    const { log, recovery } = await FrameLog.open({
      path: join(folder, FACTS_NAME),
      magic: FACTS_MAGIC,
      payloadBytesMax: FRAME_BYTES_MAX,
      bytesMax: FACTS_BYTES_MAX,
    })
    return new FolderStore({ folder, log, recovery, release })
  } catch (error) {
    await release()
    throw error
  }
}

class FolderStore implements FileStore {
  readonly tornBytes: number
  readonly #folder: string
  readonly #log: FrameLog
  readonly #release: () => Promise<void>
  readonly #calls = new StoreCalls()
  #facts: Uint8Array[]
  #isInDoubt = false

  constructor(parts: {
    readonly folder: string
    readonly log: FrameLog
    readonly recovery: FrameLogRecovery
    readonly release: () => Promise<void>
  }) {
    this.#folder = parts.folder
    this.#log = parts.log
    this.#release = parts.release
    this.tornBytes = parts.recovery.tornBytes
    this.#facts = parts.recovery.payloads.flatMap((payload) => openGroup(this.#factsPath, payload))
  }

  read(name: RecordName, options: AbortOptions = {}): Promise<Uint8Array | undefined> {
    return this.#calls.run(options, async () => {
      const path = this.#pathOf(name)
      const file = await readPrivateFile(path, HEAD_BYTES + RECORD_BYTES_MAX)
      return file && openRecord(path, name, file)
    })
  }

  async write(name: RecordName, bytes: Uint8Array, options: AbortOptions = {}): Promise<void> {
    const content = checkedRecord(bytes)
    const path = this.#pathOf(name)
    await this.#calls.run(options, () =>
      this.#change(path, () => replaceFile(path, sealRecord(name, content))),
    )
  }

  async remove(name: RecordName, options: AbortOptions = {}): Promise<void> {
    const path = this.#pathOf(name)
    await this.#calls.run(options, () => this.#change(path, () => removeFile(path)))
  }

  facts(options: AbortOptions = {}): Promise<readonly Uint8Array[]> {
    return this.#calls.run(options, () => this.#facts.map((one) => Uint8Array.from(one)))
  }

  async appendFacts(envelopes: readonly Uint8Array[], options: AbortOptions = {}): Promise<void> {
    const groups = groupsOf(checkedFacts(envelopes))
    await this.#calls.run(options, async () => {
      for (const group of groups) {
        await this.#log.append(sealGroup(group))
        this.#facts.push(...group)
      }
    })
  }

  async replaceFacts(envelopes: readonly Uint8Array[], options: AbortOptions = {}): Promise<void> {
    const groups = groupsOf(checkedFacts(envelopes))
    await this.#calls.run(options, async () => {
      await this.#log.replace(groups.map(sealGroup))
      this.#facts = groups.flat()
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#calls.close(async () => {
      try {
        await this.#log.close()
      } finally {
        await this.#release()
      }
    })
  }

  get #factsPath(): string {
    return join(this.#folder, FACTS_NAME)
  }

  #pathOf(name: RecordName): string {
    // A name from elsewhere would be a path.
    if (!RECORD_NAMES.includes(name)) throw new TypeError(`name: no record is called ${name}`)
    return join(this.#folder, name)
  }

  async #change(path: string, body: () => Promise<void>): Promise<void> {
    if (this.#isInDoubt) throw new IdentityWriteError(path, false)
    try {
      await body()
    } catch (cause) {
      this.#isInDoubt = cause instanceof FolderSyncError
      throw new IdentityWriteError(path, this.#isInDoubt, { cause })
    }
  }
}

function digest(name: RecordName, content: Uint8Array): Buffer {
  return createHash('sha256').update(`${name}\0`).update(content).digest()
}

function sealRecord(name: RecordName, content: Uint8Array): Uint8Array {
  return Buffer.concat([MAGIC, digest(name, content), content])
}

function openRecord(path: string, name: RecordName, file: Buffer): Uint8Array {
  if (file.length < HEAD_BYTES || !file.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new IdentityDamagedError(path, 0, 'no header of a record')
  }
  const content = file.subarray(HEAD_BYTES)
  if (!digest(name, content).equals(file.subarray(MAGIC.length, HEAD_BYTES))) {
    throw new IdentityDamagedError(path, MAGIC.length, `the checksum is not that of a ${name}`)
  }
  return Uint8Array.from(content)
}

/** As few as fit the bound on a frame, in order. */
function groupsOf(envelopes: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const groups: Uint8Array[][] = []
  let room = 0
  for (const envelope of envelopes) {
    const bytes = 4 + envelope.length
    if (bytes > room || groups.length === 0) {
      groups.push([])
      room = FRAME_BYTES_MAX
    }
    groups.at(-1)?.push(envelope)
    room -= bytes
  }
  return groups
}

function sealGroup(group: readonly Uint8Array[]): Uint8Array {
  const parts = group.map((envelope) => {
    const part = Buffer.alloc(4 + envelope.length)
    part.writeUInt32BE(envelope.length)
    part.set(envelope, 4)
    return part
  })
  return Buffer.concat(parts)
}

function openGroup(path: string, payload: Uint8Array): Uint8Array[] {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length)
  const envelopes: Uint8Array[] = []
  for (let offset = 0; offset < bytes.length;) {
    // The checksum is right, so this is what was written, by whatever wrote it.
    const end = offset + 4 + (offset + 4 <= bytes.length ? bytes.readUInt32BE(offset) : Infinity)
    if (end > bytes.length) throw new IdentityDamagedError(path, 0, 'a record is no group of facts')
    envelopes.push(Uint8Array.from(bytes.subarray(offset + 4, end)))
    offset = end
  }
  return envelopes
}
