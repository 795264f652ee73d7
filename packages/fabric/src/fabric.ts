import type { Connection, IdentifyResult, Libp2p, PeerInfo, Stream } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import type {
  AbortOptions,
  Clock,
  EventSource,
  Logger,
  NodeId,
  Random,
  Startable,
} from '@mycelium/interface'
import { dialableAddresses, reachableAddresses } from './addresses.ts'
import {
  checkAddresses,
  type FabricConfig,
  type FabricInit,
  type KnownPeer,
  properAddresses,
  resolveConfig,
} from './config.ts'
import { ConnectionTable } from './connection-table.ts'
import {
  DIAL_TIMEOUT_MS,
  DROPPED_MAX,
  STOP_TIMEOUT_MS,
  STREAMS_INBOUND_MAX,
  TRANSPORTS_MAX,
} from './constants.ts'
import { Deadline } from './deadline.ts'
import { Dialler } from './dialler.ts'
import { FabricListenError, FabricStoppedError } from './errors.ts'
import { createHost, type FabricServices } from './host.ts'
import { resolveTransport, type TransportInit } from './transport-config.ts'
import { type FabricTransport, ProtocolTransport } from './transport.ts'
import { TypedTarget } from './typed-target.ts'

export interface FabricDeps {
  readonly clock: Clock
  readonly random: Random
  readonly logger?: Logger
}

export interface FabricEvents {
  'peer:up': { readonly peer: NodeId }
  'peer:down': { readonly peer: NodeId }
  /** A connected peer told where it listens: worth keeping for the next start. */
  'peer:addresses': KnownPeer
}

/** What is known of a connected peer. */
export interface PeerView {
  readonly peer: NodeId
  /** Median of the last heartbeats; absent before the first. */
  readonly roundTripMs?: number
  /** Where the connection leads: a multiaddr. */
  readonly address: string
  readonly isOutbound: boolean
  readonly isRelayed: boolean
}

/** A node among its peers. One life: `start`, then `stop`. */
export interface Fabric extends EventSource<FabricEvents>, Startable {
  readonly nodeId: NodeId
  /** Addresses that peers can dial, with `/p2p/<id>`; empty while not started. */
  readonly addresses: readonly string[]
  /** Connected peers. */
  readonly peers: readonly PeerView[]
  /** Known peers, which are dialled until they are connected, or forgotten. */
  readonly known: readonly KnownPeer[]
  /** The libp2p host. @throws {TypeError} not started */
  readonly libp2p: Libp2p
  /**
   * A transport for messages of the protocol `/mycelium/<name>/<version>`. One for each name, any
   * time before `stop`.
   *
   * @throws {TypeError} the name is taken, or malformed. @throws {RangeError} a bound of `init`
   */
  transport(name: string, init?: TransportInit): FabricTransport
  /**
   * Keeps a connection to this peer from now on. Replaces the addresses told before.
   *
   * @throws {TypeError} an address is none. @throws {RangeError} more than 16
   */
  learn(peer: NodeId, addresses: readonly string[]): void
  /** No longer dials the peer; a connection stays. */
  forget(peer: NodeId): void
  /**
   * Cuts all connections of the peer before it returns, forgets it and keeps it out, until
   * {@link readmit} or the end of this process: what must stay out longer is up to `mayConnect`.
   */
  drop(peer: NodeId, reason: string): void
  readmit(peer: NodeId): void
  /** The network of this machine changed: tries every known peer again, soon. */
  hurry(): void
  roundTripMs(peer: NodeId): number | undefined
}

/** @throws {RangeError} @throws {TypeError} something in `init` */
export function createFabric(deps: FabricDeps, init: FabricInit): Fabric {
  return new Libp2pFabric(deps, resolveConfig(init))
}

const SILENT: Logger = { log: () => {} }

class Libp2pFabric extends TypedTarget<FabricEvents> implements Fabric {
  readonly nodeId: NodeId
  readonly #deps: Required<FabricDeps>
  readonly #config: FabricConfig
  readonly #table: ConnectionTable
  readonly #dialler: Dialler
  readonly #transports = new Map<string, ProtocolTransport>()
  readonly #dropped = new Set<NodeId>()
  #host: Libp2p<FabricServices> | undefined
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  constructor({ clock, random, logger = SILENT }: FabricDeps, config: FabricConfig) {
    super()
    this.nodeId = peerIdFromPrivateKey(config.privateKey).toString() as NodeId
    this.#deps = { clock, random, logger }
    this.#config = config
    const mayConnect = (peer: NodeId): boolean => this.#mayConnect(peer)
    this.#table = new ConnectionTable(
      { ...this.#deps, self: this.nodeId, mayConnect },
      config.links,
      {
        up: (peer) => this.#up(peer),
        moved: (peer) => {
          for (const transport of this.#transports.values()) transport.moved(peer)
        },
        down: (peer) => this.#down(peer),
      },
    )
    this.#dialler = new Dialler(
      { ...this.#deps, dial: (...dial) => this.#dial(...dial) },
      config.reconnect,
    )
    for (const { peer, addresses } of config.peers) this.learn(peer, addresses)
  }

  get addresses(): readonly string[] {
    return this.#host?.getMultiaddrs().map(String) ?? []
  }

  get known(): readonly KnownPeer[] {
    return this.#dialler.known
  }

  get peers(): readonly PeerView[] {
    return this.#table.peers.flatMap((peer) => {
      const connection = this.#table.used(peer)
      if (connection === undefined) return []
      const roundTripMs = this.#table.roundTripMs(peer)
      const isOutbound = connection.direction === 'outbound'
      const isRelayed = !connection.direct
      const address = connection.remoteAddr.toString()
      return {
        peer,
        address,
        isOutbound,
        isRelayed,
        ...(roundTripMs !== undefined && { roundTripMs }),
      }
    })
  }

  get libp2p(): Libp2p {
    if (this.#host === undefined) throw new TypeError('fabric must be started to have a host')
    return this.#host
  }

  async start({ signal }: AbortOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    if (this.#stopping !== undefined) throw new FabricStoppedError()
    this.#starting ??= this.#start()
    await this.#starting
  }

  async #start(): Promise<void> {
    const host = await createHost(this.#config, (peer) => this.#mayConnect(peer))
    if (this.#stopping !== undefined) throw new FabricStoppedError()
    this.#host = host
    host.addEventListener('connection:open', ({ detail }) => this.#table.opened(detail))
    host.addEventListener('peer:identify', ({ detail }) => this.#identified(detail))
    host.addEventListener('peer:discovery', ({ detail }) => this.#discovered(detail))
    for (const transport of this.#transports.values()) await this.#register(host, transport)
    try {
      await host.start()
    } catch (cause) {
      if (this.#stopping !== undefined) throw new FabricStoppedError({ cause })
      throw new FabricListenError(this.#config.listen, { cause })
    }
    const { nodeId, addresses } = this
    this.#deps.logger.log('info', 'fabric started', { nodeId, addresses })
    this.#dialler.start()
  }

  async stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    await this.#stopping
  }

  async #stop(): Promise<void> {
    this.#dialler.stop()
    this.#table.stop()
    try {
      await this.#starting
    } catch {
      // Whoever started it was told.
    }
    using deadline = new Deadline(this.#deps.clock, STOP_TIMEOUT_MS)
    const { promise, resolve } = Promise.withResolvers<void>()
    deadline.signal.addEventListener('abort', () => resolve())
    await Promise.race([this.#host?.stop(), promise])
    this.#deps.logger.log('info', 'fabric stopped', { nodeId: this.nodeId })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  transport(name: string, init: TransportInit = {}): FabricTransport {
    const { protocols, lanes } = resolveTransport(name, init)
    if (this.#transports.has(name)) throw new TypeError(`name must be new, got ${name}`)
    if (this.#transports.size >= TRANSPORTS_MAX) {
      throw new RangeError(`transports must be at most ${TRANSPORTS_MAX}`)
    }
    const deps = {
      ...this.#deps,
      self: this.nodeId,
      peers: () => this.#table.peers,
      used: (peer: NodeId) => this.#table.used(peer),
    }
    const transport = new ProtocolTransport(deps, protocols, lanes)
    this.#transports.set(name, transport)
    if (this.#host !== undefined && this.#stopping === undefined) {
      this.#register(this.#host, transport).catch((error: unknown) => {
        this.#deps.logger.log('error', 'transport not registered', { name, error: String(error) })
      })
    }
    return transport
  }

  learn(peer: NodeId, addresses: readonly string[]): void {
    checkAddresses('addresses', addresses)
    if (peer === this.nodeId || !this.#mayConnect(peer)) return
    this.#dialler.step({ type: 'learn', peer, addresses })
  }

  forget(peer: NodeId): void {
    this.#dialler.step({ type: 'forget', peer })
  }

  drop(peer: NodeId, reason: string): void {
    this.#deps.logger.log('info', 'peer dropped', { peer, reason })
    this.#dropped.add(peer)
    for (const oldest of this.#dropped) {
      if (this.#dropped.size <= DROPPED_MAX) break
      this.#dropped.delete(oldest)
    }
    this.forget(peer)
    this.#table.drop(peer)
  }

  readmit(peer: NodeId): void {
    this.#dropped.delete(peer)
  }

  hurry(): void {
    this.#dialler.step({ type: 'hurry' })
  }

  roundTripMs(peer: NodeId): number | undefined {
    return this.#table.roundTripMs(peer)
  }

  #mayConnect(peer: NodeId): boolean {
    return !this.#dropped.has(peer) && this.#config.mayConnect(peer)
  }

  #up(peer: NodeId): void {
    this.#dialler.step({ type: 'up', peer })
    this.#deps.logger.log('info', 'peer up', { peer })
    for (const transport of this.#transports.values()) transport.up(peer)
    this.emit('peer:up', { peer })
  }

  #down(peer: NodeId): void {
    this.#dialler.step({ type: 'down', peer })
    this.#deps.logger.log('info', 'peer down', { peer })
    for (const transport of this.#transports.values()) transport.down(peer)
    this.emit('peer:down', { peer })
  }

  async #register(host: Libp2p<FabricServices>, transport: ProtocolTransport): Promise<void> {
    const accept = (stream: Stream, connection: Connection): void => {
      transport.accept(stream, connection)
    }
    await host.handle([...transport.protocols], accept, {
      maxInboundStreams: STREAMS_INBOUND_MAX,
      maxOutboundStreams: STREAMS_INBOUND_MAX,
      runOnLimitedConnection: true,
    })
  }

  async #dial(peer: NodeId, addresses: readonly string[], cancelled: AbortSignal): Promise<void> {
    using deadline = new Deadline(this.#deps.clock, DIAL_TIMEOUT_MS)
    const signal = AbortSignal.any([cancelled, deadline.signal])
    await this.libp2p.dial(
      dialableAddresses(peer, addresses).map((address) => multiaddr(address)),
      { signal },
    )
  }

  /** Only a peer that the encrypter and the gate let in gets here. */
  #identified({ peerId, listenAddrs, connection }: IdentifyResult): void {
    const peer = peerId.toString() as NodeId
    if (this.#table.used(peer) === undefined) return
    const told = listenAddrs.map(String)
    const addresses = properAddresses(reachableAddresses(told, connection.remoteAddr.toString()))
    // Who listens nowhere is reached only while it calls.
    if (addresses.length === 0) return
    this.#dialler.step({ type: 'learn', peer, addresses })
    this.emit('peer:addresses', { peer, addresses })
  }

  #discovered({ id, multiaddrs }: PeerInfo): void {
    const peer = id.toString() as NodeId
    if (peer === this.nodeId || !this.#mayConnect(peer)) return
    const addresses = properAddresses(multiaddrs.map(String))
    this.#dialler.step({ type: 'discover', peer, addresses })
  }
}
