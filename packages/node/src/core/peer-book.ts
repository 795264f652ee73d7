/**
 * Who is where, as members tell each other: each announces its own addresses under a version that
 * only grows, everybody passes on what is newer. Pure.
 *
 * What is told of others is believed without proof: a wrong address leads to a node that cannot
 * prove the identity that was asked for.
 */
import type { MonotonicMs, NodeId, UnixMs } from '@mycelium/interface'

export interface Announcement {
  readonly node: NodeId
  /** Newer ones are larger: milliseconds since 1970 when it was made, at least. */
  readonly version: number
  /** Multiaddrs. */
  readonly addresses: readonly string[]
}

export type PeerBookInput =
  /** The own addresses, at the start and when they change. */
  | { readonly type: 'self'; readonly addresses: readonly string[] }
  | { readonly type: 'up'; readonly peer: NodeId }
  | { readonly type: 'down'; readonly peer: NodeId }
  | {
      readonly type: 'told'
      readonly by: NodeId
      readonly announcements: readonly Announcement[]
    }
  /** It is a member no more. */
  | { readonly type: 'forget'; readonly node: NodeId }
  | { readonly type: 'tick' }

export type PeerBookEffect =
  /** Best effort: what is lost comes again. */
  | {
      readonly type: 'tell'
      readonly to: NodeId
      readonly announcements: readonly Announcement[]
    }
  | { readonly type: 'learn'; readonly node: NodeId; readonly addresses: readonly string[] }
  /** The book has changed: worth keeping. */
  | { readonly type: 'changed' }

/** Others that are remembered. */
export const PEERS_MAX = 1_024
/** In one message, of which each has at most {@link ADDRESSES_MAX} of {@link ADDRESS_CHARS_MAX}. */
export const ANNOUNCEMENTS_MAX = 32
export const ADDRESSES_MAX = 16
export const ADDRESS_CHARS_MAX = 256
/** How often one of the connected peers is told everything. Shorter repairs losses sooner, and
 * costs the whole book each time. */
export const REPEAT_MS = 10_000
/** A version so far ahead of our clock was made up: it could never be outdone. */
export const AHEAD_MS_MAX = 86_400_000

export interface PeerBookTime {
  readonly now: MonotonicMs
  readonly unixMs: UnixMs
}

export class PeerBook {
  readonly #self: NodeId
  readonly #known = new Map<NodeId, Announcement>()
  readonly #connected = new Set<NodeId>()
  #own: Announcement | undefined
  #repeatAt: MonotonicMs | undefined
  /** Whose turn it is to be told everything. */
  #turn = 0

  /** @param kept - {@link others} of an earlier life; above the bound the rest is ignored */
  constructor(self: NodeId, kept: readonly Announcement[] = []) {
    this.#self = self
    for (const one of kept.slice(0, PEERS_MAX)) this.#known.set(one.node, one)
    this.#known.delete(self)
  }

  /** All, the own one included. */
  get announcements(): readonly Announcement[] {
    return [...(this.#own ? [this.#own] : []), ...this.#known.values()]
  }

  /** What is worth keeping for the next life, which may have another key and id. */
  get others(): readonly Announcement[] {
    return [...this.#known.values()]
  }

  addressesOf(node: NodeId): readonly string[] {
    return this.#known.get(node)?.addresses ?? []
  }

  nextDeadline(): MonotonicMs | undefined {
    return this.#repeatAt
  }

  step(input: PeerBookInput, time: PeerBookTime): PeerBookEffect[] {
    switch (input.type) {
      case 'self':
        return this.#announce(input.addresses, time)
      case 'up':
        this.#connected.add(input.peer)
        this.#repeatAt ??= time.now + REPEAT_MS
        return this.#tellAll(input.peer)
      case 'down':
        this.#connected.delete(input.peer)
        if (this.#connected.size === 0) this.#repeatAt = undefined
        return []
      case 'told':
        return this.#take(input.by, input.announcements, time)
      case 'forget':
        return this.#known.delete(input.node) ? [{ type: 'changed' }] : []
      case 'tick':
        return this.#tick(time)
    }
  }

  #announce(addresses: readonly string[], { unixMs }: PeerBookTime): PeerBookEffect[] {
    const shown = addresses.filter(isAddress).slice(0, ADDRESSES_MAX)
    const last = this.#own
    if (last !== undefined && isSame(last.addresses, shown)) return []
    // Also after the clock was set back.
    const version = Math.max(unixMs, (last?.version ?? 0) + 1)
    this.#own = { node: this.#self, version, addresses: shown }
    return [{ type: 'changed' }, ...this.#flood([this.#own])]
  }

  #take(
    by: NodeId,
    announcements: readonly Announcement[],
    { unixMs }: PeerBookTime,
  ): PeerBookEffect[] {
    const newer: Announcement[] = []
    const effects: PeerBookEffect[] = []
    for (const { node, version, addresses } of announcements.slice(0, ANNOUNCEMENTS_MAX)) {
      if (version > unixMs + AHEAD_MS_MAX) continue
      if (node === this.#self) {
        effects.push(...this.#outdo(version))
        continue
      }
      const known = this.#known.get(node)
      if (known === undefined ? this.#known.size >= PEERS_MAX : version <= known.version) continue
      const proper = addresses.filter(isAddress).slice(0, ADDRESSES_MAX)
      const one = { node, version, addresses: proper }
      this.#known.set(node, one)
      newer.push(one)
      if (proper.length > 0) effects.push({ type: 'learn', node, addresses: proper })
    }
    if (newer.length === 0) return effects
    return [{ type: 'changed' }, ...effects, ...this.#flood(newer, by)]
  }

  /** Somebody knows an announcement of an earlier life that this one has forgotten. */
  #outdo(version: number): PeerBookEffect[] {
    if (this.#own === undefined || version < this.#own.version) return []
    if (version === this.#own.version) return []
    this.#own = { ...this.#own, version: version + 1 }
    return [{ type: 'changed' }, ...this.#flood([this.#own])]
  }

  #tick({ now }: PeerBookTime): PeerBookEffect[] {
    if (this.#repeatAt === undefined || now < this.#repeatAt) return []
    this.#repeatAt = now + REPEAT_MS
    const peers = [...this.#connected]
    const peer = peers[this.#turn++ % Math.max(1, peers.length)]
    return peer === undefined ? [] : this.#tellAll(peer)
  }

  #tellAll(to: NodeId): PeerBookEffect[] {
    return inParts(this.announcements).map((announcements) => ({ type: 'tell', to, announcements }))
  }

  #flood(announcements: readonly Announcement[], except?: NodeId): PeerBookEffect[] {
    return [...this.#connected]
      .filter((peer) => peer !== except)
      .map((to) => ({ type: 'tell', to, announcements }))
  }
}

function isAddress(text: string): boolean {
  return text.length > 0 && text.length <= ADDRESS_CHARS_MAX && text.startsWith('/')
}

function isSame(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, at) => text === other[at])
}

function inParts(all: readonly Announcement[]): (readonly Announcement[])[] {
  const parts: (readonly Announcement[])[] = []
  for (let at = 0; at < all.length; at += ANNOUNCEMENTS_MAX) {
    parts.push(all.slice(at, at + ANNOUNCEMENTS_MAX))
  }
  return parts
}
