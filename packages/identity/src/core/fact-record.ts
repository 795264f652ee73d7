/** Facts as a member keeps them: the envelope, and what stands in it once it has been checked. */
import { DocumentError } from '../errors.ts'
import { areEqual } from '../wire.ts'
import { hexOf, type SignedFact } from './authority-rules.ts'
import { decodeEnvelope, verifyEnvelope } from './envelope.ts'
import { decodeFact, isCoSigned } from './facts.ts'
import { decodeKeyRotation, type SignedRotation } from './key-chain.ts'
import type { Crypto, DocumentKind, Envelope, NetworkId } from './model.ts'

export interface FactRecord extends SignedFact {
  readonly envelope: Uint8Array
  /** Of a `key-rotated`. */
  readonly rotation?: SignedRotation
}

export interface FactContext {
  readonly crypto: Crypto
  readonly network: NetworkId
  /** Signatures were checked when the envelopes were stored. */
  readonly areVerified: boolean
}

/**
 * Reads and checks the envelope of a fact; whether its signers are authorities is not asked.
 *
 * @returns why it cannot count in this network, whatever else is known
 */
export function readFact(
  context: FactContext,
  id: string,
  envelope: Uint8Array,
): FactRecord | string {
  try {
    const opened = decodeEnvelope(envelope)
    const fact = decodeFact(opened.body)
    if (fact.network !== context.network) return 'of another network'
    const signers = signersOf(context, 'fact', opened)
    if (signers === undefined) return 'a signature is not valid'
    const hasIssuer = signers.some((signer) => areEqual(signer, fact.issuer))
    if (!hasIssuer) return 'not signed by its issuer'
    if (!isCoSigned(fact.statement) && signers.length > 1) return 'signed by others than its issuer'
    const rotation =
      fact.statement.kind === 'key-rotated'
        ? readRotation(context, fact.statement.rotation)
        : undefined
    if (typeof rotation === 'string') return rotation
    return {
      id,
      // A copy: the caller's bytes may be a view of a larger buffer, or be used again.
      envelope: Uint8Array.from(envelope),
      fact,
      issuer: hexOf(fact.issuer),
      signers: signers.map(hexOf),
      hash: hexOf(context.crypto.sha256(opened.body)),
      ...(rotation !== undefined && { rotation }),
    }
  } catch (error) {
    if (error instanceof DocumentError) return error.message
    throw error
  }
}

/**
 * Reads and checks the envelope of a rotation; whether it continues the chain is not asked.
 *
 * @returns why it cannot count in this network
 */
export function readRotation(context: FactContext, envelope: Uint8Array): SignedRotation | string {
  try {
    const opened = decodeEnvelope(envelope)
    const rotation = decodeKeyRotation(opened.body)
    if (rotation.network !== context.network) return 'a rotation of another network'
    const signers = signersOf(context, 'key-rotation', opened)
    if (signers === undefined) return 'a signature of the rotation is not valid'
    return { rotation, signers, hash: context.crypto.sha256(opened.body) }
  } catch (error) {
    if (error instanceof DocumentError) return error.message
    throw error
  }
}

function signersOf(
  { crypto, areVerified }: FactContext,
  kind: DocumentKind,
  envelope: Envelope,
): readonly Uint8Array[] | undefined {
  return areVerified
    ? envelope.signatures.map(({ publicKey }) => publicKey)
    : verifyEnvelope(crypto, kind, envelope)
}
