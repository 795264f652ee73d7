/** What a log on disk ends with: read, checked, and cut where a crash tore it. */
import { stat } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { AUDIT_HEAD_BYTES_MAX, AUDIT_HEAD_NAME, listSegments, segmentPath } from './audit-files.ts'
import { AuditChecker } from './core/audit-checker.ts'
import { FRAME_EXTRA_BYTES, decodeAuditPayload, frameAt } from './core/audit-codec.ts'
import type { AuditInput, AuditSegment } from './core/audit.ts'
import type { Crypto, Signer } from './core/model.ts'
import { openPrivateFile, readPrivateFile } from './disk/atomic-file.ts'
import { AuditDamagedError } from './disk-errors.ts'
import { DocumentError } from './errors.ts'
import { areEqual } from './wire.ts'

export interface OpenSegment {
  readonly first: number
  readonly handle: FileHandle
  length: number
}

export interface AuditFound {
  readonly input: Extract<AuditInput, { kind: 'resume' }>
  readonly file: OpenSegment
}

/** Looks at the last segment; all of them are for `verifyAudit`. Cuts off a torn tail. */
export async function findTail(
  folder: string,
  crypto: Crypto,
  { signer, formerSigner }: { readonly signer: Signer; readonly formerSigner?: Signer },
): Promise<AuditFound | undefined> {
  const headPath = join(folder, AUDIT_HEAD_NAME)
  const headFile = await readPrivateFile(headPath, AUDIT_HEAD_BYTES_MAX)
  const head = headFile && Uint8Array.from(headFile)
  const firsts = await listSegments(folder)
  const first = firsts.at(-1)
  if (first === undefined) {
    if (head === undefined) return undefined
    throw new AuditDamagedError(headPath, 0, 'there are no entries, but a head')
  }
  const path = segmentPath(folder, first)
  const handle = await openPrivateFile(path, { isWritten: true })
  if (handle === undefined) throw new AuditDamagedError(path, 0, 'it is gone')
  try {
    const bytes = Uint8Array.from(await handle.readFile())
    const checker = new AuditChecker(crypto, { head, publicKey: signer.publicKey })
    checker.addSegment({ first, bytes, isLast: true })
    const { tail } = checker
    checkTail(checker, { path, crypto, bytes, first })
    const last = checkHead(head, tail.number, headPath)
    const key = tail.key ?? last?.key
    const own = [signer, formerSigner].find((one) =>
      areEqual(one?.publicKey ?? NO_KEY, key ?? NO_KEY),
    )
    if (own === undefined) throw new AuditDamagedError(path, 0, 'it is signed by another key')
    const tornBytes = bytes.length - tail.length
    if (tornBytes > 0) {
      await handle.truncate(tail.length)
      await handle.datasync()
    }
    const segments = await measure(folder, firsts, tail.length)
    const former = own === signer ? {} : { former: own }
    return {
      input: { kind: 'resume', tail: { ...tail, segments }, tornBytes, ...former },
      file: { first, handle, length: tail.length },
    }
  } catch (error) {
    await handle.close()
    throw error
  }
}

const NO_KEY = new Uint8Array(0)

/** @throws {AuditDamagedError} more than a torn tail is wrong */
function checkTail(
  { problem, tail }: AuditChecker,
  {
    path,
    crypto,
    bytes,
    first,
  }: {
    readonly path: string
    readonly crypto: Crypto
    readonly bytes: Uint8Array
    readonly first: number
  },
): void {
  if (problem === undefined) return
  const offset = problem.at?.offset ?? 0
  const isTail = (problem.kind === 'torn' || problem.kind === 'changed') && tail.number >= first
  if (!isTail) throw new AuditDamagedError(path, offset, problem.message)
  // Entries after it were durable: then this was too, and no crash has torn it.
  for (let next = offset; next + FRAME_EXTRA_BYTES < bytes.length; next++) {
    if (typeof frameAt(crypto, bytes, next) === 'string') continue
    throw new AuditDamagedError(path, offset, problem.message)
  }
}

/** @throws {AuditDamagedError} what the head names is not in the log */
function checkHead(
  head: Uint8Array | undefined,
  last: number,
  path: string,
): { readonly key: Uint8Array | undefined } | undefined {
  if (head === undefined) {
    // Its first entry is durable before the first head is.
    if (last === 1) return undefined
    throw new AuditDamagedError(path, 0, 'it is not there')
  }
  try {
    const { number, key, nextKey } = decodeAuditPayload(head).body
    if (number <= last) return { key: nextKey ?? key }
    const what = `the log ends with entry ${last}, and entry ${number} was signed`
    throw new AuditDamagedError(path, 0, what)
  } catch (cause) {
    if (!(cause instanceof DocumentError)) throw cause
    throw new AuditDamagedError(path, 0, cause.message, { cause })
  }
}

async function measure(
  folder: string,
  firsts: readonly number[],
  lastBytes: number,
): Promise<readonly AuditSegment[]> {
  return await Promise.all(
    firsts.map(async (first, index) => ({
      first,
      bytes:
        index === firsts.length - 1 ? lastBytes : (await stat(segmentPath(folder, first))).size,
    })),
  )
}
