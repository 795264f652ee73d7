/**
 * Which known peer is dialled when. Never gives up a known peer: an unreachable one is tried again
 * with exponential backoff and full jitter, for ever.
 *
 * Pure: {@link Reconnect.step} says what to do, {@link Reconnect.nextDeadline} when to call again.
 */
import type { MonotonicMs, NodeId, Random } from '@mycelium/interface'
import { DOUBLINGS_MAX } from '../constants.ts'
import { backoffMs } from './backoff.ts'

export interface ReconnectConfig {
  readonly peersMax: number
  readonly discoveredMax: number
  readonly addressesMax: number
  readonly dialsMax: number
  readonly delayMsMin: number
  readonly delayMsMax: number
  readonly discoveredDelayMsMax: number
  readonly stableMs: number
}

export type ReconnectInput =
  /** A member, and where it was last: replaces what was told before. */
  | { readonly type: 'learn'; readonly peer: NodeId; readonly addresses: readonly string[] }
  /** Somebody says that a peer is there; nobody vouches for it. */
  | { readonly type: 'discover'; readonly peer: NodeId; readonly addresses: readonly string[] }
  /** No member any more: is not dialled again. */
  | { readonly type: 'forget'; readonly peer: NodeId }
  | { readonly type: 'up'; readonly peer: NodeId }
  | { readonly type: 'down'; readonly peer: NodeId }
  /** A dial ended, well or not. Exactly one for each effect `dial`. */
  | { readonly type: 'dialled'; readonly peer: NodeId }
  /** The network changed: everybody is tried again soon. */
  | { readonly type: 'hurry' }
  | { readonly type: 'tick' }

export type ReconnectEffect =
  | { readonly type: 'dial'; readonly peer: NodeId; readonly addresses: readonly string[] }
  /** A dial under way is of no use any more; its `dialled` still comes. */
  | { readonly type: 'cancel'; readonly peer: NodeId }
  /** No room for another known peer: it was not taken. */
  | { readonly type: 'full'; readonly peer: NodeId }

export interface Reconnect {
  /** Known peers and the addresses told of them, discovered ones not. In the order of names. */
  readonly known: readonly { readonly peer: NodeId; readonly addresses: readonly string[] }[]
  step(input: ReconnectInput, now: MonotonicMs): ReconnectEffect[]
  nextDeadline(): MonotonicMs | undefined
}

interface Target {
  readonly peer: NodeId
  isKnown: boolean
  addresses: readonly string[]
  discovered: readonly string[]
  failures: number
  dueAt: MonotonicMs
}

export function createReconnect(
  { random }: { readonly random: Random },
  config: ReconnectConfig,
): Reconnect {
  return new ReconnectCore(random, config)
}

class ReconnectCore implements Reconnect {
  readonly #random: Random
  readonly #config: ReconnectConfig
  readonly #targets = new Map<NodeId, Target>()
  readonly #dialling = new Set<NodeId>()
  readonly #upSince = new Map<NodeId, MonotonicMs>()

  constructor(random: Random, config: ReconnectConfig) {
    this.#random = random
    this.#config = config
  }

  get known(): readonly { readonly peer: NodeId; readonly addresses: readonly string[] }[] {
    return [...this.#targets.values()]
      .filter(({ isKnown }) => isKnown)
      .map(({ peer, addresses }) => ({ peer, addresses }))
      .sort((a, b) => compare(a.peer, b.peer))
  }

  step(input: ReconnectInput, now: MonotonicMs): ReconnectEffect[] {
    const effects: ReconnectEffect[] = []
    switch (input.type) {
      case 'learn':
        this.#learn(input.peer, input.addresses, now, effects)
        break
      case 'discover':
        this.#discover(input.peer, input.addresses, now)
        break
      case 'forget':
        this.#targets.delete(input.peer)
        if (this.#dialling.has(input.peer)) effects.push({ type: 'cancel', peer: input.peer })
        break
      case 'up':
        this.#upSince.set(input.peer, now)
        break
      case 'down':
        this.#down(input.peer, now)
        break
      case 'dialled':
        this.#dialled(input.peer, now)
        break
      case 'hurry':
        for (const target of this.#targets.values()) {
          target.dueAt = Math.min(target.dueAt, now + this.#delayMs(target, 0))
        }
        break
      case 'tick':
        break
    }
    this.#dial(now, effects)
    return effects
  }

  nextDeadline(): MonotonicMs | undefined {
    if (this.#dialling.size >= this.#config.dialsMax) return undefined
    let deadline: MonotonicMs | undefined
    for (const target of this.#targets.values()) {
      if (!this.#isWanted(target)) continue
      if (deadline === undefined || target.dueAt < deadline) deadline = target.dueAt
    }
    return deadline
  }

  #learn(
    peer: NodeId,
    addresses: readonly string[],
    now: MonotonicMs,
    effects: ReconnectEffect[],
  ): void {
    const told = [...new Set(addresses)].slice(0, this.#config.addressesMax)
    const target = this.#targets.get(peer)
    if (target?.isKnown !== true && this.#count(true) >= this.#config.peersMax) {
      effects.push({ type: 'full', peer })
      return
    }
    if (target === undefined) {
      this.#add(peer, { isKnown: true, addresses: told, discovered: [] }, now)
      return
    }
    const isNews = !target.isKnown || told.some((address) => !target.addresses.includes(address))
    target.isKnown = true
    target.addresses = told
    // A new address is new hope; the count of failures stays, should the hope be vain.
    if (isNews) target.dueAt = Math.min(target.dueAt, now + this.#delayMs(target, 0))
  }

  /** What anybody in the local network may say adds to what was told, and never replaces it. */
  #discover(peer: NodeId, addresses: readonly string[], now: MonotonicMs): void {
    const discovered = [...new Set(addresses)].slice(0, this.#config.addressesMax)
    const target = this.#targets.get(peer)
    if (target !== undefined) {
      target.discovered = discovered
      return
    }
    if (this.#count(false) >= this.#config.discoveredMax && !this.#evictDiscovered()) return
    this.#add(peer, { isKnown: false, addresses: [], discovered }, now)
  }

  /** Makes room at the cost of the discovered peer that failed most; oldest first. */
  #evictDiscovered(): boolean {
    let worst: Target | undefined
    for (const target of this.#targets.values()) {
      if (target.isKnown || this.#upSince.has(target.peer)) continue
      if (this.#dialling.has(target.peer)) continue
      if (worst === undefined || target.failures > worst.failures) worst = target
    }
    return worst !== undefined && this.#targets.delete(worst.peer)
  }

  #count(isKnown: boolean): number {
    let count = 0
    for (const target of this.#targets.values()) if (target.isKnown === isKnown) count++
    return count
  }

  #add(
    peer: NodeId,
    what: Pick<Target, 'isKnown' | 'addresses' | 'discovered'>,
    now: MonotonicMs,
  ): void {
    const target = { peer, ...what, failures: 0, dueAt: now }
    // The first dial waits a moment as well, so that a network that starts does not dial in step.
    target.dueAt = now + this.#delayMs(target, 0)
    this.#targets.set(peer, target)
  }

  #down(peer: NodeId, now: MonotonicMs): void {
    const upSince = this.#upSince.get(peer)
    if (upSince === undefined) return
    this.#upSince.delete(peer)
    const target = this.#targets.get(peer)
    if (target === undefined) return
    // A peer that takes connections and drops them must not be dialled without end.
    if (now - upSince >= this.#config.stableMs) target.failures = 0
    else target.failures++
    target.dueAt = now + this.#delayMs(target, target.failures)
  }

  #dialled(peer: NodeId, now: MonotonicMs): void {
    this.#dialling.delete(peer)
    const target = this.#targets.get(peer)
    if (target === undefined || this.#upSince.has(peer)) return
    target.failures++
    target.dueAt = now + this.#delayMs(target, target.failures)
  }

  #delayMs({ isKnown }: Pick<Target, 'isKnown'>, failures: number): number {
    const { delayMsMin, delayMsMax, discoveredDelayMsMax } = this.#config
    const range = { delayMsMin, delayMsMax: isKnown ? delayMsMax : discoveredDelayMsMax }
    return backoffMs(this.#random, failures, range)
  }

  #isWanted(target: Target): boolean {
    const { peer, addresses, discovered } = target
    if (this.#upSince.has(peer) || this.#dialling.has(peer)) return false
    return addresses.length > 0 || discovered.length > 0
  }

  /** Those that failed least come first: peers gone for good do not hold up the others. */
  #dial(now: MonotonicMs, effects: ReconnectEffect[]): void {
    const free = this.#config.dialsMax - this.#dialling.size
    if (free <= 0) return
    const due: Target[] = []
    for (const target of this.#targets.values()) {
      if (target.dueAt <= now && this.#isWanted(target)) due.push(target)
    }
    const rank = ({ failures }: Target): number => Math.min(failures, DOUBLINGS_MAX)
    due.sort((a, b) => rank(a) - rank(b) || a.dueAt - b.dueAt || compare(a.peer, b.peer))
    for (const target of due.slice(0, free)) {
      const { peer } = target
      this.#dialling.add(peer)
      effects.push({ type: 'dial', peer, addresses: this.#addressesOf(target) })
    }
  }

  /** Begins with another one at each try: the first may swallow all the time of a dial. */
  #addressesOf({ addresses, discovered, failures }: Target): string[] {
    const all = [...new Set([...addresses, ...discovered])].slice(0, this.#config.addressesMax)
    const first = failures % all.length
    return [...all.slice(first), ...all.slice(0, first)]
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
