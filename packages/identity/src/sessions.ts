import type { Clock, MonotonicMs, NodeId } from '@mycelium/interface'
import { SESSION_MS } from './constants.ts'
import type { ProvenPeer } from './core/handshake.ts'
import { nodeIdOf } from './core/ids.ts'

/** A proof of membership, on whatever connections there are to the node. */
export interface Session {
  readonly node: NodeId
  readonly peer: ProvenPeer
  readonly address: string
  readonly provenAt: MonotonicMs
  /** When it must have been proved again. */
  readonly endsAt: MonotonicMs
}

/** The latest proof of each peer; bounded by the connections that a host allows. */
export class Sessions {
  readonly #clock: Clock
  readonly #byNode = new Map<NodeId, Session>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  prove(peer: ProvenPeer, address: string): Session {
    const node = nodeIdOf(peer.publicKey)
    const provenAt = this.#clock.now()
    const session = { node, peer, address, provenAt, endsAt: provenAt + SESSION_MS }
    this.#byNode.set(node, session)
    return session
  }

  get(node: NodeId): Session | undefined {
    return this.#byNode.get(node)
  }

  /** A copy: it may change while somebody goes through it. */
  all(): readonly Session[] {
    return [...this.#byNode.values()]
  }

  end(node: NodeId): void {
    this.#byNode.delete(node)
  }
}
