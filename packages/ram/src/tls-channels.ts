import { constants } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import {
  connect,
  createServer,
  type SecureContextOptions,
  type Server,
  type TLSSocket,
} from 'node:tls'
import type {
  AbortOptions,
  BulkChannel,
  BulkChannelProvider,
  Clock,
  NodeId,
  Random,
  Startable,
} from '@mycelium/interface'
import { BulkRefusedError, BulkUnreachableError } from '@mycelium/interface'
import { ChannelAcceptor, GREETING_MAX, SESSIONS_MAX } from './channel-acceptor.ts'
import { type ChannelConfig, type ChannelInit, resolveChannelConfig } from './channel-config.ts'
import { openChannel } from './channel-opener.ts'
import type { DuplexChannel } from './duplex-channel.ts'
import { PeerKeyError } from './errors.ts'
import { fingerprintOf } from './self-signed-certificate.ts'

const FINGERPRINT = /^[0-9a-f]{64}$/
/** So that no other TLS service on the port is taken for ours. */
const ALPN = 'mycelium-bulk/1'

export interface TlsChannelsDeps {
  readonly clock: Clock
  readonly random: Random
}

/** A node that may connect, or be connected to. */
export interface TlsPeer {
  readonly node: NodeId
  /** SHA-256 of its public key, 64 hexadecimal digits in lower case. */
  readonly fingerprint: string
  /** Absent: it connects to us, never we to it. */
  readonly address?: { readonly host: string; readonly port: number }
}

export interface TlsChannelsInit extends ChannelInit {
  readonly local: NodeId
  /** PEM of this node's certificate and its private key: {@link createNodeCertificate}. */
  readonly certificate: string
  readonly privateKey: string
  /** Whoever is not among them is refused. */
  readonly peers: readonly TlsPeer[]
  /** Where to listen; port 0 takes any. Absent: this node only opens. */
  readonly listen?: { readonly host: string; readonly port: number }
}

/** Channels over TLS 1.3, both ends known by their keys. Listens between `start` and `stop`. */
export interface TlsChannels extends BulkChannelProvider, Startable {
  /** Where it listens; undefined before `start`, after `stop`, or without `listen`. */
  readonly address: { readonly host: string; readonly port: number } | undefined
}

/**
 * Channels over TLS 1.3 with certificates at both ends. A peer is who its public key says: the
 * SHA-256 of the key is pinned in `init.peers`, chains and names are not looked at. No session
 * tickets and no resumption: each connection proves both keys again.
 *
 * @throws {TypeError} a fingerprint is malformed or belongs to two nodes
 * @throws {RangeError} a bound is out of its range
 */
export function createTlsChannels(deps: TlsChannelsDeps, init: TlsChannelsInit): TlsChannels {
  return new PinnedTls(deps, init)
}

class PinnedTls implements TlsChannels {
  readonly #deps: TlsChannelsDeps
  readonly #init: TlsChannelsInit
  readonly #config: ChannelConfig
  readonly #acceptor: ChannelAcceptor
  readonly #nodes = new Map<string, NodeId>()
  readonly #peers = new Map<NodeId, TlsPeer>()
  readonly #opened = new Set<DuplexChannel>()
  #server: Server | undefined
  #stopping: Promise<void> | undefined

  constructor(deps: TlsChannelsDeps, init: TlsChannelsInit) {
    this.#deps = deps
    this.#init = init
    const { local, certificate: _, privateKey: __, peers, listen: ___, ...channelInit } = init
    this.#config = resolveChannelConfig(channelInit)
    this.#acceptor = new ChannelAcceptor(deps, local, this.#config)
    for (const peer of peers) {
      const { node, fingerprint } = peer
      if (!FINGERPRINT.test(fingerprint)) {
        throw new TypeError(`fingerprint of ${node} must be 64 hex digits, got ${fingerprint}`)
      }
      if (this.#nodes.has(fingerprint)) {
        throw new TypeError(`fingerprint must be of one node, got ${fingerprint} twice`)
      }
      this.#nodes.set(fingerprint, node)
      this.#peers.set(node, peer)
    }
  }

  get address(): { readonly host: string; readonly port: number } | undefined {
    const address = this.#server?.address() as AddressInfo | null | undefined
    if (address === null || address === undefined) return undefined
    return { host: address.address, port: address.port }
  }

  get #secureContext(): SecureContextOptions {
    return {
      cert: this.#init.certificate,
      key: this.#init.privateKey,
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      // Without tickets and without a store for them a session cannot be resumed.
      secureOptions: constants.SSL_OP_NO_TICKET,
    }
  }

  /** Rejects with the system's error when the address cannot be listened on. */
  async start(options: AbortOptions = {}): Promise<void> {
    options.signal?.throwIfAborted()
    const { listen } = this.#init
    if (listen === undefined) return
    const server = createServer({
      ...this.#secureContext,
      requestCert: true,
      rejectUnauthorized: false, // no chain: #take compares the key itself
      handshakeTimeout: this.#config.connectMs,
      ALPNProtocols: [ALPN],
    })
    server.maxConnections = SESSIONS_MAX + GREETING_MAX
    server.on('secureConnection', (socket) => this.#take(socket))
    this.#server = server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(listen, () => {
        server.removeListener('error', reject)
        resolve()
      })
    })
    if (this.#stopping !== undefined) server.close()
  }

  /** The key is proven: the handshake of TLS 1.3 signs with it. */
  #take(socket: TLSSocket): void {
    const node = this.#nodeOf(socket)
    if (node === undefined || socket.alpnProtocol !== ALPN) {
      socket.on('error', () => {}) // a stranger; whatever goes wrong with it
      socket.destroy()
      return
    }
    socket.setNoDelay(true)
    this.#acceptor.handle(socket, node)
  }

  #nodeOf(socket: TLSSocket): NodeId | undefined {
    const certificate = socket.getPeerX509Certificate()
    return certificate === undefined ? undefined : this.#nodes.get(fingerprintOf(certificate))
  }

  async stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    await this.#stopping
  }

  async #stop(): Promise<void> {
    const reason = new Error('the provider of the channel was stopped')
    const server = this.#server
    const closed = new Promise<void>((resolve) => {
      if (server?.listening !== true) resolve()
      else server.close(() => resolve())
    })
    for (const channel of this.#opened) channel.abort(reason)
    await this.#acceptor.stop(reason)
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async open(remote: NodeId, purpose: string, options: AbortOptions = {}): Promise<BulkChannel> {
    const address = this.#peers.get(remote)?.address
    if (!this.#peers.has(remote)) throw new BulkRefusedError(remote, purpose, 'it is no peer')
    if (address === undefined) throw new BulkUnreachableError(remote, 'its address is not known')
    const connectPeer = async ({ signal }: { signal: AbortSignal }): Promise<TLSSocket> =>
      await this.#connect(remote, address, signal)
    return await openChannel(
      { ...this.#deps, connect: connectPeer },
      { local: this.#init.local, remote, purpose, config: this.#config, opened: this.#opened },
      options,
    )
  }

  accept(prefix: string, options: AbortOptions = {}): AsyncIterable<BulkChannel> {
    return this.#acceptor.accept(prefix, options)
  }

  async #connect(
    remote: NodeId,
    address: { readonly host: string; readonly port: number },
    signal: AbortSignal,
  ): Promise<TLSSocket> {
    return await new Promise<TLSSocket>((resolve, reject) => {
      const socket = connect({
        ...address,
        ...this.#secureContext,
        rejectUnauthorized: false, // no chain: the key itself is compared below
        checkServerIdentity: () => undefined,
        ALPNProtocols: [ALPN],
      })
      const settle = (): void => {
        signal.removeEventListener('abort', abort)
        socket.removeListener('error', fail)
      }
      const fail = (error: Error): void => {
        settle()
        socket.destroy()
        reject(error)
      }
      const abort = (): void => fail(signal.reason as Error)
      socket.on('error', fail)
      socket.once('secureConnect', () => {
        if (this.#nodeOf(socket) !== remote) return fail(new PeerKeyError(remote))
        settle()
        socket.setNoDelay(true)
        resolve(socket)
      })
      if (signal.aborted) abort()
      else signal.addEventListener('abort', abort)
    })
  }
}
