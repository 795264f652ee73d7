import type { ConnectionEncrypter } from '@libp2p/interface'
import type { Clock, Logger, NodeId, Random } from '@mycelium/interface'
import { TypedEventEmitter } from 'main-event'
import { Admission } from './admission.ts'
import { Authority } from './authority.ts'
import { gatherSignatures } from './co-signing.ts'
import { createConnectionEncrypter } from './connection-encrypter.ts'
import type { EncrypterComponents } from './connection-encrypter.ts'
import { COMPATIBILITY_VERSION, KEY_BYTES, RENEWAL_RETRY_MS } from './constants.ts'
import { renewalDueAt, validityOf } from './core/certificate.ts'
import { signedBytes } from './core/envelope.ts'
import { nodeIdOf, publicKeyOf } from './core/ids.ts'
import type {
  Crypto,
  KeyRotation,
  NetworkId,
  RevocationReason,
  Signer,
  TrustSource,
} from './core/model.ts'
import type { NetworkState } from './core/network-state.ts'
import { nodeRotationBody } from './core/transcript.ts'
import type { PeerAddresses } from './core/welcome.ts'
import { createSigner } from './crypto.ts'
import { JoinError, MemberAlreadyError, NotMemberError, ThresholdError } from './errors.ts'
import { Founding } from './founding.ts'
import { unixSecondsOf } from './handshake-run.ts'
import { fetchIsolationKeys } from './isolation-keys.ts'
import { dialIssuers, readToken } from './joining.ts'
import type { Joining } from './joining.ts'
import { describeSession, MemberHost } from './member-host.ts'
import type {
  CreatedToken,
  CreateNetworkInit,
  CreateTokenInit,
  JoinInit,
  Membership,
  MembershipDeps,
  MembershipEvents,
  MembershipInit,
  MembershipStatus,
  TokenInfo,
} from './membership.ts'
import { Libp2pMembershipService } from './membership-service.ts'
import type { MembershipComponents, MembershipService } from './membership-service.ts'
import type { MemberRecords, NetworkRecords } from './network-records.ts'
import { Serial } from './serial.ts'
import { Sessions } from './sessions.ts'
import { areEqual } from './wire.ts'

export interface MemberNodeDeps extends MembershipDeps {
  readonly clock: Clock
  readonly random: Random
  readonly crypto: Crypto
  readonly records: NetworkRecords
}

type Events = { [Type in keyof MembershipEvents]: CustomEvent<MembershipEvents[Type]> }

const SILENT: Logger = { log: () => undefined }
const NEUTRAL: TrustSource = { historyOf: () => undefined, consensusOf: () => undefined }

export class MemberNode extends TypedEventEmitter<Events> implements Membership {
  readonly #deps: MemberNodeDeps
  readonly #records: NetworkRecords
  readonly #versions: { readonly min: number; readonly max: number }
  readonly #sessions: Sessions
  /** Whatever issues or stores. Facts of others do not wait for it. */
  readonly #serial = new Serial()
  readonly #authority: Authority
  readonly #founding: Founding
  readonly #admission: Admission
  readonly #host: MemberHost
  #service: Libp2pMembershipService | undefined
  #renewAt = 0
  #asked: Promise<void> | undefined

  constructor(deps: MemberNodeDeps, init: MembershipInit) {
    super()
    const { clock, random, crypto, records, logger = SILENT, trust = NEUTRAL } = deps
    this.#deps = deps
    this.#records = records
    this.#versions = init.versions ?? { min: COMPATIBILITY_VERSION, max: COMPATIBILITY_VERSION }
    this.#sessions = new Sessions(clock)
    this.#founding = new Founding({ records, crypto, random })
    this.#authority = new Authority({
      records,
      clock,
      random,
      crypto,
      coSign: (document, envelope, needed) => {
        const { state } = this.#member()
        const service = this.#service
        return gatherSignatures({ crypto, state, service }, document, envelope, needed)
      },
      made: (envelopes) => this.#host.counted(envelopes),
    })
    this.#admission = new Admission({
      records,
      authority: this.#authority,
      clock,
      random,
      crypto,
      certificateOf: (publicKey) => this.#founding.certificateOf(publicKey),
    })
    this.#host = new MemberHost({
      records,
      clock,
      random,
      crypto,
      trust,
      logger,
      audit: deps.audit,
      serial: this.#serial,
      authority: this.#authority,
      admission: this.#admission,
      sessions: this.#sessions,
      versions: this.#versions,
      approve: init.approve ?? (() => true),
      emit: (type, detail) => {
        this.dispatchEvent(new CustomEvent(type, { detail }))
      },
      peers: () => this.#peersForJoiner(),
      spread: (envelopes, from) => {
        this.#service?.enforce(true)
        this.#service?.push(envelopes, from)
        this.#askForIsolationKeys()
      },
      sweep: () => this.#sweep(),
    })
  }

  get node(): NodeId {
    return this.#records.node
  }

  get publicKey(): Uint8Array {
    return this.#records.signer.publicKey
  }

  get state(): NetworkState | undefined {
    return this.#records.member?.state
  }

  secure<Components extends EncrypterComponents>(
    encryption: (components: Components) => ConnectionEncrypter,
  ): (components: Components) => ConnectionEncrypter {
    const { clock } = this.#deps
    return (components) =>
      createConnectionEncrypter({ clock, host: this.#host, inner: encryption }, components)
  }

  readonly service = (components: MembershipComponents): MembershipService => {
    const { clock, random, logger = SILENT } = this.#deps
    this.#service = new Libp2pMembershipService(
      { clock, random, logger, host: this.#host },
      components,
    )
    return this.#service
  }

  nodePrivateKey(): Uint8Array {
    return this.#records.privateKey()
  }

  status(): MembershipStatus {
    const { member } = this.#records
    const members = (this.#service?.connected() ?? []).map(describeSession)
    if (member === undefined) return { node: this.node, members }
    const { state, own } = member
    const now = unixSecondsOf(this.#deps.clock)
    return {
      node: this.node,
      network: {
        id: state.network,
        name: state.genesis.name,
        certificate: own,
        isDegraded: validityOf(own, now) === 'expired',
        isAuthority: this.#authority.isAuthority,
        lacksIsolationKey: member.isolationKeys(now).length < state.isolationHashes(now).length,
        authorities: state.authorities.map(nodeIdOf),
        authorityThreshold: state.genesis.quorum.authorityThreshold,
        rotations: state.rotations.length,
        facts: state.factCount,
        factsHeld: state.heldCount,
      },
      members,
    }
  }

  peers(): readonly PeerAddresses[] {
    return this.#records.peers
  }

  async createNetwork(init: CreateNetworkInit): Promise<NetworkId> {
    return this.foundNetwork(await this.proposeNetwork(init, []))
  }

  proposeNetwork(init: CreateNetworkInit, founders: readonly NodeId[]): Promise<Uint8Array> {
    const { min, max } = this.#versions
    const { compatibility = min } = init
    if (compatibility > max) {
      throw new RangeError(`compatibility: at most ${max}, what we speak (got ${compatibility})`)
    }
    return this.#serial.run(() => {
      this.#checkNoMember()
      const now = unixSecondsOf(this.#deps.clock)
      return this.#founding.propose({ ...init, compatibility }, founders, now)
    })
  }

  async signNetwork(proposal: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(this.#founding.sign(proposal))
  }

  foundNetwork(proposal: Uint8Array): Promise<NetworkId> {
    return this.#serial.run(async () => {
      this.#checkNoMember()
      const network = await this.#founding.found(proposal)
      this.#deps.audit?.append({ event: 'network:founded', node: this.node, detail: { network } })
      const { nodeType } = this.#member().own
      this.dispatchEvent(
        new CustomEvent('member:admitted', { detail: { node: this.node, nodeType } }),
      )
      return network
    })
  }

  createToken(init: CreateTokenInit = {}): Promise<CreatedToken> {
    return this.#serial.run(async () => {
      const addresses = init.addresses ?? this.#service?.addresses() ?? []
      const token = await this.#admission.createToken(init, addresses.slice(0, 16))
      this.#deps.audit?.append({ event: 'token:created', detail: { id: token.id } })
      return token
    })
  }

  tokens(): readonly TokenInfo[] {
    return this.#admission.tokens()
  }

  revokeToken(id: string): Promise<boolean> {
    return this.#serial.run(() => this.#admission.revokeToken(id))
  }

  async join(text: string, { dial, signal }: JoinInit): Promise<NetworkId> {
    const network = this.#records.member?.state.network
    const token = readToken(text, { network, now: unixSecondsOf(this.#deps.clock) })
    if (this.#host.joining !== undefined) throw new JoinError('another try is under way', undefined)
    const joining: Joining = { token }
    this.#host.joining = joining
    try {
      await dialIssuers(joining, () => this.#records.member !== undefined, {
        dial,
        ...(signal !== undefined && { signal }),
      })
    } finally {
      this.#host.joining = undefined
    }
    return this.#member().state.network
  }

  revoke(
    target: { readonly node: NodeId } | { readonly serial: Uint8Array },
    reason: RevocationReason,
  ): Promise<void> {
    return this.#serial.run(() =>
      'node' in target
        ? this.#authority.revokeNode(publicKeyOf(target.node), reason)
        : this.#authority.revokeCertificate(target.serial, reason),
    )
  }

  async rotateNodeKey(): Promise<NodeId> {
    const { own, state } = this.#member()
    const seed = this.#deps.random.bytes(KEY_BYTES)
    const next = createSigner(seed)
    const envelope = await this.#certifyNext(next)
    const now = unixSecondsOf(this.#deps.clock)
    const verdict = envelope && state.checkCertificate(envelope, next.publicKey, now)
    if (envelope === undefined || verdict === undefined || 'refused' in verdict) {
      throw new ThresholdError(0, state.genesis.quorum.authorityThreshold)
    }
    await this.#serial.run(() => this.#records.replaceKey(seed, envelope))
    const node = nodeIdOf(next.publicKey)
    const from = nodeIdOf(own.subject)
    this.#deps.audit?.append({ event: 'node:rotated', node: from, detail: { to: node } })
    return node
  }

  rotateNetworkKey(cause: KeyRotation['cause']): Promise<void> {
    return this.#serial.run(() => this.#authority.rotateNetworkKey(cause))
  }

  rotateIsolationKey(): Promise<void> {
    return this.#serial.run(() => this.#authority.rotateIsolationKey())
  }

  async renew(): Promise<void> {
    const { own, state } = this.#member()
    const envelope = (await this.#certifySelf()) ?? (await this.#askForCertificate())
    if (envelope === undefined) throw new ThresholdError(0, state.genesis.quorum.authorityThreshold)
    const now = unixSecondsOf(this.#deps.clock)
    const verdict = state.checkCertificate(envelope, own.subject, now)
    if ('refused' in verdict) throw new ThresholdError(0, state.genesis.quorum.authorityThreshold)
    await this.#records.setCertificate(envelope)
    this.#deps.audit?.append({ event: 'certificate:renewed', node: this.node })
    this.#service?.proveAgain()
    const { certificate } = verdict
    this.dispatchEvent(new CustomEvent('certificate:renewed', { detail: { certificate } }))
  }

  async leave(): Promise<boolean> {
    const { own, state } = this.#member()
    const others = state.authorities.filter((key) => !areEqual(key, own.subject))
    let isHeard = false
    for (const { node } of this.#connectedAuthorities()) {
      isHeard ||= await this.#service!.request(node, { kind: 'leave' }, 'end').then(
        () => true,
        () => false,
      )
    }
    if (!isHeard && this.#authority.isAuthority && others.length > 0) {
      await this.revoke({ serial: own.serial }, 'left')
    }
    await this.#service?.settled()
    await this.#serial.run(() => this.#records.end())
    this.#deps.audit?.append({ event: 'member:left', node: this.node })
    this.#service?.enforce()
    return isHeard
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service?.stop()
    await this.#serial.run(() => Promise.resolve())
    await this.#deps.store[Symbol.asyncDispose]()
  }

  /** An authority certifies itself, if one signature is enough or others sign too. */
  async #certifySelf(): Promise<Uint8Array | undefined> {
    if (!this.#authority.isAuthority) return undefined
    const { subject, nodeType, roles, capabilities } = this.#member().own
    try {
      return await this.#serial.run(() =>
        this.#authority.certify({ subject, nodeType, roles, capabilities }),
      )
    } catch (error) {
      if (error instanceof ThresholdError) return undefined
      throw error
    }
  }

  async #certifyNext(next: Signer): Promise<Uint8Array | undefined> {
    const { own, state } = this.#member()
    const { publicKey: key } = next
    const { network } = state
    const body = nodeRotationBody({ network, oldKey: own.subject, newKey: key })
    const signature = next.sign(signedBytes('handshake', body))
    for (const { node } of this.#connectedAuthorities()) {
      const answer = await this.#service
        ?.request(node, { kind: 'rotate-node', key, signature }, 'certificate')
        .catch(() => undefined)
      if (answer !== undefined) return answer.envelope
    }
    if (!this.#authority.isAuthority) return undefined
    return this.#serial.run(() => this.#authority.replaceNode(own, key))
  }

  async #askForCertificate(): Promise<Uint8Array | undefined> {
    for (const { node } of this.#connectedAuthorities()) {
      const answer = await this.#service
        ?.request(node, { kind: 'renew' }, 'certificate')
        .catch(() => undefined)
      if (answer !== undefined) return answer.envelope
    }
    return undefined
  }

  #connectedAuthorities(): readonly { readonly node: NodeId }[] {
    const authorities = this.#member().state.authorities.map(nodeIdOf)
    return (this.#service?.connected() ?? []).filter(({ node }) => authorities.includes(node))
  }

  #sweep(): void {
    const { member } = this.#records
    const { clock, logger } = this.#deps
    if (member === undefined) return
    this.#askForIsolationKeys()
    const isDue = unixSecondsOf(clock) >= renewalDueAt(member.own)
    if (!isDue || clock.now() < this.#renewAt) return
    this.#renewAt = clock.now() + RENEWAL_RETRY_MS
    void this.renew().catch((error: unknown) => {
      logger?.log('warn', 'certificate:not-renewed', { why: String(error) })
    })
  }

  /** A fact names a key that this node has not got: members that have it give it. */
  #askForIsolationKeys(): void {
    const { member } = this.#records
    if (member === undefined || this.#asked !== undefined) return
    const now = unixSecondsOf(this.#deps.clock)
    const lacking = member.state
      .isolationHashes(now)
      .filter((hash) => this.#records.isolationKeyOf(hash) === undefined)
    if (lacking.length === 0) return
    const service = this.#service
    if (service === undefined) return
    const { crypto } = this.#deps
    const fetched = fetchIsolationKeys({ service, crypto }, lacking, (key) =>
      this.#serial.run(() => this.#records.addIsolationKey(key)),
    )
    this.#asked = fetched.finally(() => {
      this.#asked = undefined
    })
  }

  #peersForJoiner(): readonly PeerAddresses[] {
    const service = this.#service
    if (service === undefined) return []
    return [{ node: this.node, addresses: service.addresses() }, ...service.peerAddresses()]
  }

  #checkNoMember(): void {
    const { member } = this.#records
    if (member !== undefined) throw new MemberAlreadyError(member.state.network)
  }

  #member(): MemberRecords {
    const { member } = this.#records
    if (member === undefined) throw new NotMemberError()
    return member
  }
}
