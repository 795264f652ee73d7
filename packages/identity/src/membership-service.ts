import type {
  Connection,
  Libp2pEvents,
  PeerId,
  Startable,
  Stream,
  StreamHandler,
  TypedEventTarget,
} from '@libp2p/interface'
import type { Clock, Logger, NodeId, Random } from '@mycelium/interface'
import { HANDSHAKE_PROTOCOL } from './connection-encrypter.ts'
import {
  HANDSHAKE_TIMEOUT_MS,
  PUSH_FACTS_MAX,
  SESSION_MARGIN_MS,
  SWEEP_INTERVAL_MS,
  SYNC_BYTES_MAX,
  SYNC_INTERVAL_MS,
  VECTOR_ENTRIES_PER_FRAME,
} from './constants.ts'
import type { Handshake, ProvenPeer } from './core/handshake.ts'
import { publicKeyOf } from './core/ids.ts'
import type { CoSignedDocument, ServiceMessage, ServiceRequest } from './core/service-messages.ts'
import type { PeerAddresses } from './core/welcome.ts'
import { ExchangeError, HandshakeRefusedError } from './errors.ts'
import { exchange } from './framed-stream.ts'
import type { FramedStream } from './framed-stream.ts'
import { runHandshake } from './handshake-run.ts'
import type { HandshakeAnswers } from './handshake-run.ts'
import type { Session, Sessions } from './sessions.ts'

/** Facts, renewals and co-signing among members. */
export const MEMBERSHIP_PROTOCOL = '/mycelium/membership/1.0'
/** The handshake once more, on an open connection. */
export const REAUTHENTICATION_PROTOCOL = '/mycelium/reauthentication/1.0'

/** What libp2p gives to a service, as far as this one uses it. */
export interface MembershipComponents {
  readonly peerId: PeerId
  readonly registrar: {
    handle(
      protocol: string,
      handler: StreamHandler,
      options?: { readonly maxInboundStreams?: number },
    ): Promise<void>
    unhandle(protocol: string): Promise<void>
  }
  readonly connectionManager: { getConnections(): Connection[] }
  readonly addressManager: { getAddresses(): readonly { toString(): string }[] }
  readonly events: TypedEventTarget<Libp2pEvents>
}

/** Who holds the membership, as the service sees it. */
export interface ServiceHost {
  readonly node: NodeId
  readonly sessions: Sessions
  /** Why this peer must not be connected any more, as far as is known now. */
  verdictOf(session: Session, isThorough?: boolean): 'member' | 'degraded' | 'refused'
  handshake(peer: Uint8Array, init: { readonly isInitiator: boolean }): Handshake
  answers(): HandshakeAnswers
  proven(peer: ProvenPeer, address: string): void
  vector(): ReadonlyMap<string, number>
  missing(vector: ReadonlyMap<string, number>, bytesMax: number): readonly Uint8Array[]
  /** Takes facts of a peer. Resolves once those that count are durable. */
  takeFacts(envelopes: readonly Uint8Array[], from: NodeId): Promise<void>
  /** Answers a request that is not about facts. */
  answer(request: ServiceRequest, from: Session): Promise<ServiceMessage>
  /** Looks after what time brings: renewal, missing keys. */
  sweep(): void
}

export interface MembershipServiceDeps {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly host: ServiceHost
}

/** The part of a membership that lives inside a libp2p node. */
export interface MembershipService extends Startable {
  /** Addresses of this node, for tokens. */
  addresses(): readonly string[]
}

export class Libp2pMembershipService implements MembershipService {
  readonly #deps: MembershipServiceDeps
  readonly #components: MembershipComponents
  /** Facts to be told, by node; while a push to it runs, they gather. */
  readonly #pushes = new Map<NodeId, Uint8Array[]>()
  readonly #running = new Set<Promise<void>>()
  readonly #reproving = new Set<NodeId>()
  #isStarted = false
  #cancelSweep: () => void = () => undefined
  #nextSyncAt = 0

  constructor(deps: MembershipServiceDeps, components: MembershipComponents) {
    this.#deps = deps
    this.#components = components
  }

  readonly [Symbol.toStringTag] = '@mycelium/identity'

  async start(): Promise<void> {
    const { registrar, events } = this.#components
    this.#isStarted = true
    events.addEventListener('connection:open', this.#onOpen)
    await registrar.handle(MEMBERSHIP_PROTOCOL, this.#onStream, { maxInboundStreams: 8 })
    await registrar.handle(REAUTHENTICATION_PROTOCOL, this.#onReauthentication, {
      maxInboundStreams: 2,
    })
    this.#nextSyncAt = this.#deps.clock.now() + SYNC_INTERVAL_MS
    this.#armSweep()
  }

  async stop(): Promise<void> {
    if (!this.#isStarted) return
    this.#isStarted = false
    this.#cancelSweep()
    const { registrar, events } = this.#components
    events.removeEventListener('connection:open', this.#onOpen)
    await registrar.unhandle(MEMBERSHIP_PROTOCOL)
    await registrar.unhandle(REAUTHENTICATION_PROTOCOL)
    await this.settled()
  }

  addresses(): readonly string[] {
    return this.#components.addressManager.getAddresses().map((address) => address.toString())
  }

  /** Proven members that are connected, in no order. */
  connected(): readonly Session[] {
    const nodes = new Set(this.#connections().map(({ remotePeer }) => nodeOf(remotePeer)))
    return this.#deps.host.sessions.all().filter(({ node }) => nodes.has(node))
  }

  /** Where connected members were dialled. */
  peerAddresses(): readonly PeerAddresses[] {
    return this.#connections()
      .filter(({ direction }) => direction === 'outbound')
      .map(({ remotePeer, remoteAddr }) => ({
        node: nodeOf(remotePeer),
        addresses: [remoteAddr.toString()],
      }))
  }

  /** When everything that was begun is over: pushes of facts, exchanges. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
  }

  /** Tells facts to all connected members but the one they came from. */
  push(envelopes: readonly Uint8Array[], except?: NodeId): void {
    if (!this.#isStarted || envelopes.length === 0) return
    for (const { node } of this.connected()) {
      if (node === except) continue
      const waiting = this.#pushes.get(node)
      if (waiting === undefined) {
        this.#pushes.set(node, [...envelopes])
        this.#background('push of facts', this.#pushTo(node))
      } else if (waiting.length + envelopes.length <= PUSH_FACTS_MAX) {
        waiting.push(...envelopes)
      } // else the next exchange brings them
    }
  }

  /** Asks a member. @throws {ExchangeError} it does not answer, or with another kind of message */
  request<Kind extends ServiceMessage['kind']>(
    node: NodeId,
    message: ServiceRequest,
    ...kinds: readonly Kind[]
  ): Promise<Extract<ServiceMessage, { kind: Kind }>> {
    return this.#exchange(node, async (framed) => {
      await framed.write(message)
      return framed.read(...kinds)
    })
  }

  /** Asks connected authorities for their signatures, one after the other. */
  async *signatures(
    document: CoSignedDocument,
    body: Uint8Array,
    authorities: readonly NodeId[],
  ): AsyncGenerator<{ readonly publicKey: Uint8Array; readonly signature: Uint8Array }> {
    for (const { node } of this.connected()) {
      if (!authorities.includes(node)) continue
      try {
        const request: ServiceRequest = { kind: 'co-sign', document, body }
        const { signature } = await this.request(node, request, 'signature')
        yield { publicKey: publicKeyOf(node), signature }
      } catch (error) {
        this.#log('co-sign:failed', node, error)
      }
    }
  }

  /** Closes what must not be open: revoked members, proofs that ran out. Thorough: after facts. */
  enforce(isThorough = false): void {
    const { host, clock } = this.#deps
    for (const connection of this.#connections()) {
      const node = nodeOf(connection.remotePeer)
      const session = host.sessions.get(node)
      const isRefused =
        session === undefined ||
        clock.now() >= session.endsAt ||
        host.verdictOf(session, isThorough) === 'refused'
      if (!isRefused) continue
      host.sessions.end(node)
      connection.abort(new HandshakeRefusedError('revoked', false))
    }
  }

  /** Only those that went through our encrypter: others are no business of this network. */
  #connections(): readonly Connection[] {
    return this.#components.connectionManager
      .getConnections()
      .filter(({ encryption }) => encryption?.startsWith(HANDSHAKE_PROTOCOL) === true)
      .filter(({ status }) => status === 'open')
  }

  readonly #onOpen = ({ detail }: { detail: Connection }): void => {
    if (detail.encryption?.startsWith(HANDSHAKE_PROTOCOL) !== true) return
    // A revocation may have come between the proof and this moment.
    this.enforce()
    if (detail.status === 'open' && detail.direction === 'outbound') {
      this.#background('exchange of facts', this.#sync(nodeOf(detail.remotePeer)))
    }
  }

  /**
   * Forgets proofs that no connection stands on. Not at once: one that was just given belongs to a
   * connection that is about to open, also if another one to the same node closes meanwhile.
   */
  #prune(): void {
    const { clock, host } = this.#deps
    const nodes = new Set(this.#connections().map(({ remotePeer }) => nodeOf(remotePeer)))
    for (const { node, provenAt } of host.sessions.all()) {
      const isOld = clock.now() >= provenAt + HANDSHAKE_TIMEOUT_MS
      if (isOld && !nodes.has(node)) host.sessions.end(node)
    }
  }

  readonly #onStream: StreamHandler = async (stream, connection) => {
    const session = this.#sessionOf(connection)
    if (session === undefined) {
      stream.abort(new HandshakeRefusedError('no-possession', false))
      return
    }
    await this.#run('request', () =>
      exchange(this.#deps.clock, stream, (framed) => this.#serve(framed, session)),
    )
  }

  async #serve(framed: FramedStream, session: Session): Promise<void> {
    const { host } = this.#deps
    const request = await framed.read(
      'sync',
      'facts',
      'renew',
      'co-sign',
      'ask-isolation-key',
      'rotate-node',
      'leave',
    )
    if (request.kind === 'facts') {
      await host.takeFacts(await readFacts(framed), session.node)
      await framed.write({ kind: 'end' })
    } else if (request.kind === 'sync') {
      const vector = await readVector(framed)
      await writeFacts(framed, host.missing(vector, SYNC_BYTES_MAX))
      await writeVector(framed, host.vector())
      await host.takeFacts(await readFacts(framed), session.node)
    } else {
      await framed.write(await host.answer(request, session))
    }
  }

  /** Gives and takes the facts that the other lacks. */
  #sync(node: NodeId): Promise<void> {
    const { host } = this.#deps
    return this.#exchange(node, async (framed) => {
      await framed.write({ kind: 'sync' })
      await writeVector(framed, host.vector())
      const facts = await readFacts(framed)
      const vector = await readVector(framed)
      await writeFacts(framed, host.missing(vector, SYNC_BYTES_MAX))
      await host.takeFacts(facts, node)
    })
  }

  async #pushTo(node: NodeId): Promise<void> {
    try {
      for (;;) {
        const envelopes = this.#pushes.get(node) ?? []
        if (envelopes.length === 0) return
        this.#pushes.set(node, [])
        await this.#exchange(node, async (framed) => {
          await framed.write({ kind: 'facts' })
          await writeFacts(framed, envelopes)
          await framed.read('end')
        })
      }
    } finally {
      this.#pushes.delete(node)
    }
  }

  async #exchange<T>(node: NodeId, body: (framed: FramedStream) => Promise<T>): Promise<T> {
    const stream = await this.#open(node, MEMBERSHIP_PROTOCOL)
    return exchange(this.#deps.clock, stream, body)
  }

  #open(node: NodeId, protocol: string): Promise<Stream> {
    const connection = this.#connections().find(({ remotePeer }) => nodeOf(remotePeer) === node)
    if (connection === undefined) throw new ExchangeError(`${node} is not connected`)
    return connection.newStream(protocol, { runOnLimitedConnection: true })
  }

  #sessionOf(connection: Connection): Session | undefined {
    if (connection.encryption?.startsWith(HANDSHAKE_PROTOCOL) !== true) return undefined
    return this.#deps.host.sessions.get(nodeOf(connection.remotePeer))
  }

  #armSweep(): void {
    const { clock } = this.#deps
    this.#cancelSweep = clock.schedule(clock.now() + SWEEP_INTERVAL_MS, () => {
      if (!this.#isStarted) return
      this.#armSweep()
      this.#sweep()
    })
  }

  #sweep(): void {
    const { clock, random, host } = this.#deps
    this.enforce()
    this.#prune()
    const now = clock.now()
    for (const connection of this.#connections()) {
      // One side is enough: the one that dialled.
      const session = host.sessions.get(nodeOf(connection.remotePeer))
      const isDue = session !== undefined && now >= session.endsAt - SESSION_MARGIN_MS
      if (isDue && connection.direction === 'outbound') this.#proveAgain(connection)
    }
    if (now >= this.#nextSyncAt) {
      this.#nextSyncAt = now + SYNC_INTERVAL_MS
      const members = this.connected()
      const one = members.length === 0 ? undefined : members[random.below(members.length)]
      if (one !== undefined) this.#background('exchange of facts', this.#sync(one.node))
    }
    host.sweep()
  }

  /** Shows a new certificate on every connection: by its serial it may be revoked. */
  proveAgain(): void {
    for (const connection of this.#connections()) this.#proveAgain(connection)
  }

  /** Streams go on meanwhile. */
  #proveAgain(connection: Connection): void {
    const node = nodeOf(connection.remotePeer)
    if (this.#reproving.has(node)) return
    this.#reproving.add(node)
    const body = async (): Promise<void> => {
      try {
        const stream = await connection.newStream(REAUTHENTICATION_PROTOCOL, {
          runOnLimitedConnection: true,
        })
        await this.#reprove(stream, connection, true)
      } finally {
        this.#reproving.delete(node)
      }
    }
    this.#background('re-authentication', body())
  }

  readonly #onReauthentication: StreamHandler = async (stream, connection) => {
    if (this.#sessionOf(connection) === undefined) {
      stream.abort(new HandshakeRefusedError('no-possession', false))
      return
    }
    await this.#run('re-authentication', () => this.#reprove(stream, connection, false))
  }

  async #reprove(stream: Stream, connection: Connection, isInitiator: boolean): Promise<void> {
    const { clock, host } = this.#deps
    const node = nodeOf(connection.remotePeer)
    try {
      const handshake = host.handshake(publicKeyOf(node), { isInitiator })
      const peer = await runHandshake({ clock, answers: host.answers() }, stream, {
        handshake,
        isInitiator,
      })
      host.proven(peer, connection.remoteAddr.toString())
      await stream.close()
    } catch (error) {
      stream.abort(error as Error)
      // What the peer could not prove now, it never proves on this connection; a lost stream may be
      // tried again until the session ends.
      if (error instanceof HandshakeRefusedError && !isTransient(error)) {
        host.sessions.end(node)
        connection.abort(error)
      }
      throw error
    }
  }

  #background(what: string, work: Promise<void>): void {
    const running: Promise<void> = this.#run(what, () => work).finally(() =>
      this.#running.delete(running),
    )
    this.#running.add(running)
  }

  /** Failures of one peer are its own: they are told to the log. */
  async #run(what: string, body: () => Promise<void>): Promise<void> {
    try {
      await body()
    } catch (error) {
      this.#log('membership:failed', what, error)
    }
  }

  #log(event: string, what: string, error: unknown): void {
    const why = error instanceof Error ? error.message : String(error)
    this.#deps.logger.log('debug', event, { what, why })
  }
}

const isTransient = ({ reason }: HandshakeRefusedError): boolean =>
  ['timeout', 'busy', 'malformed'].includes(reason)

const nodeOf = (peer: PeerId): NodeId => peer.toString() as NodeId

async function readVector(framed: FramedStream): Promise<ReadonlyMap<string, number>> {
  const vector = new Map<string, number>()
  for (;;) {
    const message = await framed.read('vector', 'end')
    if (message.kind === 'end') return vector
    for (const [issuer, number] of message.entries) vector.set(issuer, number)
  }
}

async function writeVector(
  framed: FramedStream,
  vector: ReadonlyMap<string, number>,
): Promise<void> {
  const entries = [...vector]
  for (let index = 0; index < entries.length; index += VECTOR_ENTRIES_PER_FRAME) {
    const some = entries.slice(index, index + VECTOR_ENTRIES_PER_FRAME)
    await framed.write({ kind: 'vector', entries: some })
  }
  await framed.write({ kind: 'end' })
}

async function readFacts(framed: FramedStream): Promise<readonly Uint8Array[]> {
  const facts: Uint8Array[] = []
  for (;;) {
    const message = await framed.read('fact', 'end')
    if (message.kind === 'end') return facts
    facts.push(message.envelope)
  }
}

async function writeFacts(framed: FramedStream, facts: readonly Uint8Array[]): Promise<void> {
  for (const envelope of facts) await framed.write({ kind: 'fact', envelope })
  await framed.write({ kind: 'end' })
}
