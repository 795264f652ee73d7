import type { Clock, Random } from '@mycelium/interface'
import type { Coverage } from './coverage.ts'
import type { Trace } from './trace.ts'

/** What a network does to messages. Rates in thousandths. */
export interface NetworkFaults {
  /** Shortest time under way, in milliseconds. @default 1 */
  readonly delayMsMin: number
  /** Longest time under way; uniform in between. @default 10 */
  readonly delayMsMax: number
  /** @default 0 */
  readonly lossPerMille: number
  /** @default 0 */
  readonly duplicationPerMille: number
  /** Whether a message may overtake another of the same sender and receiver. @default false */
  readonly reorders: boolean
}

export const RELIABLE_NETWORK: NetworkFaults = Object.freeze({
  delayMsMin: 1,
  delayMsMax: 10,
  lossPerMille: 0,
  duplicationPerMille: 0,
  reorders: false,
})

/** @returns the messages that leave: none, one, or several */
export type Tamper = (to: string, message: Uint8Array) => readonly Uint8Array[]

/** Best-effort messages between named nodes, in virtual time. */
export interface Network {
  readonly nodes: readonly string[]
  /** Delivers to `receive` what comes for `node`. Returns how to detach. One receiver per node. */
  attach(node: string, receive: (from: string, message: Uint8Array) => void): () => void
  /** Sends a copy. To a node that is not attached when it arrives, or over a cut: lost. */
  send(from: string, to: string, message: Uint8Array): void
  /** Changes the faults of all messages from now on. */
  setFaults(faults: Partial<NetworkFaults>): void
  /** Cuts one direction, also for what is under way. */
  cut(from: string, to: string): void
  mend(from: string, to: string): void
  /** Holds back what is sent on one direction for so long; then all of it arrives. */
  clog(from: string, to: string, ms: number): void
  /** A liar: what `node` sends is given to `change` first, which returns what leaves instead. */
  tamper(node: string, change: Tamper | undefined): void
  /** Only nodes of one group reach each other; nodes in no group reach nobody. A node in two groups
   * is a bridge between them. */
  partition(groups: readonly (readonly string[])[]): void
  /** Mends all cuts and clogs and the partition. Faults and liars stay as they are. */
  heal(): void
}

export interface NetworkDeps {
  readonly clock: Clock
  readonly random: Random
  readonly trace: Trace
  readonly coverage: Coverage
}

/** @throws {RangeError} a delay or a rate is out of bounds */
export function createNetwork(deps: NetworkDeps, init: Partial<NetworkFaults> = {}): Network {
  return new SeededNetwork(deps, init)
}

class SeededNetwork implements Network {
  readonly #deps: NetworkDeps
  readonly #receivers = new Map<string, (from: string, message: Uint8Array) => void>()
  readonly #cuts = new Set<string>()
  readonly #lastArrivals = new Map<string, number>()
  readonly #clogs = new Map<string, number>()
  readonly #tampers = new Map<string, Tamper>()
  #groups: readonly (readonly string[])[] | undefined
  #faults: NetworkFaults

  constructor(deps: NetworkDeps, init: Partial<NetworkFaults>) {
    this.#deps = deps
    this.#faults = checkFaults({ ...RELIABLE_NETWORK, ...init })
  }

  get nodes(): readonly string[] {
    return [...this.#receivers.keys()].sort()
  }

  attach(node: string, receive: (from: string, message: Uint8Array) => void): () => void {
    if (this.#receivers.has(node)) throw new TypeError(`node must be new, got ${node}`)
    this.#receivers.set(node, receive)
    return () => {
      if (this.#receivers.get(node) === receive) this.#receivers.delete(node)
    }
  }

  send(from: string, to: string, message: Uint8Array): void {
    const change = this.#tampers.get(from)
    const messages = change === undefined ? [message] : change(to, message.slice())
    for (const one of messages) this.#send(from, to, one.slice())
  }

  #send(from: string, to: string, copy: Uint8Array): void {
    const { random, coverage } = this.#deps
    if (this.#chance(this.#faults.lossPerMille)) {
      coverage.hit('message lost')
      this.#note('lost', from, to, copy)
      return
    }
    this.#deliverLater(from, to, copy)
    if (!this.#chance(this.#faults.duplicationPerMille)) return
    coverage.hit('message duplicated')
    // The second copy must not wait for the first: it may come long after.
    this.#deliverLater(from, to, copy.slice(), random.below(this.#faults.delayMsMax + 1))
  }

  setFaults(faults: Partial<NetworkFaults>): void {
    this.#faults = checkFaults({ ...this.#faults, ...faults })
  }

  cut(from: string, to: string): void {
    this.#cuts.add(linkName(from, to))
  }

  mend(from: string, to: string): void {
    this.#cuts.delete(linkName(from, to))
  }

  clog(from: string, to: string, ms: number): void {
    this.#clogs.set(linkName(from, to), this.#deps.clock.now() + ms)
  }

  tamper(node: string, change: Tamper | undefined): void {
    if (change === undefined) this.#tampers.delete(node)
    else this.#tampers.set(node, change)
  }

  partition(groups: readonly (readonly string[])[]): void {
    this.#groups = groups
  }

  heal(): void {
    this.#cuts.clear()
    this.#clogs.clear()
    this.#groups = undefined
  }

  #chance(perMille: number): boolean {
    return perMille > 0 && this.#deps.random.below(1_000) < perMille
  }

  #deliverLater(from: string, to: string, message: Uint8Array, extraMs = 0): void {
    const { clock, random, coverage } = this.#deps
    const { delayMsMin, delayMsMax, reorders } = this.#faults
    const delayMs = delayMsMin + random.below(delayMsMax - delayMsMin + 1) + extraMs
    const link = linkName(from, to)
    const last = this.#lastArrivals.get(link) ?? 0
    const clogged = this.#clogs.get(link) ?? 0
    if (clogged > clock.now()) coverage.hit('message clogged')
    let at = Math.max(clock.now() + delayMs, clogged)
    if (at < last && reorders) coverage.hit('message overtook another')
    if (!reorders) at = Math.max(at, last)
    this.#lastArrivals.set(link, Math.max(at, last))
    clock.schedule(at, () => this.#deliver(from, to, message))
  }

  #deliver(from: string, to: string, message: Uint8Array): void {
    const receive = this.#receivers.get(to)
    if (receive === undefined || !this.#isConnected(from, to)) {
      this.#deps.coverage.hit('message cut off')
      this.#note('cut', from, to, message)
      return
    }
    this.#note('got', from, to, message)
    receive(from, message)
  }

  #isConnected(from: string, to: string): boolean {
    if (this.#cuts.has(linkName(from, to))) return false
    const groups = this.#groups
    return (
      groups === undefined || groups.some((group) => group.includes(from) && group.includes(to))
    )
  }

  #note(what: string, from: string, to: string, message: Uint8Array): void {
    const { clock, trace } = this.#deps
    trace.add(`${clock.now()} ${what} ${from}>${to} ${Buffer.from(message).toString('latin1')}`)
  }
}

/** No name has a zero in it. */
function linkName(from: string, to: string): string {
  return `${from}\0${to}`
}

function checkFaults(faults: NetworkFaults): NetworkFaults {
  const { delayMsMin, delayMsMax, lossPerMille, duplicationPerMille } = faults
  const check = (name: string, value: number, min: number, max: number): void => {
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new RangeError(`${name} must be an integer in ${min}..${max}, got ${value}`)
    }
  }
  check('delayMsMin', delayMsMin, 0, 2 ** 31)
  check('delayMsMax', delayMsMax, delayMsMin, 2 ** 31)
  check('lossPerMille', lossPerMille, 0, 1_000)
  check('duplicationPerMille', duplicationPerMille, 0, 1_000)
  return faults
}
