/** Reading an audit log, also while its node writes it, and also a copy of its folder. */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { AbortOptions } from '@mycelium/interface'
import {
  AUDIT_HEAD_BYTES_MAX,
  AUDIT_HEAD_NAME,
  AUDIT_SEGMENT_BYTES_MAX,
  listSegments,
  segmentName,
  segmentPath,
} from './audit-files.ts'
import { AuditChecker } from './core/audit-checker.ts'
import type { AuditHead, AuditProblemKind, AuditSummary } from './core/audit-checker.ts'
import { SEGMENT_MAGIC, decodeAuditPayload, frameAt, recordOf } from './core/audit-codec.ts'
import type { AuditRecord } from './core/audit-entry.ts'
import { createCrypto } from './crypto.ts'
import { AuditDamagedError } from './disk-errors.ts'
import { bytesOfText, textOf } from './wire.ts'

/** The oldest segment may go while we read, and the last entry be half written. */
const ATTEMPTS_MAX = 3

export interface VerifyAuditInit {
  /** Of the node whose log it has to be. */
  readonly publicKey: Uint8Array
  /**
   * A head that was kept elsewhere, from an earlier verdict. Without one, a whole folder that was
   * put back to an earlier state passes.
   */
  readonly expected?: AuditHead
}

export type AuditVerdict =
  | ({ readonly ok: true } & AuditSummary)
  | {
      readonly ok: false
      readonly kind: AuditProblemKind
      /** One line. */
      readonly message: string
      /** Where it shows first; absent: in no file that is there. */
      readonly file?: string
      /** In bytes. */
      readonly offset?: number
    }

/**
 * Proves that nothing was cut out of the log or changed: what can be proved, see the README.
 *
 * @throws what the file system says: the folder is not there, or not readable
 */
export async function verifyAudit(
  folder: string,
  init: VerifyAuditInit,
  { signal }: AbortOptions = {},
): Promise<AuditVerdict> {
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted()
    const isLastAttempt = attempt === ATTEMPTS_MAX
    try {
      const verdict = await verifyOnce(folder, init, signal)
      if (verdict.ok || verdict.kind !== 'torn' || isLastAttempt) return verdict
    } catch (error) {
      if (isLastAttempt || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
}

async function verifyOnce(
  folder: string,
  { publicKey, expected }: VerifyAuditInit,
  signal: AbortSignal | undefined,
): Promise<AuditVerdict> {
  // The head first: then the segments have at least what it names.
  const head = await readHead(folder)
  const checker = new AuditChecker(createCrypto(), { head, publicKey, expected })
  const firsts = await listSegments(folder)
  for (const [index, first] of firsts.entries()) {
    signal?.throwIfAborted()
    const bytes = await readBounded(segmentPath(folder, first), AUDIT_SEGMENT_BYTES_MAX)
    if (!checker.addSegment({ first, bytes, isLast: index === firsts.length - 1 })) break
  }
  const result = checker.result()
  if ('summary' in result) return { ok: true, ...result.summary }
  const { kind, message, at } = result.problem
  if (at !== undefined) {
    return { ok: false, kind, message, file: segmentName(at.segment), offset: at.offset }
  }
  return { ok: false, kind, message, ...(kind === 'head' && { file: AUDIT_HEAD_NAME }) }
}

/**
 * All entries, oldest first. Nothing is verified but checksums.
 *
 * @throws {AuditDamagedError} bytes that are no entry, where one would have to be
 */
export async function* readAudit(
  folder: string,
  { signal }: AbortOptions = {},
): AsyncGenerator<AuditRecord, void, void> {
  const crypto = createCrypto()
  const firsts = await listSegments(folder)
  for (const [index, first] of firsts.entries()) {
    const path = segmentPath(folder, first)
    const bytes = await readBounded(path, AUDIT_SEGMENT_BYTES_MAX)
    for (let offset = SEGMENT_MAGIC.length; offset < bytes.length;) {
      signal?.throwIfAborted()
      const frame = frameAt(crypto, bytes, offset)
      // Being written, or left by a crash.
      if (frame === 'short' && index === firsts.length - 1) return
      if (typeof frame === 'string') throw new AuditDamagedError(path, offset, 'no entry')
      yield recordOf(decodeAuditPayload(frame.payload))
      offset = frame.end
    }
  }
}

/** As `42:9f86d0...`: to be kept elsewhere, on paper if need be. */
export function formatAuditHead({ number, hash }: AuditHead): string {
  return `${number}:${textOf(hash, 'hex')}`
}

/** @returns `undefined`: {@link formatAuditHead} does not write this */
export function parseAuditHead(text: string): AuditHead | undefined {
  const [number, hash] = text.length > 100 ? [] : text.split(':')
  const bytes = bytesOfText(hash ?? '', 'hex', 64)
  const head = bytes?.length === 32 ? { number: Number(number), hash: bytes } : undefined
  return head !== undefined && formatAuditHead(head) === text ? head : undefined
}

async function readHead(folder: string): Promise<Uint8Array | undefined> {
  try {
    return await readBounded(join(folder, AUDIT_HEAD_NAME), AUDIT_HEAD_BYTES_MAX)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** At most so many bytes; a file that has more is not one of ours, and fails its check. */
async function readBounded(path: string, bytesMax: number): Promise<Uint8Array> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const bytes = new Uint8Array(Math.min(size, bytesMax))
    let done = 0
    while (done < bytes.length) {
      const { bytesRead } = await file.read(bytes, done, bytes.length - done, done)
      if (bytesRead === 0) break
      done += bytesRead
    }
    return bytes.subarray(0, done)
  } finally {
    await file.close()
  }
}
