import { FOUNDATION_FACTS_MAX, FOUNDATION_FRAME_BYTES, RENEWAL_GRACE_S } from '../constants.ts'
import { isAdmitted, scoreOf as scoreOfFactors } from './authentication.ts'
import { decodeCertificate } from './certificate.ts'
import { decodeEnvelope, signedBytes } from './envelope.ts'
import type { HandshakeDeps, HandshakeInit, OwnMembership, ProvenPeer } from './handshake.ts'
import type { Claim, Foundations, HandshakeMode } from './messages.ts'
import { nodeIdOf } from './ids.ts'
import type { Certificate, RefusalReason, UnixSeconds } from './model.ts'
import { claimBody, keyChainHash } from './transcript.ts'
import type { HandshakeRole } from './transcript.ts'

/** What goes before a claim: as few messages as hold all facts. */
export function makeFoundations(membership: OwnMembership): readonly Foundations[] {
  const messages: Uint8Array[][] = []
  let room = 0
  for (const fact of membership.foundations()) {
    room -= fact.byteLength + 4
    if (room < 0) {
      messages.push([])
      room = FOUNDATION_FRAME_BYTES - fact.byteLength - 4
    }
    messages.at(-1)?.push(fact)
  }
  return messages.map((facts) => ({ kind: 'foundations', facts }))
}

/**
 * Adds the facts of a peer that was away from us, or we from it.
 *
 * @param before - how many it brought so far
 * @returns those that count from now on; `undefined`: it brought too many
 */
export function takeFoundations(
  { facts }: Foundations,
  init: {
    readonly membership: OwnMembership
    readonly before: number
    readonly unix: UnixSeconds
  },
): readonly Uint8Array[] | undefined {
  if (init.before + facts.length > FOUNDATION_FACTS_MAX) return undefined
  return facts.flatMap((fact) => {
    const verdict = init.membership.state.add(fact, init.unix)
    return verdict.verdict === 'added' ? [fact, ...verdict.released] : []
  })
}

/** What this side says of itself, once the peer has proved the network. */
export function makeClaim(
  { crypto, signer }: HandshakeDeps,
  {
    membership,
    role,
    transcript,
  }: { membership: OwnMembership; role: HandshakeRole; transcript: Uint8Array },
): Claim {
  const { state, certificate } = membership
  const rotations = state.rotations.length
  const chain = keyChainHash(crypto, state.rotations, rotations)
  const body = claimBody(crypto, {
    role,
    transcript,
    network: state.network,
    genesisHash: state.genesisHash,
    rotations,
    chain,
    certificate,
  })
  return {
    kind: 'claim',
    genesis: state.genesisHash,
    rotations,
    chain,
    certificate,
    signature: signer.sign(signedBytes('handshake', body)),
  }
}

export interface ClaimCheck {
  readonly claim: Claim
  readonly membership: OwnMembership
  /** Of the claimant. */
  readonly role: HandshakeRole
  readonly transcript: Uint8Array
  readonly mode: HandshakeMode
  readonly unix: UnixSeconds
}

export type ClaimVerdict =
  | Pick<ProvenPeer, 'certificate' | 'envelope' | 'score' | 'isDegraded'>
  | { readonly refused: RefusalReason }

/** All must hold; the first that does not names the refusal. */
export function checkClaim(
  deps: HandshakeDeps,
  init: HandshakeInit,
  check: ClaimCheck,
): ClaimVerdict {
  const { crypto } = deps
  const { claim, membership, unix } = check
  const { state } = membership
  if (!crypto.equal(claim.genesis, state.genesisHash)) return { refused: 'wrong-network' }
  if (!isChainCommon(deps, check)) return { refused: 'stale-key-chain' }
  const verdict = checkCertificate(init, check)
  if ('refused' in verdict) return verdict
  const body = claimBody(crypto, {
    role: check.role,
    transcript: check.transcript,
    network: state.network,
    genesisHash: claim.genesis,
    rotations: claim.rotations,
    chain: claim.chain,
    certificate: claim.certificate,
  })
  if (!crypto.verify(init.peer, signedBytes('handshake', body), claim.signature)) {
    return { refused: 'no-possession' }
  }
  const scored = scoreOf(deps, membership, init.peer)
  if ('refused' in scored) return scored
  return {
    certificate: verdict.certificate,
    envelope: claim.certificate,
    score: scored.score,
    isDegraded: verdict.isExpired && unix > verdict.certificate.notAfter,
  }
}

/** Trust in a peer whose cryptographic and network proof stand. */
export function scoreOf(
  { trust }: HandshakeDeps,
  { state }: Pick<OwnMembership, 'state'>,
  peer: Uint8Array,
): { readonly score: number } | { readonly refused: 'distrusted' } {
  const node = nodeIdOf(peer)
  const factors = {
    crypto: true,
    network: true,
    history: trust.historyOf(node),
    consensus: trust.consensusOf(node),
  }
  return isAdmitted(factors, state.genesis.trust.admissionThreshold)
    ? { score: scoreOfFactors(factors) }
    : { refused: 'distrusted' }
}

/**
 * Chains of rotations must agree as far as both go. Who knows fewer is let in: it was away when
 * they happened, and learns of them by the facts that follow. Its certificate decides what it may.
 */
function isChainCommon({ crypto }: HandshakeDeps, { claim, membership }: ClaimCheck): boolean {
  const { rotations } = membership.state
  if (claim.rotations > rotations.length) return true
  return crypto.equal(claim.chain, keyChainHash(crypto, rotations, claim.rotations))
}

function checkCertificate(
  init: HandshakeInit,
  { claim, membership, mode, unix, role }: ClaimCheck,
):
  | { readonly certificate: Certificate; readonly isExpired: boolean }
  | { readonly refused: RefusalReason } {
  if (claim.certificate.byteLength === 0) return { refused: 'certificate-missing' }
  const { state } = membership
  const verdict = state.checkCertificate(claim.certificate, init.peer, unix)
  if ('certificate' in verdict) return { certificate: verdict.certificate, isExpired: false }
  if (verdict.refused !== 'certificate-expired') return verdict
  const isRenewal = mode === 'renew' && role === 'initiator'
  if (!isRenewal && init.expired !== 'degrade') return verdict
  // Everything else must hold as it did on its last second. A revocation of this one certificate is
  // kept for the time of grace, and no longer: an older one could have been forgotten.
  const { notAfter } = decodeCertificate(decodeEnvelope(claim.certificate).body)
  if (isRenewal && unix > notAfter + RENEWAL_GRACE_S) return verdict
  const before = state.checkCertificate(claim.certificate, init.peer, notAfter)
  return 'refused' in before ? before : { certificate: before.certificate, isExpired: true }
}
