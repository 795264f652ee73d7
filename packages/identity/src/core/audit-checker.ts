/**
 * Reads an audit log and finds the first thing in it that this node did not write.
 *
 * What who can write to the folder, without the key, can do unseen: change or remove entries after
 * the last signature (at most 64, or those of 10 s, of a log that was not closed); put the whole
 * folder back to what it was at an earlier signature. A head kept elsewhere finds that.
 */
import { DocumentError } from '../errors.ts'
import { areEqual } from '../wire.ts'
import {
  NOTHING_BEFORE,
  OWN_PREFIX,
  SEGMENT_MAGIC,
  decodeAuditPayload,
  frameAt,
  recordOf,
} from './audit-codec.ts'
import type { AuditPayload } from './audit-codec.ts'
import type { AuditRecord } from './audit-entry.ts'
import { AUDIT_UNSIGNED_MAX } from './audit.ts'
import { signedBytes } from './envelope.ts'
import type { Crypto } from './model.ts'

export type AuditProblemKind =
  /** Bytes are not those that were written. */
  | 'changed'
  /** Entries are not there that were written before others that are. */
  | 'missing'
  /** Entries do not stand in the order of their numbers. */
  | 'order'
  /** A signature is not valid, or of another key than it has to be. */
  | 'signature'
  /** There is no signature where one has to be. */
  | 'unsigned'
  /** Entries are not there that were signed, at the end. */
  | 'truncated'
  /** The file ends within an entry: a crash leaves this, and the next start cuts it off. */
  | 'torn'
  /** The log of another key. */
  | 'foreign'
  /** The file of the head is missing, or not one. */
  | 'head'

export interface AuditProblem {
  readonly kind: AuditProblemKind
  /** Where it shows: the first entry of a segment, and a byte in it; absent: in no segment. */
  readonly at?: { readonly segment: number; readonly offset: number }
  readonly message: string
}

/** One signed entry, as a short proof of all before it. */
export interface AuditHead {
  readonly number: number
  /** SHA-256 of its payload. */
  readonly hash: Uint8Array
}

export interface AuditSummary {
  /** Numbers; entries before the first were dropped for the budget. */
  readonly first: number
  readonly last: number
  /** Entries after the last signature. */
  readonly unsigned: number
  /** False: the node still writes, or was killed. */
  readonly isClosed: boolean
  readonly head: AuditHead
}

export type AuditResult = { readonly summary: AuditSummary } | { readonly problem: AuditProblem }

export interface AuditCheckerInit {
  /** Payload of the file of the head; `undefined`: there is none. */
  readonly head: Uint8Array | undefined
  /** Whose log it has to be now. */
  readonly publicKey: Uint8Array
  /** A head that was kept elsewhere. Not looked at if its entry was dropped for the budget. */
  readonly expected?: AuditHead | undefined
}

interface Signed extends AuditHead {
  readonly key: Uint8Array
  readonly event: string
}

/** Feed it segments in order, then ask for the result. */
export class AuditChecker {
  readonly #crypto: Pick<Crypto, 'sha256' | 'verify'>
  readonly #init: AuditCheckerInit
  readonly #onRecord: (record: AuditRecord) => void
  readonly #head: AuditHead | undefined
  #problem: AuditProblem | undefined
  #first: number | undefined
  #last = 0
  #hash: Uint8Array = NOTHING_BEFORE
  #unsigned = 0
  #signed: Signed | undefined
  /** Whose signature the next one has to be. */
  #key: Uint8Array | undefined
  /** Entries below may be missing. */
  #cut = 1
  #isClosed = false
  #length = 0

  constructor(
    crypto: Pick<Crypto, 'sha256' | 'verify'>,
    init: AuditCheckerInit,
    onRecord: (record: AuditRecord) => void = () => {},
  ) {
    this.#crypto = crypto
    this.#init = init
    this.#onRecord = onRecord
    this.#head = this.#readHead()
  }

  get problem(): AuditProblem | undefined {
    return this.#problem
  }

  /** What a writer goes on from. `length`: bytes of the last segment that are whole entries. */
  get tail(): {
    readonly number: number
    readonly hash: Uint8Array
    readonly unsigned: number
    readonly key: Uint8Array | undefined
    readonly length: number
  } {
    return {
      number: this.#last,
      hash: this.#hash,
      unsigned: this.#unsigned,
      key: this.#key,
      length: this.#length,
    }
  }

  /**
   * @param segment - `first`: the number that the name of the file gives
   * @returns whether there is no problem so far
   */
  addSegment(segment: {
    readonly first: number
    readonly bytes: Uint8Array
    readonly isLast: boolean
  }): boolean {
    const { first, bytes, isLast } = segment
    if (this.#problem !== undefined) return false
    const at = (offset: number): AuditProblem['at'] => ({ segment: first, offset })
    const magic = bytes.subarray(0, SEGMENT_MAGIC.length)
    if (!areEqual(magic, SEGMENT_MAGIC)) return this.#fail('changed', 'no audit log', at(0))
    let offset = SEGMENT_MAGIC.length
    this.#length = offset
    if (offset === bytes.length) return this.#fail('changed', 'a file without entries', at(0))
    for (let isFirst = true; offset < bytes.length; isFirst = false) {
      const frame = frameAt(this.#crypto, bytes, offset)
      if (frame === 'short' && isLast) {
        const what = `${bytes.length - offset} bytes after the last entry`
        return this.#fail('torn', what, at(offset))
      }
      if (typeof frame === 'string') {
        return this.#fail('changed', 'these bytes are no entry that was written', at(offset))
      }
      if (!this.#add(frame, { at: at(offset), nameNumber: isFirst ? first : undefined })) {
        return false
      }
      offset = frame.end
      this.#length = offset
    }
    return true
  }

  result(): AuditResult {
    const problem = this.#problem ?? this.#finish()
    if (problem !== undefined) return { problem }
    const { number, hash } = this.#signed ?? { number: 0, hash: NOTHING_BEFORE }
    return {
      summary: {
        first: this.#first ?? 0,
        last: this.#last,
        unsigned: this.#unsigned,
        isClosed: this.#isClosed,
        head: { number, hash },
      },
    }
  }

  #readHead(): AuditHead | undefined {
    const { head } = this.#init
    if (head === undefined) return undefined
    try {
      const payload = decodeAuditPayload(head)
      const { key, number } = payload.body
      if (key !== undefined && this.#isSignedBy(payload, key)) {
        return { number, hash: this.#crypto.sha256(head) }
      }
      this.#fail('head', 'the signature in the file of the head is not valid')
    } catch (cause) {
      if (!(cause instanceof DocumentError)) throw cause
      this.#fail('head', `the file of the head: ${cause.message}`)
    }
    return undefined
  }

  #add(
    { payload, hash }: { readonly payload: Uint8Array; readonly hash: Uint8Array },
    where: { readonly at: AuditProblem['at']; readonly nameNumber: number | undefined },
  ): boolean {
    const { at, nameNumber } = where
    let entry: AuditPayload
    try {
      entry = decodeAuditPayload(payload)
    } catch (cause) {
      if (!(cause instanceof DocumentError)) throw cause
      return this.#fail('changed', cause.message, at)
    }
    const { number, previous, event } = entry.body
    const isStart = this.#first === undefined
    const expected = isStart ? (nameNumber ?? number) : this.#last + 1
    if (number < expected) {
      return this.#fail('order', `entry ${number} stands where ${expected} has to be`, at)
    }
    if (number > expected) return this.#fail('missing', `entry ${expected} is not there`, at)
    if (nameNumber !== undefined && nameNumber !== number) {
      return this.#fail('order', `entry ${number} begins the file of ${nameNumber}`, at)
    }
    const before = number === 1 ? NOTHING_BEFORE : isStart ? previous : this.#hash
    if (!areEqual(previous, before)) {
      return this.#fail('changed', `entry ${number} does not follow the one before it`, at)
    }
    for (const one of [this.#head, this.#init.expected]) {
      if (one?.number !== number || areEqual(one.hash, hash)) continue
      return this.#fail('changed', `entry ${number} is not the one that the head names`, at)
    }
    if (number === 1 && event !== 'audit:begun') {
      return this.#fail('foreign', 'it does not begin as an audit log does', at)
    }
    if (!this.#checkSignature(entry, hash, at)) return false
    this.#first ??= number
    this.#last = number
    this.#hash = hash
    this.#isClosed = event === 'audit:closed'
    this.#onRecord(recordOf(entry))
    return true
  }

  #checkSignature(entry: AuditPayload, hash: Uint8Array, at: AuditProblem['at']): boolean {
    const { number, event, key, nextKey, detail } = entry.body
    if (key === undefined) {
      this.#unsigned++
      const isOwn = event.startsWith(OWN_PREFIX) && event !== 'audit:lost'
      if (!isOwn && !this.#isClosed && this.#unsigned <= AUDIT_UNSIGNED_MAX) return true
      return this.#fail('unsigned', `entry ${number} (${event}) has no signature`, at)
    }
    if (this.#isClosed && event !== 'audit:opened' && event !== 'audit:key') {
      return this.#fail('unsigned', `entry ${number} was added after the log was closed`, at)
    }
    if (!areEqual(key, this.#key ?? key) || !this.#isSignedBy(entry, key)) {
      return this.#fail('signature', `entry ${number} (${event}): its signature is not valid`, at)
    }
    this.#unsigned = 0
    this.#key = nextKey ?? key
    this.#signed = { number, hash, key, event }
    if (event === 'audit:cut' && typeof detail?.['first'] === 'number') this.#cut = detail['first']
    return true
  }

  #finish(): AuditProblem | undefined {
    const first = this.#first
    const head = this.#head
    if (first === undefined) {
      const kind = head === undefined ? 'missing' : 'truncated'
      return { kind, message: 'there are no entries' }
    }
    if (this.#signed === undefined || this.#key === undefined) {
      return { kind: 'unsigned', message: 'no entry has a signature' }
    }
    if (!areEqual(this.#key, this.#init.publicKey)) {
      return { kind: 'foreign', message: 'it is signed by another key' }
    }
    if (first > this.#cut) {
      const message = `entries before ${first} are not there, only those before ${this.#cut} may be`
      return { kind: 'missing', message }
    }
    // A crash before the first head was written leaves one entry.
    if (head === undefined && this.#last > 1) {
      return { kind: 'head', message: 'the file of the head is not there' }
    }
    for (const one of [head, this.#init.expected]) {
      if (one === undefined || one.number <= this.#last) continue
      const message = `it ends with entry ${this.#last}, and entry ${one.number} was signed`
      return { kind: 'truncated', message }
    }
    if (head !== undefined && head.number < first) {
      return { kind: 'head', message: `the head names entry ${head.number}, long dropped` }
    }
    return undefined
  }

  #isSignedBy({ bodyBytes, signature }: AuditPayload, key: Uint8Array): boolean {
    if (signature === undefined) return false
    return this.#crypto.verify(key, signedBytes('audit', bodyBytes), signature)
  }

  #fail(kind: AuditProblemKind, message: string, at?: AuditProblem['at']): false {
    this.#problem ??= { kind, message, ...(at !== undefined && { at }) }
    return false
  }
}
