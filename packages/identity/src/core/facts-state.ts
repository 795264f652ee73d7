import {
  AUTHORITY_FACTS_MAX,
  CLOCK_SKEW_S,
  FACT_VARIANTS_MAX,
  FACTS_HELD_MAX,
  FACTS_MAX,
  FACTS_PER_ISSUER_MAX,
} from '../constants.ts'
import { DocumentError, SignatureError } from '../errors.ts'
import { areEqual, bytesOfText } from '../wire.ts'
import {
  conflictsOf,
  evaluateAuthorities,
  hexOf,
  isLasting,
  slotOf,
  type Authorities,
} from './authority-rules.ts'
import { decodeCertificate, validityOf } from './certificate.ts'
import { decodeEnvelope, verifyEnvelope } from './envelope.ts'
import { readFact, readRotation, type FactContext, type FactRecord } from './fact-record.ts'
import { missingFrom, vectorOf } from './fact-vector.ts'
import { FactView } from './fact-view.ts'
import { isCoSigned } from './facts.ts'
import { verifyGenesis, type VerifiedGenesis } from './genesis.ts'
import { chainOf, type SignedRotation } from './key-chain.ts'
import type {
  Certificate,
  Crypto,
  Genesis,
  KeyRotation,
  NetworkId,
  RefusalReason,
  UnixSeconds,
} from './model.ts'
import type {
  FactVerdict,
  NetworkState,
  NetworkStateDeps,
  NetworkStateInit,
} from './network-state.ts'

/**
 * The state of a network.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`: the genesis or a rotation is malformed
 * @throws {SignatureError} `ERR_IDENTITY_SIGNATURE`: the genesis or a rotation is not signed as it
 *   has to be
 */
export function createNetworkState(deps: NetworkStateDeps, init: NetworkStateInit): NetworkState {
  return new FactNetworkState(deps, init)
}

class FactNetworkState implements NetworkState {
  readonly #crypto: Crypto
  readonly #verified: VerifiedGenesis
  readonly #ownRotations: readonly SignedRotation[]
  /** By id, in the order in which they came to count. */
  readonly #counting = new Map<string, FactRecord>()
  /** By id, oldest first. */
  readonly #held = new Map<string, FactRecord>()
  /** All of both, by issuer and number. */
  readonly #slots = new Map<string, Set<FactRecord>>()
  readonly #countOfIssuer = new Map<string, number>()
  readonly #lastNumbers = new Map<string, number>()
  #coSignedCount = 0
  #authorities: Authorities<FactRecord>
  #view = new FactView()
  #rotations: readonly KeyRotation[] | undefined
  /** No fact expires earlier. */
  #nextExpiry = Infinity

  constructor({ crypto }: NetworkStateDeps, init: NetworkStateInit) {
    this.#crypto = crypto
    this.#verified = verifyGenesis(crypto, init.genesis)
    this.#ownRotations = (init.rotations ?? []).map((envelope) => {
      const rotation = readRotation(this.#context(false), envelope)
      if (typeof rotation !== 'string') return rotation
      throw new SignatureError(`key rotation: ${rotation}`)
    })
    this.#authorities = this.#evaluate()
    for (const envelope of init.facts ?? []) {
      const id = hexOf(crypto.sha256(envelope))
      if (this.#held.has(id)) continue
      const record = readFact(this.#context(init.areFactsVerified ?? false), id, envelope)
      if (typeof record !== 'string' && this.#obstacleTo(record) === undefined) this.#hold(record)
    }
    this.#settleAll()
    this.#forgetHeld()
  }

  get network(): NetworkId {
    return this.#verified.network
  }

  get genesis(): Genesis {
    return this.#verified.genesis
  }

  get genesisHash(): Uint8Array {
    return this.#verified.hash
  }

  get rotations(): readonly KeyRotation[] {
    this.#rotations ??= chainOf([...this.#ownRotations, ...this.#view.rotations], {
      networkKey: this.genesis.networkKey,
      authorityThreshold: this.genesis.quorum.authorityThreshold,
      isAuthority: (key, at) => this.#mayHaveSigned(key, at),
    })
    return this.#rotations
  }

  get authorities(): readonly Uint8Array[] {
    const { all, removed } = this.#authorities
    return [...all]
      .filter((key) => !removed.has(key))
      .toSorted()
      .map((key) => bytesOfText(key, 'hex', key.length) ?? new Uint8Array())
  }

  get isolationRotatedAt(): UnixSeconds {
    return this.#view.isolationRotatedAt
  }

  get factCount(): number {
    return this.#counting.size
  }

  get heldCount(): number {
    return this.#held.size
  }

  networkKeys(now: UnixSeconds): readonly Uint8Array[] {
    const last = this.rotations.at(-1)
    if (last === undefined) return [this.genesis.networkKey]
    return now <= last.overlapUntil ? [last.newKey, last.oldKey] : [last.newKey]
  }

  isolationHashes(now: UnixSeconds): readonly Uint8Array[] {
    return this.#view.isolationHashes(this.genesis.isolationHash, now)
  }

  isNodeRevoked(publicKey: Uint8Array): boolean {
    return this.#view.revokedNodes.has(hexOf(publicKey))
  }

  isCertificateRevoked(serial: Uint8Array): boolean {
    return this.#view.revokedSerials.has(hexOf(serial))
  }

  isTokenSpent(tokenId: Uint8Array): boolean {
    return this.#view.spentTokens.has(hexOf(tokenId))
  }

  checkCertificate(
    envelope: Uint8Array,
    subject: Uint8Array,
    now: UnixSeconds,
  ): { readonly certificate: Certificate } | { readonly refused: RefusalReason } {
    try {
      const opened = decodeEnvelope(envelope)
      const certificate = decodeCertificate(opened.body)
      // What costs nothing first; nothing of it counts before the signatures are checked.
      if (certificate.network !== this.network) return { refused: 'wrong-network' }
      if (!areEqual(certificate.subject, subject)) return { refused: 'certificate-of-another' }
      const signers = verifyEnvelope(this.#crypto, 'certificate', opened) ?? []
      const counted = signers.filter(
        (key) =>
          this.#mayHaveSigned(key, certificate.notBefore) &&
          !this.#view.compromisedNodes.has(hexOf(key)),
      )
      if (counted.length < this.genesis.quorum.authorityThreshold) {
        return { refused: 'certificate-invalid' }
      }
      const refused = this.#timesOf(certificate, now)
      return refused === undefined ? { certificate } : { refused }
    } catch (error) {
      if (error instanceof DocumentError) return { refused: 'certificate-invalid' }
      throw error
    }
  }

  #timesOf(certificate: Certificate, now: UnixSeconds): RefusalReason | undefined {
    const { serial, subject, epoch } = certificate
    if (this.isCertificateRevoked(serial) || this.isNodeRevoked(subject)) return 'revoked'
    // Its signers know of rotations that this member has not heard of.
    if (epoch > this.rotations.length) return 'stale-key-chain'
    const isOfOldKey = this.rotations
      .slice(epoch)
      .some(({ cause, overlapUntil }) => cause === 'emergency' && now > overlapUntil)
    if (isOfOldKey) return 'stale-key-chain'
    const validity = validityOf(certificate, now)
    return validity === 'valid' ? undefined : `certificate-${validity}`
  }

  add(envelope: Uint8Array, now: UnixSeconds): FactVerdict {
    this.#purge(now)
    const id = hexOf(this.#crypto.sha256(envelope))
    if (this.#counting.has(id)) return { verdict: 'known' }
    const held = this.#held.get(id)
    if (held !== undefined) return { verdict: 'held' }
    const record = readFact(this.#context(false), id, envelope)
    if (typeof record === 'string') return { verdict: 'refused', why: record }
    if (isExpired(record, now)) return { verdict: 'refused', why: 'it has expired' }
    const obstacle = this.#obstacleTo(record)
    if (obstacle === 'known') return { verdict: 'known' }
    if (obstacle !== undefined) return { verdict: 'refused', why: obstacle }
    this.#hold(record)
    const released = this.#settle(record)
    if (this.#counting.has(id)) {
      const others = released.filter((one) => one !== record)
      return { verdict: 'added', released: others.map((one) => one.envelope) }
    }
    this.#forgetHeld()
    return { verdict: 'held' }
  }

  lastNumberOf(publicKey: Uint8Array): number {
    return this.#lastNumbers.get(hexOf(publicKey)) ?? 0
  }

  facts(): readonly Uint8Array[] {
    return [...this.#counting.values()].map(({ envelope }) => envelope)
  }

  vector(): ReadonlyMap<string, number> {
    return vectorOf([...this.#counting.values()])
  }

  missing(vector: ReadonlyMap<string, number>, bytesMax: number): readonly Uint8Array[] {
    return missingFrom(vector, [...this.#counting.values()], bytesMax)
  }

  #context(areVerified: boolean): FactContext {
    return { crypto: this.#crypto, network: this.network, areVerified }
  }

  /** Whether somebody counts as a signer of what is dated so. */
  #mayHaveSigned(publicKey: Uint8Array, at: UnixSeconds): boolean {
    const key = hexOf(publicKey)
    const { all, removed } = this.#authorities
    return all.has(key) && at <= (removed.get(key)?.at ?? Infinity)
  }

  #obstacleTo(record: FactRecord): string | undefined {
    const slot = this.#slots.get(slotOf(record))
    if (!isCoSigned(record.fact.statement)) {
      // Signed again: a second signature of the same issuer says nothing new.
      for (const { hash } of slot ?? []) if (hash === record.hash) return 'known'
    } else if (this.#coSignedCount >= AUTHORITY_FACTS_MAX + FACTS_HELD_MAX) {
      return 'too many facts about authorities'
    }
    // Only those that count: anybody can add signatures of no worth to an envelope.
    const variants = [...(slot ?? [])].filter(({ id }) => this.#counting.has(id))
    if (variants.length >= FACT_VARIANTS_MAX) return 'too many under one number'
    if (this.#counting.size + this.#held.size >= FACTS_MAX + FACTS_HELD_MAX) return 'too many facts'
    const ofIssuer = this.#countOfIssuer.get(record.issuer) ?? 0
    return ofIssuer >= FACTS_PER_ISSUER_MAX ? 'too many facts of one issuer' : undefined
  }

  #hold(record: FactRecord): void {
    this.#held.set(record.id, record)
    const slot = this.#slots.get(slotOf(record))
    if (slot === undefined) this.#slots.set(slotOf(record), new Set([record]))
    else slot.add(record)
    const { issuer, fact } = record
    this.#countOfIssuer.set(issuer, (this.#countOfIssuer.get(issuer) ?? 0) + 1)
    if (isCoSigned(fact.statement)) this.#coSignedCount++
  }

  #drop(record: FactRecord): void {
    this.#held.delete(record.id)
    this.#counting.delete(record.id)
    const slot = this.#slots.get(slotOf(record))
    slot?.delete(record)
    if (slot?.size === 0) this.#slots.delete(slotOf(record))
    const { issuer, fact } = record
    const rest = (this.#countOfIssuer.get(issuer) ?? 0) - 1
    if (rest > 0) this.#countOfIssuer.set(issuer, rest)
    else this.#countOfIssuer.delete(issuer)
    if (isCoSigned(fact.statement)) this.#coSignedCount--
  }

  /** Finds out what a fact that was just held changes. Returns the facts that now count. */
  #settle(record: FactRecord): readonly FactRecord[] {
    const { candidates } = this.#authorities
    const slot = [...(this.#slots.get(slotOf(record)) ?? [])]
    const isDisputed = slot.some(({ hash }) => hash !== record.hash)
    // Nothing that is known makes its signers authorities, so it cannot change anything.
    const signers = isDisputed ? [record.issuer] : record.signers
    if (!signers.every((key) => candidates.has(key))) return []
    if (isCoSigned(record.fact.statement) || isDisputed) return this.#settleAll()
    if (!this.#counts(record)) return []
    this.#count(record)
    this.#view.take(record, false)
    if (record.rotation !== undefined) this.#rotations = undefined
    return [record]
  }

  /** Finds out anew what counts. Returns the facts that did not before. */
  #settleAll(): readonly FactRecord[] {
    this.#authorities = this.#evaluate()
    const released = [...this.#held.values()].filter((record) => this.#counts(record))
    for (const record of this.#counting.values()) {
      if (this.#counts(record)) continue
      this.#counting.delete(record.id)
      this.#held.set(record.id, record)
    }
    for (const record of released) this.#count(record)
    this.#rebuildView()
    return released
  }

  #count(record: FactRecord): void {
    const { id, issuer, fact } = record
    this.#held.delete(id)
    this.#counting.set(id, record)
    this.#lastNumbers.set(issuer, Math.max(this.#lastNumbers.get(issuer) ?? 0, fact.number))
    this.#nextExpiry = Math.min(this.#nextExpiry, fact.expiresAt ?? Infinity)
  }

  #counts(record: FactRecord): boolean {
    if (isCoSigned(record.fact.statement)) return this.#authorities.counting.has(record)
    const { all, removed } = this.#authorities
    const last = removed.get(record.issuer)?.lastNumber ?? Infinity
    return all.has(record.issuer) && record.fact.number <= last
  }

  #evaluate(): Authorities<FactRecord> {
    const relevant = [...this.#slots.values()].flatMap((slot) => {
      const records = [...slot]
      const isAboutAuthorities = records.some(({ fact }) => isCoSigned(fact.statement))
      return isAboutAuthorities ? records.filter(isLasting) : []
    })
    return evaluateAuthorities(relevant, {
      genesisNodes: this.genesis.genesisNodes.map(hexOf),
      threshold: this.genesis.quorum.authorityThreshold,
    })
  }

  #rebuildView(): void {
    const conflicts = conflictsOf(this.#counting.values())
    this.#view = new FactView()
    this.#rotations = undefined
    for (const record of this.#counting.values()) {
      this.#view.take(record, conflicts.has(slotOf(record)))
    }
  }

  #forgetHeld(): void {
    for (const record of this.#held.values()) {
      if (this.#held.size <= FACTS_HELD_MAX) return
      this.#drop(record)
    }
  }

  /** Forgets what has expired, but for each issuer's last: its number must not be given again. */
  #purge(now: UnixSeconds): void {
    if (now <= this.#nextExpiry + CLOCK_SKEW_S) return
    this.#nextExpiry = Infinity
    let count = 0
    for (const record of [...this.#counting.values(), ...this.#held.values()]) {
      const isLast = record.fact.number === this.#lastNumbers.get(record.issuer)
      if (isExpired(record, now) && !isLast) {
        this.#drop(record)
        count++
      } else if (!isExpired(record, now)) {
        this.#nextExpiry = Math.min(this.#nextExpiry, record.fact.expiresAt ?? Infinity)
      }
    }
    if (count > 0) this.#rebuildView()
  }
}

const isExpired = ({ fact }: FactRecord, now: UnixSeconds): boolean =>
  fact.expiresAt !== undefined && now > fact.expiresAt + CLOCK_SKEW_S
