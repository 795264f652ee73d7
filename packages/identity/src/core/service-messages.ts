/** What members say to each other on an open connection: one frame each, canonical CBOR maps. */
import {
  ENVELOPE_BYTES_MAX,
  KEY_BYTES,
  LABEL_CHARS_MAX,
  REASON_CHARS_MAX,
  SIGNATURE_BYTES,
  VECTOR_ENTRIES_PER_FRAME,
  WIRE_FRAME_BYTES_MAX,
} from '../constants.ts'
import { DocumentError } from '../errors.ts'
import { encodeCanonical } from '../wire.ts'
import type { CborMap, CborValue } from '../wire.ts'
import { readDocument } from './fields.ts'
import type { Fields } from './fields.ts'

/** Documents that authorities sign for each other. */
export type CoSignedDocument = 'certificate' | 'fact' | 'key-rotation'

/** The first message of an exchange. */
export type ServiceRequest =
  /** Followed by `vector`s; answered by `fact`s, `vector`s; then `fact`s. `end` ends each list. */
  | { readonly kind: 'sync' }
  /** Followed by `fact`s and `end`; answered by `end`. */
  | { readonly kind: 'facts' }
  /** Answered by `certificate` or `denied`. */
  | { readonly kind: 'renew' }
  /** Answered by `signature` or `denied`. */
  | { readonly kind: 'co-sign'; readonly document: CoSignedDocument; readonly body: Uint8Array }
  /** The isolation key of this hash. Answered by `isolation-key` or `denied`. */
  | { readonly kind: 'ask-isolation-key'; readonly hash: Uint8Array }
  /**
   * The sender wants its membership under a new key, which signs `nodeRotationBody`. Answered by
   * `certificate` or `denied`.
   */
  | { readonly kind: 'rotate-node'; readonly key: Uint8Array; readonly signature: Uint8Array }
  /** The sender leaves the network. Answered by `end` or `denied`. */
  | { readonly kind: 'leave' }

export type ServiceMessage =
  | ServiceRequest
  | { readonly kind: 'vector'; readonly entries: readonly (readonly [string, number])[] }
  | { readonly kind: 'fact'; readonly envelope: Uint8Array }
  | { readonly kind: 'certificate'; readonly envelope: Uint8Array }
  | { readonly kind: 'signature'; readonly signature: Uint8Array }
  | { readonly kind: 'isolation-key'; readonly key: Uint8Array }
  | { readonly kind: 'denied'; readonly reason: string }
  | { readonly kind: 'end' }

const KINDS = [
  'sync',
  'facts',
  'renew',
  'co-sign',
  'ask-isolation-key',
  'rotate-node',
  'leave',
  'vector',
  'fact',
  'certificate',
  'signature',
  'isolation-key',
  'denied',
  'end',
] as const satisfies readonly ServiceMessage['kind'][]

/** The bytes of one frame. */
export function encodeServiceMessage(message: ServiceMessage): Uint8Array {
  return encodeCanonical({ ...message } satisfies CborMap)
}

/** @throws {DocumentError} `ERR_IDENTITY_DOCUMENT` */
export function decodeServiceMessage(frame: Uint8Array): ServiceMessage {
  const bounds = { bytes: frame, bytesMax: WIRE_FRAME_BYTES_MAX }
  return readDocument('membership message', bounds, readMessage)
}

function readMessage(fields: Fields): ServiceMessage {
  const kind = fields.oneOf('kind', KINDS)
  switch (kind) {
    case 'sync':
    case 'facts':
    case 'renew':
    case 'leave':
    case 'end':
      return { kind }
    case 'co-sign':
      return {
        kind,
        document: fields.oneOf('document', ['certificate', 'fact', 'key-rotation']),
        body: fields.bytes('body', { min: 1, max: ENVELOPE_BYTES_MAX }),
      }
    case 'ask-isolation-key':
      return { kind, hash: fields.bytes('hash', KEY_BYTES) }
    case 'rotate-node':
      return {
        kind,
        key: fields.bytes('key', KEY_BYTES),
        signature: fields.bytes('signature', SIGNATURE_BYTES),
      }
    case 'vector':
      return { kind, entries: readEntries(fields) }
    case 'fact':
    case 'certificate':
      return { kind, envelope: fields.bytes('envelope', { min: 1, max: ENVELOPE_BYTES_MAX }) }
    case 'signature':
      return { kind, signature: fields.bytes('signature', SIGNATURE_BYTES) }
    case 'isolation-key':
      return { kind, key: fields.bytes('key', KEY_BYTES) }
    case 'denied':
      return { kind, reason: fields.text('reason', { max: REASON_CHARS_MAX }) }
  }
}

function readEntries(fields: Fields): readonly (readonly [string, number])[] {
  return fields.list('entries', { max: VECTOR_ENTRIES_PER_FRAME }).map(readEntry)
}

function readEntry(entry: CborValue): readonly [string, number] {
  if (Array.isArray(entry) && entry.length === 2) {
    const [issuer, number] = entry as readonly CborValue[]
    const isRight =
      typeof issuer === 'string' &&
      issuer.length <= 2 * LABEL_CHARS_MAX &&
      typeof number === 'number' &&
      number >= 0
    if (isRight) return [issuer, number]
  }
  throw new DocumentError('membership message: an entry of a vector is none')
}
