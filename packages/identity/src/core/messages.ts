/**
 * The messages of the handshake: canonical CBOR maps, each with its `kind`. A message with a field
 * too many, too few or of another type is none.
 */
import {
  ENVELOPE_BYTES_MAX,
  FOUNDATION_FACTS_MAX,
  ISOLATION_KEYS_MAX,
  KEY_BYTES,
  NONCE_BYTES,
  REASON_CHARS_MAX,
  SERIAL_BYTES,
  SESSION_ID_BYTES,
  SIGNATURE_BYTES,
  WELCOME_PART_BYTES,
  WELCOME_PARTS_MAX,
  WIRE_FRAME_BYTES_MAX,
} from '../constants.ts'
import { DocumentError } from '../errors.ts'
import { encodeCanonical } from '../wire.ts'
import type { CborMap } from '../wire.ts'
import { readDocument } from './fields.ts'
import type { Fields } from './fields.ts'
import type { RefusalReason } from './model.ts'

/** What the initiator wants of the connection: see {@link HandshakeMode}. */
export type HandshakeMode =
  /** To prove membership. */
  | 'member'
  /** To become a member by a token. */
  | 'join'
  /** To prove membership by a certificate that may have expired, and to get a new one. */
  | 'renew'

/** Message 1, of the initiator. */
export interface InitiatorHello {
  readonly kind: 'hello'
  readonly mode: HandshakeMode
  /** Compatibility versions that it speaks. */
  readonly min: number
  readonly max: number
  readonly nonce: Uint8Array
  /** In mode `join` only. */
  readonly token?: Uint8Array
}

/** Message 2, of the responder. */
export interface ResponderHello {
  readonly kind: 'welcome-hello'
  readonly min: number
  readonly max: number
  /** The highest that both speak. */
  readonly version: number
  readonly nonce: Uint8Array
}

/** Messages 3 and 4: knowledge of an isolation key, or of a token's secret. */
export interface Proof {
  readonly kind: 'proof'
  readonly macs: readonly Uint8Array[]
}

/** Before a claim, any number of times: facts that its certificate stands on. */
export interface Foundations {
  readonly kind: 'foundations'
  readonly facts: readonly Uint8Array[]
}

/** Messages 5 and 6: who one is in this network. */
export interface Claim {
  readonly kind: 'claim'
  readonly genesis: Uint8Array
  /** Rotations of the network key that the claimant knows. */
  readonly rotations: number
  /** Hash over their new keys: see `keyChainHash`. */
  readonly chain: Uint8Array
  /** Envelope; empty: none. */
  readonly certificate: Uint8Array
  readonly signature: Uint8Array
}

/** Message 7: everything was right. */
export interface Accept {
  readonly kind: 'accept'
  readonly session: Uint8Array
}

/** Instead of any other message, the last one. */
export interface Refused {
  readonly kind: 'refused'
  /** Only for who has proved the network, or about its version. */
  readonly reason?: string
}

/** A part of what a joined or renewed member gets. */
export interface WelcomePart {
  readonly kind: 'welcome'
  readonly index: number
  readonly count: number
  readonly data: Uint8Array
}

export type HandshakeMessage =
  InitiatorHello | ResponderHello | Proof | Foundations | Claim | Accept | Refused | WelcomePart

const MODES = ['member', 'join', 'renew'] as const satisfies readonly HandshakeMode[]
const KINDS = [
  'hello',
  'welcome-hello',
  'proof',
  'foundations',
  'claim',
  'accept',
  'refused',
  'welcome',
] as const
const U32_MAX = 0xffff_ffff

/** The bytes of one frame. */
export function encodeMessage(message: HandshakeMessage): Uint8Array {
  return encodeCanonical({ ...message } satisfies CborMap)
}

/** `undefined`: the bytes are no message. */
export function decodeMessage(frame: Uint8Array): HandshakeMessage | undefined {
  try {
    return readDocument('message', { bytes: frame, bytesMax: WIRE_FRAME_BYTES_MAX }, readMessage)
  } catch (error) {
    // Which of its faults it has is of no use to anybody: the peer is not told.
    if (error instanceof DocumentError) return undefined
    throw error
  }
}

function readMessage(fields: Fields): HandshakeMessage {
  const kind = fields.oneOf('kind', KINDS)
  switch (kind) {
    case 'hello':
      return readInitiatorHello(fields)
    case 'welcome-hello':
      return {
        kind,
        ...readVersions(fields),
        version: fields.integer('version', { max: U32_MAX }),
        nonce: fields.bytes('nonce', NONCE_BYTES),
      }
    case 'proof':
      return { kind, macs: readMacs(fields) }
    case 'foundations':
      return { kind, facts: readFacts(fields) }
    case 'claim':
      return {
        kind,
        genesis: fields.bytes('genesis', KEY_BYTES),
        rotations: fields.integer('rotations', { max: U32_MAX }),
        chain: fields.bytes('chain', KEY_BYTES),
        certificate: fields.bytes('certificate', { max: ENVELOPE_BYTES_MAX }),
        signature: fields.bytes('signature', SIGNATURE_BYTES),
      }
    case 'accept':
      return { kind, session: fields.bytes('session', SESSION_ID_BYTES) }
    case 'refused':
      if (!fields.has('reason')) return { kind }
      return { kind, reason: fields.text('reason', { max: REASON_CHARS_MAX }) }
    case 'welcome':
      return readWelcomePart(fields)
  }
}

function readInitiatorHello(fields: Fields): InitiatorHello {
  const mode = fields.oneOf('mode', MODES)
  return {
    kind: 'hello',
    mode,
    ...readVersions(fields),
    nonce: fields.bytes('nonce', NONCE_BYTES),
    ...(mode === 'join' && { token: fields.bytes('token', SERIAL_BYTES) }),
  }
}

function readVersions(fields: Fields): { min: number; max: number } {
  const max = fields.integer('max', { max: U32_MAX })
  return { min: fields.integer('min', { max }), max }
}

function readMacs(fields: Fields): readonly Uint8Array[] {
  return fields.list('macs', { min: 1, max: ISOLATION_KEYS_MAX }).map((mac) => {
    if (mac instanceof Uint8Array && mac.byteLength === KEY_BYTES) return mac
    throw new DocumentError('message: a proof is not of 32 bytes')
  })
}

function readFacts(fields: Fields): readonly Uint8Array[] {
  return fields.list('facts', { min: 1, max: FOUNDATION_FACTS_MAX }).map((fact) => {
    if (fact instanceof Uint8Array && fact.byteLength <= ENVELOPE_BYTES_MAX) return fact
    throw new DocumentError('message: a fact is no byte string')
  })
}

function readWelcomePart(fields: Fields): WelcomePart {
  const count = fields.integer('count', { min: 1, max: WELCOME_PARTS_MAX })
  return {
    kind: 'welcome',
    index: fields.integer('index', { max: count - 1 }),
    count,
    data: fields.bytes('data', { min: 1, max: WELCOME_PART_BYTES }),
  }
}

/** Each reason that may travel, so that a peer cannot put words of its own into our log. */
const REASONS: Readonly<Record<RefusalReason, true>> = {
  malformed: true,
  timeout: true,
  busy: true,
  incompatible: true,
  'wrong-network': true,
  'certificate-missing': true,
  'certificate-invalid': true,
  'certificate-of-another': true,
  'certificate-expired': true,
  'certificate-not-yet-valid': true,
  revoked: true,
  'no-possession': true,
  'stale-key-chain': true,
  distrusted: true,
  'token-unknown': true,
  'token-expired': true,
  'token-used': true,
  'token-proof': true,
  slowed: true,
}

/** The reason that a peer told, if it is one. */
export function refusalReasonOf(text: string | undefined): RefusalReason | undefined {
  return text !== undefined && Object.hasOwn(REASONS, text) ? (text as RefusalReason) : undefined
}
