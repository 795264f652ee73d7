/** What an authority signs because another one asks for it: a threshold of signatures is needed. */
import { CERTIFICATE_LIFETIME_S, CLOCK_SKEW_S } from '../constants.ts'
import { DocumentError } from '../errors.ts'
import { areEqual } from '../wire.ts'
import { decodeCertificate } from './certificate.ts'
import { decodeFact, isCoSigned } from './facts.ts'
import { decodeKeyRotation } from './key-chain.ts'
import type { Certificate, Fact, KeyRotation, UnixSeconds } from './model.ts'
import type { NetworkState } from './network-state.ts'
import type { CoSignedDocument } from './service-messages.ts'

export type CoSignRequest =
  | { readonly document: 'certificate'; readonly certificate: Certificate }
  | { readonly document: 'fact'; readonly fact: Fact }
  | { readonly document: 'key-rotation'; readonly rotation: KeyRotation }

export interface CoSignCheck {
  readonly state: NetworkState
  /** Of the authority that asks. */
  readonly requester: Uint8Array
  readonly now: UnixSeconds
}

/**
 * Reads what should be signed, and makes sure that it is within the rules that all authorities
 * keep.
 * Whether it is wanted is another question.
 *
 * @returns why it must not be signed
 */
export function readCoSignRequest(
  document: CoSignedDocument,
  body: Uint8Array,
  check: CoSignCheck,
): CoSignRequest | string {
  const { state, requester } = check
  if (!state.authorities.some((key) => areEqual(key, requester))) return 'not-authority'
  if (state.isNodeRevoked(requester)) return 'revoked'
  try {
    switch (document) {
      case 'certificate':
        return readCertificate(body, check)
      case 'fact':
        return readCoSignedFact(body, check)
      case 'key-rotation':
        return readRotation(body, check)
    }
  } catch (error) {
    if (error instanceof DocumentError) return 'malformed'
    throw error
  }
}

function readCertificate(body: Uint8Array, { state, now }: CoSignCheck): CoSignRequest | string {
  const certificate = decodeCertificate(body)
  const { network, subject, epoch, notBefore, notAfter } = certificate
  if (network !== state.network) return 'wrong-network'
  if (state.isNodeRevoked(subject)) return 'revoked'
  if (epoch !== state.rotations.length) return 'stale-key-chain'
  const isOfNow = Math.abs(notBefore - now) <= CLOCK_SKEW_S
  const isShort = notAfter - notBefore <= CERTIFICATE_LIFETIME_S
  return isOfNow && isShort ? { document: 'certificate', certificate } : 'times'
}

function readCoSignedFact(body: Uint8Array, check: CoSignCheck): CoSignRequest | string {
  const { state, requester, now } = check
  const fact = decodeFact(body)
  if (fact.network !== state.network) return 'wrong-network'
  if (!isCoSigned(fact.statement)) return 'not-co-signed'
  if (!areEqual(fact.issuer, requester)) return 'issuer-of-another'
  if (fact.number <= state.lastNumberOf(requester)) return 'number'
  return Math.abs(fact.at - now) <= CLOCK_SKEW_S ? { document: 'fact', fact } : 'times'
}

function readRotation(body: Uint8Array, { state, now }: CoSignCheck): CoSignRequest | string {
  const rotation = decodeKeyRotation(body)
  const [present] = state.networkKeys(now)
  if (rotation.network !== state.network) return 'wrong-network'
  if (rotation.cause !== 'emergency') return 'not-co-signed'
  const isNext =
    rotation.number === state.rotations.length + 1 &&
    present !== undefined &&
    areEqual(rotation.oldKey, present)
  if (!isNext) return 'stale-key-chain'
  return Math.abs(rotation.at - now) <= CLOCK_SKEW_S
    ? { document: 'key-rotation', rotation }
    : 'times'
}
