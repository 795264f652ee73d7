/**
 * Bytes of the audit log. A segment is "MYCELAU1" and frames; a frame is u32 length of the payload
 * (big-endian), payload, SHA-256 of the payload. A payload is canonical CBOR: `[body]` or
 * `[body, signature]`; the body is a map. Each body holds the SHA-256 of the payload before it.
 */
import type { NodeId } from '@mycelium/interface'
import { KEY_BYTES, SIGNATURE_BYTES } from '../constants.ts'
import { DocumentError } from '../errors.ts'
import { areEqual, decodeCanonical, encodeCanonical } from '../wire.ts'
import type { CborValue } from '../wire.ts'
import type { AuditEntry, AuditRecord } from './audit-entry.ts'
import { readDocument } from './fields.ts'
import type { Fields } from './fields.ts'
import type { Crypto } from './model.ts'

export const SEGMENT_MAGIC: Uint8Array = new TextEncoder().encode('MYCELAU1')
/** The longest entry that {@link checkEntry} lets through takes three quarters of it. */
export const AUDIT_PAYLOAD_BYTES_MAX = 16_384
export const FRAME_EXTRA_BYTES: number = 4 + 32
/** Events of the log about itself begin so. */
export const OWN_PREFIX = 'audit:'
/** SHA-256 has no such value: nothing was before the first entry. */
export const NOTHING_BEFORE: Uint8Array = new Uint8Array(32)

export const AUDIT_TEXT_CHARS_MAX = 256
const AUDIT_NODE_CHARS_MAX = 128
export const AUDIT_DETAILS_MAX = 16
const NAME_CHARS_MAX = 64
const EVENT = /^[a-z0-9:-]{1,64}$/
const DETAIL_NAME = /^[A-Za-z0-9_.-]{1,64}$/

/** What an entry says of itself, before it is signed. */
export interface AuditBody {
  readonly number: number
  readonly at: number
  readonly previous: Uint8Array
  readonly event: string
  readonly node?: string
  readonly address?: string
  readonly reason?: string
  readonly detail?: Readonly<Record<string, string | number>>
  readonly count?: number
  /** Whose signature it is. */
  readonly key?: Uint8Array
  /** Whose signatures follow: in `audit:key`. */
  readonly nextKey?: Uint8Array
}

export interface AuditPayload {
  readonly body: AuditBody
  /** What is signed. */
  readonly bodyBytes: Uint8Array
  readonly signature?: Uint8Array
}

/**
 * An entry within all bounds: texts are cut and made well-formed, for they may come from strangers.
 *
 * @throws {RangeError} the event or the detail is not as {@link AuditEntry} says
 */
export function checkEntry(entry: AuditEntry): AuditEntry {
  const { event, node, address, reason, detail, isStranger } = entry
  if (!EVENT.test(event) || event.startsWith(OWN_PREFIX)) {
    throw new RangeError(`entry.event: not the name of an event (got ${JSON.stringify(event)})`)
  }
  return {
    event,
    ...(node !== undefined && { node: cutText(node, AUDIT_NODE_CHARS_MAX) as NodeId }),
    ...(address !== undefined && { address: cutText(address, AUDIT_TEXT_CHARS_MAX) }),
    ...(reason !== undefined && { reason: cutText(reason, AUDIT_TEXT_CHARS_MAX) }),
    ...(detail !== undefined && { detail: checkDetail(detail) }),
    ...(isStranger === true && { isStranger }),
  }
}

function checkDetail(
  detail: Readonly<Record<string, string | number>>,
): Readonly<Record<string, string | number>> {
  const pairs = Object.entries(detail)
  if (pairs.length > AUDIT_DETAILS_MAX) {
    throw new RangeError(`entry.detail: at most ${AUDIT_DETAILS_MAX} pairs (got ${pairs.length})`)
  }
  const checked = pairs.map(([name, value]) => {
    if (!DETAIL_NAME.test(name)) throw new RangeError(`entry.detail: a name is ${name}`)
    if (typeof value === 'string') return [name, cutText(value, AUDIT_TEXT_CHARS_MAX)] as const
    if (Number.isSafeInteger(value)) return [name, value === 0 ? 0 : value] as const
    throw new RangeError(`entry.detail.${name}: neither text nor a safe integer (got ${value})`)
  })
  return Object.fromEntries(checked)
}

function cutText(text: string, charsMax: number): string {
  // Half a pair and a leading byte order mark have no place in canonical text.
  const cut = text.length <= charsMax ? text : `${text.slice(0, charsMax - 1)}…`
  return cut.toWellFormed().replace(/^\ufeff+/, '')
}

export function encodeAuditBody(body: AuditBody): Uint8Array {
  return encodeCanonical({ ...body } as unknown as CborValue)
}

export function encodeAuditPayload(bodyBytes: Uint8Array, signature?: Uint8Array): Uint8Array {
  return encodeCanonical(signature === undefined ? [bodyBytes] : [bodyBytes, signature])
}

/** @throws {DocumentError} */
export function decodeAuditPayload(payload: Uint8Array): AuditPayload {
  const parts = decodeCanonical(payload, { bytesMax: AUDIT_PAYLOAD_BYTES_MAX })
  if (!Array.isArray(parts) || parts.length < 1 || parts.length > 2) {
    throw new DocumentError('audit entry: not a body and a signature')
  }
  const [bodyBytes, signature] = parts as readonly CborValue[]
  if (!(bodyBytes instanceof Uint8Array)) throw new DocumentError('audit entry: no body')
  const isSigned = signature instanceof Uint8Array && signature.length === SIGNATURE_BYTES
  if (signature !== undefined && !isSigned) throw new DocumentError('audit entry: no signature')
  const source = { bytes: bodyBytes, bytesMax: AUDIT_PAYLOAD_BYTES_MAX }
  const body = readDocument('audit entry', source, readBody)
  if (isSigned !== (body.key !== undefined)) throw new DocumentError('audit entry: no signer')
  return { body, bodyBytes, ...(isSigned && { signature }) }
}

function readBody(fields: Fields): AuditBody {
  const text = (key: 'node' | 'address' | 'reason', max: number): object =>
    fields.has(key) ? { [key]: fields.text(key, { max }) } : {}
  const key = (name: 'key' | 'nextKey'): object =>
    fields.has(name) ? { [name]: fields.bytes(name, KEY_BYTES) } : {}
  return {
    number: fields.integer('number', { min: 1, max: Number.MAX_SAFE_INTEGER }),
    at: fields.integer('at', { max: Number.MAX_SAFE_INTEGER }),
    previous: fields.bytes('previous', 32),
    event: fields.text('event', { min: 1, max: NAME_CHARS_MAX }),
    ...text('node', AUDIT_NODE_CHARS_MAX),
    ...text('address', AUDIT_TEXT_CHARS_MAX),
    ...text('reason', AUDIT_TEXT_CHARS_MAX),
    ...(fields.has('detail') && { detail: readDetail(fields.value('detail')) }),
    ...(fields.has('count') && {
      count: fields.integer('count', { min: 1, max: Number.MAX_SAFE_INTEGER }),
    }),
    ...key('key'),
    ...key('nextKey'),
  }
}

function readDetail(value: CborValue): Readonly<Record<string, string | number>> {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value)
  if (!isMap || value instanceof Uint8Array) throw new DocumentError('audit entry: detail')
  const isRight = Object.values(value).every((one) => ['string', 'number'].includes(typeof one))
  if (!isRight) throw new DocumentError('audit entry: detail')
  return value as Readonly<Record<string, string | number>>
}

/** What readers of the log get. */
export function recordOf({ body, signature }: AuditPayload): AuditRecord {
  const { previous: _, key: __, nextKey: ___, node, ...record } = body
  return {
    ...record,
    ...(node !== undefined && { node: node as NodeId }),
    isSigned: signature !== undefined,
  }
}

export function sealFrame(payload: Uint8Array, hash: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_EXTRA_BYTES + payload.length)
  new DataView(frame.buffer).setUint32(0, payload.length)
  frame.set(payload, 4)
  frame.set(hash, 4 + payload.length)
  return frame
}

export type FrameResult =
  | { readonly payload: Uint8Array; readonly hash: Uint8Array; readonly end: number }
  /** The bytes end before the frame does. */
  | 'short'
  | 'changed'

/** Reads the frame that begins at `offset`. The payload is a view. */
export function frameAt(
  crypto: Pick<Crypto, 'sha256'>,
  bytes: Uint8Array,
  offset: number,
): FrameResult {
  if (offset + 4 > bytes.length) return 'short'
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset)
  if (length === 0 || length > AUDIT_PAYLOAD_BYTES_MAX) return 'changed'
  const end = offset + FRAME_EXTRA_BYTES + length
  if (end > bytes.length) return 'short'
  const payload = bytes.subarray(offset + 4, offset + 4 + length)
  const hash = crypto.sha256(payload)
  return areEqual(hash, bytes.subarray(end - 32, end)) ? { payload, hash, end } : 'changed'
}
