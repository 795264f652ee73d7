/**
 * Which connection of each peer is used, whether it lives, and how long its round trip is.
 *
 * When both sides dial at once, two connections stand. Both sides rank them alike (direct before
 * relayed, then the one dialled by the smaller id, then the newer one) and use the best that has
 * answered a ping since; only the side with the smaller id closes the others, after a while for
 * what is under way on them. So one remains, and never none.
 *
 * Pure: {@link Links.step} says what to do, {@link Links.nextDeadline} when to call again.
 */
import type { MonotonicMs, NodeId, Random } from '@mycelium/interface'
import { median } from './median.ts'

export interface LinksConfig {
  readonly heartbeatMs: number
  readonly missesMax: number
  readonly roundTripsMax: number
  readonly lingerMs: number
  readonly connectionsPerPeerMax: number
}

/** Names a connection; never used twice. */
export type ConnectionName = number

export type LinksInput =
  | {
      readonly type: 'opened'
      readonly peer: NodeId
      readonly connection: ConnectionName
      readonly isOutbound: boolean
      readonly isRelayed: boolean
    }
  | { readonly type: 'closed'; readonly connection: ConnectionName }
  | {
      readonly type: 'pong'
      readonly connection: ConnectionName
      readonly roundTripMs: number
    }
  /** No answer in time. */
  | { readonly type: 'silence'; readonly connection: ConnectionName }
  /** The peer must go, now. */
  | { readonly type: 'drop'; readonly peer: NodeId }
  | { readonly type: 'tick' }

export type LinksEffect =
  /** The first connection of the peer stands, and is used. */
  | { readonly type: 'up'; readonly peer: NodeId; readonly connection: ConnectionName }
  /** Another connection is used from now on. */
  | { readonly type: 'use'; readonly peer: NodeId; readonly connection: ConnectionName }
  | { readonly type: 'down'; readonly peer: NodeId }
  /** To be answered by `pong` or `silence`, once. */
  | { readonly type: 'ping'; readonly connection: ConnectionName }
  /** Close it in order. */
  | { readonly type: 'close'; readonly connection: ConnectionName }
  /** Cut it. */
  | { readonly type: 'cut'; readonly connection: ConnectionName; readonly why: CutReason }

export type CutReason = 'silent' | 'dropped' | 'too-many'

export interface Links {
  readonly self: NodeId
  /** Peers with a connection. */
  readonly peers: readonly NodeId[]
  used(peer: NodeId): ConnectionName | undefined
  /** Median of the last round trips over the used connection, in milliseconds. */
  roundTripMs(peer: NodeId): number | undefined
  step(input: LinksInput, now: MonotonicMs): LinksEffect[]
  nextDeadline(): MonotonicMs | undefined
}

interface Link {
  readonly peer: NodeId
  readonly connection: ConnectionName
  readonly isOutbound: boolean
  readonly isRelayed: boolean
  /** Answered a ping since the last connection of the peer came. */
  isProved: boolean
  misses: number
  /** Absent: a ping is under way. */
  pingAt: MonotonicMs | undefined
  /** Not used any more; closed then. */
  closeAt: MonotonicMs | undefined
}

interface PeerLinks {
  readonly peer: NodeId
  readonly links: Map<ConnectionName, Link>
  used: Link
  roundTrips: number[]
}

export interface LinksDeps {
  readonly self: NodeId
  readonly random: Random
}

export function createLinks(deps: LinksDeps, config: LinksConfig): Links {
  return new LinksCore(deps, config)
}

class LinksCore implements Links {
  readonly self: NodeId
  readonly #random: Random
  readonly #config: LinksConfig
  readonly #peers = new Map<NodeId, PeerLinks>()
  readonly #links = new Map<ConnectionName, Link>()

  constructor({ self, random }: LinksDeps, config: LinksConfig) {
    this.self = self
    this.#random = random
    this.#config = config
  }

  get peers(): readonly NodeId[] {
    return [...this.#peers.keys()]
  }

  used(peer: NodeId): ConnectionName | undefined {
    return this.#peers.get(peer)?.used.connection
  }

  roundTripMs(peer: NodeId): number | undefined {
    return median(this.#peers.get(peer)?.roundTrips ?? [])
  }

  step(input: LinksInput, now: MonotonicMs): LinksEffect[] {
    const effects: LinksEffect[] = []
    switch (input.type) {
      case 'opened':
        this.#opened(input, now, effects)
        break
      case 'closed':
        this.#remove(input.connection, effects)
        break
      case 'pong':
        this.#pong(input.connection, input.roundTripMs, now, effects)
        break
      case 'silence':
        this.#silence(input.connection, now, effects)
        break
      case 'drop':
        this.#drop(input.peer, effects)
        break
      case 'tick':
        break
    }
    this.#tick(now, effects)
    return effects
  }

  nextDeadline(): MonotonicMs | undefined {
    let deadline: MonotonicMs | undefined
    for (const { pingAt, closeAt } of this.#links.values()) {
      for (const at of [pingAt, closeAt]) {
        if (at !== undefined && (deadline === undefined || at < deadline)) deadline = at
      }
    }
    return deadline
  }

  #opened(
    { peer, connection, isOutbound, isRelayed }: Extract<LinksInput, { type: 'opened' }>,
    now: MonotonicMs,
    effects: LinksEffect[],
  ): void {
    const entry = this.#peers.get(peer)
    if (entry !== undefined && entry.links.size >= this.#config.connectionsPerPeerMax) {
      effects.push({ type: 'cut', connection, why: 'too-many' })
      return
    }
    const link: Link = {
      ...{ peer, connection, isOutbound, isRelayed },
      ...{ isProved: false, misses: 0, pingAt: now, closeAt: undefined },
    }
    this.#links.set(connection, link)
    if (entry === undefined) {
      const links = new Map([[connection, link]])
      this.#peers.set(peer, { peer, links, used: link, roundTrips: [] })
      effects.push({ type: 'up', peer, connection })
      return
    }
    entry.links.set(connection, link)
    // Which of them live? The older ones may be the remains of a peer that started anew.
    for (const other of entry.links.values()) {
      other.isProved = false
      if (other.pingAt !== undefined) other.pingAt = now
    }
  }

  #remove(connection: ConnectionName, effects: LinksEffect[]): void {
    const link = this.#links.get(connection)
    if (link === undefined) return
    this.#links.delete(connection)
    const entry = this.#peers.get(link.peer)
    if (entry === undefined) return
    entry.links.delete(connection)
    if (entry.used !== link) return
    const best = this.#best(entry, { provedOnly: true }) ?? this.#best(entry, {})
    if (best === undefined) {
      this.#peers.delete(link.peer)
      effects.push({ type: 'down', peer: link.peer })
    } else {
      this.#use(entry, best, effects)
    }
  }

  #pong(
    connection: ConnectionName,
    roundTripMs: number,
    now: MonotonicMs,
    effects: LinksEffect[],
  ): void {
    const link = this.#links.get(connection)
    const entry = link && this.#peers.get(link.peer)
    if (link === undefined || entry === undefined) return
    link.isProved = true
    link.misses = 0
    link.pingAt = this.#nextPingAt(now)
    const best = this.#best(entry, { provedOnly: true })
    if (best !== undefined && best !== entry.used) this.#use(entry, best, effects)
    if (entry.used === link) {
      entry.roundTrips = [...entry.roundTrips, roundTripMs].slice(-this.#config.roundTripsMax)
    }
    // One side decides, or each might close the connection that the other keeps.
    if (this.self > entry.peer) return
    for (const other of entry.links.values()) {
      if (other !== entry.used) other.closeAt ??= now + this.#config.lingerMs
    }
  }

  #silence(connection: ConnectionName, now: MonotonicMs, effects: LinksEffect[]): void {
    const link = this.#links.get(connection)
    const entry = link && this.#peers.get(link.peer)
    if (link === undefined || entry === undefined) return
    link.isProved = false
    link.misses++
    const another = this.#best(entry, { provedOnly: true })
    if (link.misses < this.#config.missesMax && another === undefined) {
      // Sooner than usual; not at once, for it may have failed at once.
      link.pingAt = now + Math.floor(this.#config.heartbeatMs / 4)
      return
    }
    effects.push({ type: 'cut', connection, why: 'silent' })
    this.#remove(connection, effects)
  }

  #drop(peer: NodeId, effects: LinksEffect[]): void {
    const entry = this.#peers.get(peer)
    if (entry === undefined) return
    this.#peers.delete(peer)
    for (const connection of entry.links.keys()) {
      this.#links.delete(connection)
      effects.push({ type: 'cut', connection, why: 'dropped' })
    }
    effects.push({ type: 'down', peer })
  }

  #tick(now: MonotonicMs, effects: LinksEffect[]): void {
    for (const link of [...this.#links.values()]) {
      const entry = this.#peers.get(link.peer)
      if (entry?.used === link) link.closeAt = undefined
      if (link.closeAt !== undefined && link.closeAt <= now) {
        effects.push({ type: 'close', connection: link.connection })
        this.#remove(link.connection, effects)
      } else if (link.pingAt !== undefined && link.pingAt <= now) {
        link.pingAt = undefined
        effects.push({ type: 'ping', connection: link.connection })
      }
    }
  }

  #use(entry: PeerLinks, link: Link, effects: LinksEffect[]): void {
    entry.used = link
    entry.roundTrips = []
    effects.push({ type: 'use', peer: entry.peer, connection: link.connection })
  }

  #best(
    entry: PeerLinks,
    { provedOnly = false }: { readonly provedOnly?: boolean },
  ): Link | undefined {
    let best: Link | undefined
    for (const link of entry.links.values()) {
      if (provedOnly && !link.isProved) continue
      if (best === undefined || this.#isBetter(link, best)) best = link
    }
    return best
  }

  /** Both sides come to the same, but for connections of one dialler that came at one time. */
  #isBetter(a: Link, b: Link): boolean {
    if (a.isRelayed !== b.isRelayed) return b.isRelayed
    const dialledBySmaller = ({ isOutbound, peer }: Link): boolean =>
      isOutbound === this.self < peer
    const [aIsPreferred, bIsPreferred] = [dialledBySmaller(a), dialledBySmaller(b)]
    if (aIsPreferred !== bIsPreferred) return aIsPreferred
    return a.connection > b.connection
  }

  /** Plus or minus a quarter: nodes that started together do not ping together. */
  #nextPingAt(now: MonotonicMs): MonotonicMs {
    const { heartbeatMs } = this.#config
    const quarter = Math.floor(heartbeatMs / 4)
    return now + heartbeatMs - quarter + this.#random.below(2 * quarter + 1)
  }
}
