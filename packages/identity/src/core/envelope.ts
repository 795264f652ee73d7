/** Documents in envelopes: made, read, and checked for who signed them. */
import { ENVELOPE_BYTES_MAX, KEY_BYTES, SIGNATURE_BYTES, SIGNATURES_MAX } from '../constants.ts'
import { DocumentError } from '../errors.ts'
import { encodeCanonical, type CborValue } from '../wire.ts'
import { compareBytes, readDocument } from './fields.ts'
import type { Crypto, DocumentKind, Envelope, Signer } from './model.ts'

/** What is signed: `mycelium/<kind>/1`, a zero byte, the body. */
export function signedBytes(kind: DocumentKind, body: Uint8Array): Uint8Array {
  const prefix = new TextEncoder().encode(`mycelium/${kind}/1\0`)
  const bytes = new Uint8Array(prefix.byteLength + body.byteLength)
  bytes.set(prefix)
  bytes.set(body, prefix.byteLength)
  return bytes
}

export interface SignEnvelopeInit {
  readonly kind: DocumentKind
  readonly body: Uint8Array
  /** No key twice. */
  readonly signers: readonly Signer[]
}

/**
 * Puts a body into an envelope with one signature of each signer.
 *
 * @throws {RangeError} `signers` are none, more than 32, or one twice
 */
export function signEnvelope({ kind, body, signers }: SignEnvelopeInit): Envelope {
  const message = signedBytes(kind, body)
  const signatures = signers.map((signer) => ({
    publicKey: signer.publicKey,
    signature: signer.sign(message),
  }))
  return sortedEnvelope(body, signatures)
}

/**
 * The envelope with the signatures of further signers: co-signing. A signer who has signed before
 * changes nothing.
 *
 * @throws {RangeError} there would be more than 32 signatures
 */
export function addSignatures(
  kind: DocumentKind,
  { body, signatures }: Envelope,
  signers: readonly Signer[],
): Envelope {
  const further = signers.filter(
    ({ publicKey }) => !signatures.some((one) => compareBytes(one.publicKey, publicKey) === 0),
  )
  if (further.length === 0) return { body, signatures }
  const added = signEnvelope({ kind, body, signers: further })
  return sortedEnvelope(body, [...signatures, ...added.signatures])
}

function sortedEnvelope(body: Uint8Array, signatures: Envelope['signatures']): Envelope {
  if (signatures.length < 1 || signatures.length > SIGNATURES_MAX) {
    throw new RangeError(`signers: must be 1 to ${SIGNATURES_MAX} (got ${signatures.length})`)
  }
  const sorted = signatures.toSorted((one, other) => compareBytes(one.publicKey, other.publicKey))
  sorted.forEach(({ publicKey }, index) => {
    const before = sorted[index - 1]
    if (before !== undefined && compareBytes(before.publicKey, publicKey) === 0) {
      throw new RangeError('signers: one of them is there twice')
    }
  })
  return { body, signatures: sorted }
}

/** CBOR `{body: bytes, signatures: [[key, signature], ...]}`. */
export function encodeEnvelope({ body, signatures }: Envelope): Uint8Array {
  return encodeCanonical({
    body,
    signatures: signatures.map(({ publicKey, signature }) => [publicKey, signature]),
  })
}

/**
 * Reads an envelope. Its signatures are not checked, nor what is in its body.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`
 */
export function decodeEnvelope(bytes: Uint8Array, bytesMax: number = ENVELOPE_BYTES_MAX): Envelope {
  return readDocument('envelope', { bytes, bytesMax }, (fields) => {
    const body = fields.bytes('body', { min: 1, max: bytesMax })
    const signatures = fields.list('signatures', { min: 1, max: SIGNATURES_MAX }).map(readSignature)
    signatures.forEach(({ publicKey }, index) => {
      const before = signatures[index - 1]
      if (before !== undefined && compareBytes(before.publicKey, publicKey) >= 0) {
        throw new DocumentError('envelope: its keys are not in ascending order')
      }
    })
    return { body, signatures }
  })
}

function readSignature(pair: CborValue): Envelope['signatures'][number] {
  if (Array.isArray(pair) && pair.length === 2) {
    const [publicKey, signature] = pair as readonly CborValue[]
    if (
      publicKey instanceof Uint8Array &&
      publicKey.byteLength === KEY_BYTES &&
      signature instanceof Uint8Array &&
      signature.byteLength === SIGNATURE_BYTES
    ) {
      return { publicKey, signature }
    }
  }
  throw new DocumentError('envelope: a signature is not a key and a signature')
}

/**
 * Who signed a document, in ascending order of keys; `undefined` if even one signature is not
 * valid: an envelope is right as a whole or nothing.
 */
export function verifyEnvelope(
  crypto: Pick<Crypto, 'verify'>,
  kind: DocumentKind,
  { body, signatures }: Envelope,
): readonly Uint8Array[] | undefined {
  const message = signedBytes(kind, body)
  const isValid =
    signatures.length > 0 &&
    signatures.every(({ publicKey, signature }) => crypto.verify(publicKey, message, signature))
  return isValid ? signatures.map(({ publicKey }) => publicKey) : undefined
}
