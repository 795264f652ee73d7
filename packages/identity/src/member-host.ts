import type { Clock, Logger, NodeId, Random } from '@mycelium/interface'
import type { Admission } from './admission.ts'
import type { Authority } from './authority.ts'
import type { HandshakeHost, HandshakePeer, Refusal } from './connection-encrypter.ts'
import { NONCE_BYTES } from './constants.ts'
import type { AuditSink } from './core/audit-entry.ts'
import { validityOf } from './core/certificate.ts'
import { readCoSignRequest } from './core/co-sign.ts'
import { decodeEnvelope, signedBytes } from './core/envelope.ts'
import { decodeFact } from './core/facts.ts'
import type { Handshake, HandshakeInit, ProvenPeer } from './core/handshake.ts'
import { createInitiator } from './core/handshake-initiator.ts'
import { createResponder } from './core/handshake-responder.ts'
import { nodeIdOf } from './core/ids.ts'
import { nodeRotationBody } from './core/transcript.ts'
import type { Certificate, Crypto, RefusalReason, TrustSource } from './core/model.ts'
import type { ServiceMessage, ServiceRequest } from './core/service-messages.ts'
import { createTries } from './core/tries.ts'
import type { PeerAddresses, Welcome } from './core/welcome.ts'
import { NotMemberError, ThresholdError } from './errors.ts'
import { unixSecondsOf } from './handshake-run.ts'
import type { HandshakeAnswers } from './handshake-run.ts'
import type { Joining } from './joining.ts'
import type { MembershipEvents, MembershipInit, MemberSession } from './membership.ts'
import type { ServiceHost } from './membership-service.ts'
import type { MemberRecords, NetworkRecords } from './network-records.ts'
import type { Serial } from './serial.ts'
import type { Session, Sessions } from './sessions.ts'
import { areEqual } from './wire.ts'

export interface MemberHostDeps {
  readonly records: NetworkRecords
  readonly clock: Clock
  readonly random: Random
  readonly crypto: Crypto
  readonly trust: TrustSource
  readonly logger: Logger
  readonly audit: AuditSink | undefined
  readonly serial: Serial
  readonly authority: Authority
  readonly admission: Admission
  readonly sessions: Sessions
  readonly versions: { readonly min: number; readonly max: number }
  readonly approve: NonNullable<MembershipInit['approve']>
  emit<Type extends keyof MembershipEvents>(type: Type, detail: MembershipEvents[Type]): void
  /** Addresses of members that a new one could dial. */
  peers(): readonly PeerAddresses[]
  /** Facts count from now on: tell others but the one they came from, close what they end. */
  spread(envelopes: readonly Uint8Array[], from: NodeId | undefined): void
  sweep(): void
}

/** Reasons that a peer is refused for before it has proved the network. */
const STRANGERS: readonly RefusalReason[] = [
  'malformed',
  'timeout',
  'busy',
  'incompatible',
  'wrong-network',
  'token-unknown',
  'token-proof',
  'slowed',
]

/** Milliseconds for the answer to a node that leaves; its connection ends then. */
const LEAVE_MS = 2_000

/** What handshakes and members ask of a node. */
export class MemberHost implements HandshakeHost, ServiceHost {
  joining: Joining | undefined
  readonly #deps: MemberHostDeps
  readonly #tries = createTries()
  /** Nodes that said that they leave, and until when their connection may stand for the answer. */
  readonly #leaving = new Map<NodeId, number>()

  constructor(deps: MemberHostDeps) {
    this.#deps = deps
  }

  get node(): NodeId {
    return this.#deps.records.node
  }

  get publicKey(): Uint8Array {
    return this.#deps.records.signer.publicKey
  }

  get sessions(): Sessions {
    return this.#deps.sessions
  }

  initiator({ publicKey, startedAt }: HandshakePeer): Handshake {
    const { records } = this.#deps
    const init = this.#handshakeInit(publicKey, startedAt)
    const { member } = records
    if (member !== undefined) {
      const isExpired = this.#unix() > member.own.notAfter
      return createInitiator(this.#handshakeDeps(), {
        ...init,
        mode: isExpired ? 'renew' : 'member',
        membership: member,
      })
    }
    const { joining } = this
    const isIssuer = joining?.token.issuers.some(({ node }) => node === nodeIdOf(publicKey))
    if (joining === undefined || isIssuer !== true) throw new NotMemberError()
    return createInitiator(this.#handshakeDeps(), { ...init, mode: 'join', token: joining.token })
  }

  responder({ publicKey, address, startedAt }: HandshakePeer): Handshake {
    const { records } = this.#deps
    return createResponder(this.#handshakeDeps(), {
      ...this.#handshakeInit(publicKey, startedAt),
      address,
      tries: this.#tries,
      tokenOf: (tokenId) => records.tokenOf(tokenId),
    })
  }

  /** Once more on an open connection: an expired certificate does not end it. */
  handshake(peer: Uint8Array, { isInitiator }: { readonly isInitiator: boolean }): Handshake {
    const { records, clock } = this.#deps
    const { member } = records
    if (member === undefined) throw new NotMemberError()
    const init = { ...this.#handshakeInit(peer, clock.now()), expired: 'degrade' as const }
    return isInitiator
      ? createInitiator(this.#handshakeDeps(), { ...init, mode: 'member', membership: member })
      : createResponder(this.#handshakeDeps(), {
          ...init,
          address: 'connected',
          tries: this.#tries,
          tokenOf: () => undefined,
        })
  }

  answers(peer?: HandshakePeer): HandshakeAnswers {
    const { serial, admission } = this.#deps
    return {
      admit: (tokenId) =>
        serial.run(async () =>
          peer === undefined
            ? 'malformed'
            : admission.admit(tokenId, peer.publicKey, this.#deps.peers()),
        ),
      renew: (certificate) => this.#renew(certificate),
      store: (welcome) => this.#store(welcome),
      learned: (envelopes) => this.#learned(envelopes, undefined),
    }
  }

  proven(peer: ProvenPeer, address: string): void {
    const session = this.sessions.prove(peer, address)
    const { audit, emit } = this.#deps
    const { node } = session
    const { nodeType } = peer.certificate
    if (peer.mode === 'join' && this.joining === undefined) {
      audit?.append({ event: 'member:admitted', node, address, detail: { nodeType } })
      emit('member:admitted', { node, nodeType })
    }
    audit?.append({ event: 'member:proven', node, address, detail: { score: peer.score } })
    emit('member:proven', describeSession(session))
  }

  refused({ publicKey, address, reason, isInbound, isByPeer }: Refusal): void {
    const { audit, emit, logger } = this.#deps
    const node = publicKey === undefined ? {} : { node: nodeIdOf(publicKey) }
    if (isByPeer && this.joining !== undefined) this.joining.refused = reason
    const event = isByPeer ? 'member:refused-by-peer' : 'member:refused'
    const isStranger = isInbound && STRANGERS.includes(reason)
    audit?.append({ event, ...node, address, reason, ...(isStranger && { isStranger }) })
    logger.log('info', event, { ...node, address, reason })
    emit('member:refused', { reason, isByPeer, address, ...node })
  }

  verdictOf({ node, peer }: Session, isThorough = false): 'member' | 'degraded' | 'refused' {
    const { member } = this.#deps.records
    if (member === undefined) return 'refused'
    const { state } = member
    const { serial } = peer.certificate
    if (this.#deps.clock.now() < (this.#leaving.get(node) ?? 0)) return 'member'
    this.#leaving.delete(node)
    if (state.isNodeRevoked(peer.publicKey) || state.isCertificateRevoked(serial)) return 'refused'
    if (isThorough) {
      const verdict = state.checkCertificate(peer.envelope, peer.publicKey, this.#unix())
      if ('refused' in verdict && verdict.refused !== 'certificate-expired') return 'refused'
    }
    return validityOf(peer.certificate, this.#unix()) === 'expired' ? 'degraded' : 'member'
  }

  vector(): ReadonlyMap<string, number> {
    return this.#member().state.vector()
  }

  missing(vector: ReadonlyMap<string, number>, bytesMax: number): readonly Uint8Array[] {
    return this.#member().state.missing(vector, bytesMax)
  }

  async takeFacts(envelopes: readonly Uint8Array[], from: NodeId): Promise<void> {
    const { records, logger } = this.#deps
    const { state } = this.#member()
    const counting: Uint8Array[] = []
    for (const envelope of envelopes) {
      const verdict = state.add(envelope, this.#unix())
      if (verdict.verdict === 'added') counting.push(envelope, ...verdict.released)
      if (verdict.verdict === 'refused') {
        logger.log('warn', 'fact:refused', { from, why: verdict.why })
      }
    }
    if (counting.length === 0) return
    // At once: a revocation does not wait for the disk. Lost by a crash, it comes again.
    this.counted(counting, from)
    await records.appendFacts(counting)
  }

  #learned(envelopes: readonly Uint8Array[], from: NodeId | undefined): void {
    const { records, logger } = this.#deps
    this.counted(envelopes, from)
    records.appendFacts(envelopes).catch((error: unknown) => {
      logger.log('error', 'facts:not-stored', { why: String(error) })
    })
  }

  /** Facts that count from now on, of this node or of others. */
  counted(envelopes: readonly Uint8Array[], from?: NodeId): void {
    this.#deps.records.noteFoundations(envelopes)
    const { emit, audit, spread } = this.#deps
    for (const envelope of envelopes) {
      const { statement } = decodeFact(decodeEnvelope(envelope).body)
      emit('fact', { envelope, kind: statement.kind })
      audit?.append({ event: `fact:${statement.kind}`, ...(from !== undefined && { node: from }) })
      if (statement.kind === 'node-revoked') {
        emit('member:revoked', { node: nodeIdOf(statement.node), reason: statement.reason })
      } else if (statement.kind === 'certificate-revoked') {
        const holder = this.sessions
          .all()
          .find(({ peer }) => areEqual(peer.certificate.serial, statement.serial))
        const node = holder === undefined ? {} : { node: holder.node }
        emit('member:revoked', { ...node, reason: statement.reason })
      }
    }
    spread(envelopes, from)
  }

  async answer(request: ServiceRequest, from: Session): Promise<ServiceMessage> {
    switch (request.kind) {
      case 'renew': {
        const answer = await this.#renew(from.peer.certificate)
        return typeof answer === 'string'
          ? { kind: 'denied', reason: answer }
          : { kind: 'certificate', envelope: answer.certificate }
      }
      case 'co-sign':
        return this.#coSign(request, from)
      case 'ask-isolation-key':
        return this.#isolationKey(request.hash, from)
      case 'rotate-node':
        return this.#replace(request, from)
      case 'leave':
        return this.#letGo(from)
      case 'sync':
      case 'facts':
        return { kind: 'denied', reason: 'malformed' }
    }
  }

  sweep(): void {
    this.#deps.sweep()
  }

  /** A new certificate in place of one that is known to be the peer's. */
  #renew({ serial, subject, ...rest }: Certificate): Promise<Welcome | RefusalReason> {
    const { authority, audit, serial: queue } = this.#deps
    return queue.run(async () => {
      const { state } = this.#member()
      if (state.isNodeRevoked(subject) || state.isCertificateRevoked(serial)) return 'revoked'
      if (!authority.isAuthority) return 'certificate-expired'
      const { nodeType, roles, capabilities } = rest
      try {
        const certificate = await authority.certify({ subject, nodeType, roles, capabilities })
        audit?.append({ event: 'certificate:issued', node: nodeIdOf(subject) })
        return { certificate }
      } catch (error) {
        if (error instanceof ThresholdError) return 'certificate-expired'
        throw error
      }
    })
  }

  async #store({
    certificate,
    checked,
    network,
  }: Welcome & { checked: Certificate }): Promise<void> {
    const { records, emit, audit } = this.#deps
    if (network === undefined) {
      await records.setCertificate(certificate)
      emit('certificate:renewed', { certificate: checked })
      return
    }
    const { genesis, isolationKeys, facts, peers } = network
    await records.begin({ genesis, certificate, isolationKeys, facts, peers })
    const { nodeType } = checked
    audit?.append({ event: 'member:joined', node: this.node, detail: { nodeType } })
    emit('member:admitted', { node: this.node, nodeType })
  }

  async #coSign(
    { document, body }: Extract<ServiceRequest, { kind: 'co-sign' }>,
    { node, peer }: Session,
  ): Promise<ServiceMessage> {
    const { records, authority, approve, audit } = this.#deps
    if (!authority.isAuthority) return { kind: 'denied', reason: 'not-authority' }
    const { state } = this.#member()
    const check = { state, requester: peer.publicKey, now: this.#unix() }
    const read = readCoSignRequest(document, body, check)
    const reason = typeof read === 'string' ? read : (await approve(read, node)) ? '' : 'not-wanted'
    const denied = reason === '' ? {} : { reason }
    audit?.append({ event: 'co-sign', node, ...denied, detail: { document } })
    if (reason !== '') return { kind: 'denied', reason }
    return { kind: 'signature', signature: records.signer.sign(signedBytes(document, body)) }
  }

  #isolationKey(hash: Uint8Array, from: Session): ServiceMessage {
    const { state } = this.#member()
    const counts = state.isolationHashes(this.#unix()).some((one) => areEqual(one, hash))
    const key = this.#deps.records.isolationKeyOf(hash)
    if (!counts || key === undefined || this.verdictOf(from, true) === 'refused') {
      return { kind: 'denied', reason: 'unknown' }
    }
    return { kind: 'isolation-key', key }
  }

  async #replace(
    { key, signature }: Extract<ServiceRequest, { kind: 'rotate-node' }>,
    { node, peer }: Session,
  ): Promise<ServiceMessage> {
    const { serial, authority, crypto, audit } = this.#deps
    if (!authority.isAuthority) return { kind: 'denied', reason: 'not-authority' }
    const { network } = this.#member().state
    const body = nodeRotationBody({ network, oldKey: peer.publicKey, newKey: key })
    if (!crypto.verify(key, signedBytes('handshake', body), signature)) {
      return { kind: 'denied', reason: 'no-possession' }
    }
    return serial.run(async () => {
      if (this.#member().state.isNodeRevoked(key)) return { kind: 'denied', reason: 'revoked' }
      const envelope = await authority.replaceNode(peer.certificate, key)
      audit?.append({ event: 'node:rotated', node, detail: { to: nodeIdOf(key) } })
      return { kind: 'certificate', envelope }
    })
  }

  async #letGo({ node, peer }: Session): Promise<ServiceMessage> {
    const { serial, authority, clock } = this.#deps
    if (!authority.isAuthority) return { kind: 'denied', reason: 'not-authority' }
    this.#leaving.set(node, clock.now() + LEAVE_MS)
    await serial.run(async () => {
      const { state } = this.#member()
      const { publicKey, certificate } = peer
      if (state.authorities.some((key) => areEqual(key, publicKey))) {
        await authority.removeAuthority(publicKey, state.lastNumberOf(publicKey))
      }
      await authority.revokeCertificate(certificate.serial, 'left')
    })
    return { kind: 'end' }
  }

  #handshakeDeps(): Pick<MemberHostDeps, 'crypto' | 'trust'> & {
    readonly signer: NetworkRecords['signer']
  } {
    const { crypto, trust, records } = this.#deps
    return { crypto, trust, signer: records.signer }
  }

  #handshakeInit(peer: Uint8Array, startedAt: number): HandshakeInit {
    const { random, records, versions } = this.#deps
    const { member } = records
    // A network can ask for more than the program's least, never for more than its most.
    const floor = member?.state.genesis.compatibility ?? versions.min
    const min = Math.min(Math.max(versions.min, floor), versions.max)
    return {
      peer,
      nonce: random.bytes(NONCE_BYTES),
      versions: { min, max: versions.max },
      membership: member,
      startedAt,
    }
  }

  #member(): MemberRecords {
    const { member } = this.#deps.records
    if (member === undefined) throw new NotMemberError()
    return member
  }

  #unix(): number {
    return unixSecondsOf(this.#deps.clock)
  }
}

/** What others may know of a session. */
export function describeSession({ node, peer }: Session): MemberSession {
  const { nodeType, roles } = peer.certificate
  return { node, nodeType, roles, score: peer.score, isDegraded: peer.isDegraded }
}
