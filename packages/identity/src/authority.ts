import type { Clock, Random } from '@mycelium/interface'
import {
  CERTIFICATE_LIFETIME_S,
  KEY_BYTES,
  RENEWAL_GRACE_S,
  ROTATION_OVERLAP_S,
  SERIAL_BYTES,
} from './constants.ts'
import { encodeCertificate } from './core/certificate.ts'
import { encodeEnvelope, signEnvelope } from './core/envelope.ts'
import { encodeFact, isCoSigned } from './core/facts.ts'
import { encodeKeyRotation } from './core/key-chain.ts'
import type {
  Certificate,
  Crypto,
  Envelope,
  KeyRotation,
  RevocationReason,
  Signer,
  Statement,
  UnixSeconds,
} from './core/model.ts'
import type { CoSignedDocument } from './core/service-messages.ts'
import { createSigner } from './crypto.ts'
import { NotAuthorityError, NotMemberError } from './errors.ts'
import { unixSecondsOf } from './handshake-run.ts'
import type { MemberRecords, NetworkRecords } from './network-records.ts'
import { areEqual } from './wire.ts'

/** Adds signatures of other authorities until there are `needed`. @throws {ThresholdError} */
export type CoSigner = (
  document: CoSignedDocument,
  envelope: Envelope,
  needed: number,
) => Promise<Envelope>

export interface AuthorityDeps {
  readonly records: NetworkRecords
  readonly clock: Clock
  readonly random: Random
  readonly crypto: Crypto
  readonly coSign: CoSigner
  /** Facts that were made here, durable and in the state: for all members. */
  made(envelopes: readonly Uint8Array[]): void
}

export type CertificateWish = Pick<Certificate, 'subject' | 'nodeType' | 'roles' | 'capabilities'>

/** What an authority makes and signs. One call at a time: facts are numbered. */
export class Authority {
  readonly #deps: AuthorityDeps

  constructor(deps: AuthorityDeps) {
    this.#deps = deps
  }

  /** Whether this node may issue at present. */
  get isAuthority(): boolean {
    const { records } = this.#deps
    const own = records.signer.publicKey
    return records.member?.state.authorities.some((key) => areEqual(key, own)) ?? false
  }

  /** @returns the envelope of a certificate for 7 days from now */
  async certify(wish: CertificateWish): Promise<Uint8Array> {
    const { state } = this.#member()
    const notBefore = this.#now()
    const body = encodeCertificate({
      ...wish,
      network: state.network,
      notBefore,
      notAfter: notBefore + CERTIFICATE_LIFETIME_S,
      serial: this.#deps.random.bytes(SERIAL_BYTES),
      epoch: state.rotations.length,
    })
    return this.#sign('certificate', body)
  }

  /** States a fact: durable first, then in the state, then for all. */
  async state(statement: Statement, init: { expiresAt?: UnixSeconds } = {}): Promise<void> {
    const { records } = this.#deps
    const { state } = this.#member()
    const issuer = records.signer.publicKey
    const body = encodeFact({
      network: state.network,
      issuer,
      number: state.lastNumberOf(issuer) + 1,
      at: this.#timeOf(statement),
      statement,
      ...init,
    })
    const isShared = isCoSigned(statement)
    const envelope = isShared ? await this.#sign('fact', body) : this.#signAlone('fact', body)
    await records.appendFacts([envelope])
    const verdict = state.add(envelope, this.#now())
    if (verdict.verdict !== 'added') {
      const why = verdict.verdict === 'refused' ? `: ${verdict.why}` : ''
      throw new Error(`a fact of this authority does not count (${verdict.verdict}${why})`)
    }
    if (verdict.released.length > 0) await records.appendFacts(verdict.released)
    this.#deps.made([envelope, ...verdict.released])
  }

  /** Ends a certificate; its holder may get another one. */
  revokeCertificate(serial: Uint8Array, reason: RevocationReason): Promise<void> {
    // For as long as anybody could renew by it.
    const expiresAt = this.#now() + CERTIFICATE_LIFETIME_S + RENEWAL_GRACE_S
    return this.state({ kind: 'certificate-revoked', serial, reason }, { expiresAt })
  }

  /** Ends a node for ever. For `compromised` nobody but members gets the next isolation key. */
  async revokeNode(node: Uint8Array, reason: RevocationReason): Promise<void> {
    const { state } = this.#member()
    await this.state({ kind: 'node-revoked', node, reason })
    if (reason === 'compromised') await this.rotateIsolationKey()
    if (state.authorities.some((key) => areEqual(key, node))) {
      await this.removeAuthority(node, state.lastNumberOf(node))
    }
  }

  /**
   * A member under a new key: a certificate like its present one, and its place as an authority.
   * The old certificate counts until it expires: that is the overlap.
   */
  async replaceNode(old: Certificate, newKey: Uint8Array): Promise<Uint8Array> {
    const { state } = this.#member()
    const { subject, nodeType, roles, capabilities } = old
    const certificate = await this.certify({ subject: newKey, nodeType, roles, capabilities })
    if (!state.authorities.some((key) => areEqual(key, subject))) return certificate
    await this.state({ kind: 'authority-added', node: newKey })
    const isSelf = areEqual(subject, this.#deps.records.signer.publicKey)
    // What an authority says of its own end has to count itself.
    await this.removeAuthority(subject, state.lastNumberOf(subject) + (isSelf ? 1 : 0))
    return certificate
  }

  removeAuthority(node: Uint8Array, lastNumber: number): Promise<void> {
    return this.state({ kind: 'authority-removed', node, lastNumber })
  }

  /** The key itself goes to members that ask for it by its hash. */
  async rotateIsolationKey(): Promise<void> {
    const { records, random, crypto } = this.#deps
    this.#member()
    const key = random.bytes(KEY_BYTES)
    // Before anybody hears of it: a fact whose key nobody has would lock all out.
    await records.addIsolationKey(key)
    await this.state({
      kind: 'isolation-rotated',
      isolationHash: crypto.sha256(key),
      overlapUntil: this.#now() + ROTATION_OVERLAP_S,
    })
  }

  /** `scheduled` needs the old key on this node, `emergency` a threshold of authorities. */
  async rotateNetworkKey(cause: KeyRotation['cause']): Promise<void> {
    const { records, random } = this.#deps
    const { state } = this.#member()
    const now = this.#now()
    const [oldKey] = state.networkKeys(now)
    if (oldKey === undefined) throw new Error('a network without a key')
    const newSeed = random.bytes(KEY_BYTES)
    const next = createSigner(newSeed)
    const body = encodeKeyRotation({
      network: state.network,
      number: state.rotations.length + 1,
      oldKey,
      newKey: next.publicKey,
      at: now,
      overlapUntil: now + ROTATION_OVERLAP_S,
      cause,
    })
    const rotation =
      cause === 'scheduled'
        ? encodeEnvelope(
            signEnvelope({
              kind: 'key-rotation',
              body,
              signers: [await this.#networkSigner(oldKey), next],
            }),
          )
        : await this.#sign('key-rotation', body, [next])
    await records.writeKey('network-key', newSeed)
    await this.state({ kind: 'key-rotated', rotation })
  }

  async #networkSigner(publicKey: Uint8Array): Promise<Signer> {
    const seed = await this.#deps.records.readKey('network-key')
    const signer = seed === undefined ? undefined : createSigner(seed)
    // Whoever lost it rotates by the authorities instead.
    if (signer === undefined || !areEqual(signer.publicKey, publicKey)) {
      throw new NotAuthorityError()
    }
    return signer
  }

  async #sign(
    document: CoSignedDocument,
    body: Uint8Array,
    others: readonly Signer[] = [],
  ): Promise<Uint8Array> {
    const { records, coSign } = this.#deps
    const needed = this.#member().state.genesis.quorum.authorityThreshold
    const signers = [records.signer, ...others]
    const envelope = signEnvelope({ kind: document, body, signers })
    const complete = needed === 1 ? envelope : await coSign(document, envelope, needed)
    return encodeEnvelope(complete)
  }

  #signAlone(kind: 'fact', body: Uint8Array): Uint8Array {
    return encodeEnvelope(signEnvelope({ kind, body, signers: [this.#deps.records.signer] }))
  }

  /** The next rotation must be dated after the last, also if that was a moment ago. */
  #timeOf(statement: Statement): UnixSeconds {
    const now = this.#now()
    if (statement.kind !== 'isolation-rotated') return now
    return Math.max(now, this.#member().state.isolationRotatedAt + 1)
  }

  #member(): MemberRecords {
    const { member } = this.#deps.records
    if (member === undefined) throw new NotMemberError()
    if (!this.isAuthority) throw new NotAuthorityError()
    return member
  }

  #now(): UnixSeconds {
    return unixSecondsOf(this.#deps.clock)
  }
}
