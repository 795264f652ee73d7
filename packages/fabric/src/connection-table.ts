import type { Connection } from '@libp2p/interface'
import type { Clock, Logger, NodeId, Random } from '@mycelium/interface'
import {
  type ConnectionName,
  createLinks,
  type Links,
  type LinksConfig,
  type LinksEffect,
  type LinksInput,
} from './core/links.ts'
import { pingConnection } from './ping.ts'

export interface ConnectionTableDeps {
  readonly self: NodeId
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly mayConnect: (peer: NodeId) => boolean
}

export interface ConnectionTableConfig extends LinksConfig {
  readonly pingTimeoutMs: number
}

export interface ConnectionTableListener {
  up(peer: NodeId): void
  /** Another connection of the peer is used from now on. */
  moved(peer: NodeId): void
  down(peer: NodeId): void
}

/** Carries out what the core of links says, on connections of libp2p. */
export class ConnectionTable {
  readonly #deps: ConnectionTableDeps
  readonly #config: ConnectionTableConfig
  readonly #links: Links
  readonly #listener: ConnectionTableListener
  readonly #connections = new Map<ConnectionName, Connection>()
  /** Effects in order, also those that a listener caused while one was carried out. */
  readonly #effects: LinksEffect[] = []
  #isBusy = false
  #isStopped = false
  #nextName = 1
  #cancelTimer = (): void => {}

  constructor(
    deps: ConnectionTableDeps,
    config: ConnectionTableConfig,
    listener: ConnectionTableListener,
  ) {
    this.#deps = deps
    this.#config = config
    this.#listener = listener
    this.#links = createLinks(deps, config)
  }

  get peers(): readonly NodeId[] {
    return this.#links.peers
  }

  used(peer: NodeId): Connection | undefined {
    const name = this.#links.used(peer)
    return name === undefined ? undefined : this.#connections.get(name)
  }

  roundTripMs(peer: NodeId): number | undefined {
    return this.#links.roundTripMs(peer)
  }

  /** Takes a connection that the encrypter has proved. */
  opened(connection: Connection): void {
    const peer = connection.remotePeer.toString() as NodeId
    if (connection.status !== 'open') return
    // A revocation may have come between the gate and here.
    if (this.#isStopped || !this.#deps.mayConnect(peer)) {
      connection.abort(new Error('not allowed'))
      return
    }
    const name = this.#nextName++
    this.#connections.set(name, connection)
    connection.addEventListener('close', () => {
      this.#connections.delete(name)
      this.#step({ type: 'closed', connection: name })
    })
    const isOutbound = connection.direction === 'outbound'
    const isRelayed = !connection.direct
    this.#step({ type: 'opened', peer, connection: name, isOutbound, isRelayed })
  }

  /** Cuts all connections of the peer, at once. */
  drop(peer: NodeId): void {
    this.#step({ type: 'drop', peer })
  }

  /** All peers are down when it returns; connections are left to their owner. */
  stop(): void {
    this.#cancelTimer()
    for (const peer of this.peers) this.drop(peer)
    this.#isStopped = true
    this.#cancelTimer()
  }

  #step(input: LinksInput): void {
    if (this.#isStopped) return
    this.#effects.push(...this.#links.step(input, this.#deps.clock.now()))
    if (this.#isBusy) return
    this.#isBusy = true
    try {
      for (let effect = this.#effects.shift(); effect; effect = this.#effects.shift()) {
        this.#carryOut(effect)
      }
    } finally {
      this.#isBusy = false
    }
    this.#arm()
  }

  #carryOut(effect: LinksEffect): void {
    switch (effect.type) {
      case 'up':
        this.#listener.up(effect.peer)
        break
      case 'use':
        this.#listener.moved(effect.peer)
        break
      case 'down':
        this.#listener.down(effect.peer)
        break
      case 'ping':
        void this.#ping(effect.connection)
        break
      case 'close':
        void this.#close(effect.connection)
        break
      case 'cut': {
        const connection = this.#connections.get(effect.connection)
        const peer = connection?.remotePeer.toString()
        this.#deps.logger.log('info', 'connection cut', { peer, why: effect.why })
        connection?.abort(new Error(`cut: ${effect.why}`))
        break
      }
    }
  }

  /** Never rejects. */
  async #ping(name: ConnectionName): Promise<void> {
    const connection = this.#connections.get(name)
    if (connection === undefined) return
    const { clock } = this.#deps
    const startedAt = clock.now()
    try {
      const roundTripMs = await pingConnection(connection, this.#deps, this.#config.pingTimeoutMs)
      this.#step({ type: 'pong', connection: name, roundTripMs })
    } catch (error) {
      const elapsedMs = clock.now() - startedAt
      const peer = connection.remotePeer.toString()
      this.#deps.logger.log('debug', 'ping failed', { peer, elapsedMs, error: String(error) })
      this.#step({ type: 'silence', connection: name })
    }
  }

  /** Never rejects. */
  async #close(name: ConnectionName): Promise<void> {
    const connection = this.#connections.get(name)
    try {
      await connection?.close()
    } catch (error) {
      connection?.abort(new Error('could not be closed in order', { cause: error }))
    }
  }

  #arm(): void {
    this.#cancelTimer()
    if (this.#isStopped) return
    const at = this.#links.nextDeadline()
    if (at === undefined) return
    this.#cancelTimer = this.#deps.clock.schedule(at, () => this.#step({ type: 'tick' }))
  }
}
