import type { Crypto, Envelope } from './core/model.ts'
import { nodeIdOf } from './core/ids.ts'
import { signedBytes } from './core/envelope.ts'
import { compareBytes } from './core/fields.ts'
import type { NetworkState } from './core/network-state.ts'
import type { CoSignedDocument } from './core/service-messages.ts'
import { ThresholdError } from './errors.ts'
import type { Libp2pMembershipService } from './membership-service.ts'
import { areEqual } from './wire.ts'

export interface CoSigningDeps {
  readonly crypto: Crypto
  readonly state: NetworkState
  readonly service: Libp2pMembershipService | undefined
}

/**
 * Adds signatures of connected authorities until there are `needed` of authorities.
 *
 * @throws {ThresholdError} `ERR_IDENTITY_THRESHOLD`
 */
export async function gatherSignatures(
  { crypto, state, service }: CoSigningDeps,
  document: CoSignedDocument,
  { body, signatures }: Envelope,
  needed: number,
): Promise<Envelope> {
  const authorities = state.authorities
  const isAuthority = (key: Uint8Array): boolean => authorities.some((one) => areEqual(one, key))
  let count = signatures.filter(({ publicKey }) => isAuthority(publicKey)).length
  const all = [...signatures]
  const asked = authorities
    .filter((key) => !all.some(({ publicKey }) => areEqual(publicKey, key)))
    .map(nodeIdOf)
  for await (const one of service?.signatures(document, body, asked) ?? []) {
    // A wrong one would make the whole envelope worthless.
    if (!crypto.verify(one.publicKey, signedBytes(document, body), one.signature)) continue
    all.push(one)
    count++
    if (count >= needed) break
  }
  if (count < needed) throw new ThresholdError(count, needed)
  const sorted = all.toSorted((a, b) => compareBytes(a.publicKey, b.publicKey))
  return { body, signatures: sorted }
}
