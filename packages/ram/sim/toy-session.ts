import { chance, type ToyWorld } from './toy-world.ts'

/** Who holds one end of a session. */
export interface Receiver {
  receive(bytes: Uint8Array): void
  /** The session is gone. Not called after {@link SessionEnd.abort} at this end. */
  lost(): void
}

export interface SessionEnd {
  readonly isOpen: boolean
  send(bytes: Uint8Array): void
  /** At once here; the other end hears of it later. */
  abort(): void
}

/** How long a session lives on once it broke its promise to deliver all, once and in order. */
const DOOMED_MS = 300

/**
 * What a BulkChannel does, and what it must not: in order, exactly once, until it is lost. Each end
 * learns of a loss at a time of its own; what was sent before may or may not arrive.
 */
export class Session {
  readonly ends: readonly [ToyEnd, ToyEnd]
  readonly #world: ToyWorld
  #isDoomed = false

  constructor(world: ToyWorld) {
    this.#world = world
    const one = new ToyEnd(world, this)
    const other = new ToyEnd(world, this)
    one.peer = other
    other.peer = one
    this.ends = [one, other]
  }

  /** No promise was broken. */
  get isHonest(): boolean {
    return !this.#isDoomed
  }

  /** The same, and both ends are open. */
  get isWell(): boolean {
    return this.isHonest && this.ends.every((end) => end.isOpen)
  }

  get isOver(): boolean {
    return this.ends.every((end) => !end.isOpen)
  }

  lose(): void {
    const { clock, random, faults } = this.#world
    for (const end of this.ends) {
      clock.schedule(clock.now() + random.below(2 * faults.delayMsMax + 1), () => {
        end.fail()
      })
    }
  }

  /** A promise was broken: real sessions notice, sooner or later. */
  doom(): void {
    if (this.#isDoomed) return
    this.#isDoomed = true
    const { clock, random } = this.#world
    clock.schedule(clock.now() + random.below(DOOMED_MS), () => {
      this.lose()
    })
  }
}

export class ToyEnd implements SessionEnd {
  readonly #world: ToyWorld
  readonly #session: Session
  readonly #early: Uint8Array[] = []
  #receiver: Receiver | undefined
  #lastArrival = 0
  peer: ToyEnd | undefined
  isOpen = true

  constructor(world: ToyWorld, session: Session) {
    this.#world = world
    this.#session = session
  }

  get isHonest(): boolean {
    return this.#session.isHonest
  }

  get isWell(): boolean {
    return this.#session.isWell
  }

  /** What arrived before is delivered now. */
  hold(receiver: Receiver): void {
    this.#receiver = receiver
    for (const bytes of this.#early.splice(0)) receiver.receive(bytes)
  }

  send(bytes: Uint8Array): void {
    const world = this.#world
    if (!this.isOpen || this.peer === undefined) return
    let message = bytes.slice()
    if (this.#breaks('drop')) return
    if (this.#breaks('corrupt')) {
      const at = world.random.below(message.length)
      message = message.with(at, (message[at] ?? 0) ^ (1 << world.random.below(8)))
    }
    if (this.#breaks('duplicate')) this.peer.#arrive(message.slice(), this.#delay(40))
    if (this.#breaks('swap')) this.peer.#arrive(message, this.#delay(20))
    else this.peer.#arrive(message, this.#inOrder())
  }

  #breaks(fault: 'drop' | 'corrupt' | 'duplicate' | 'swap'): boolean {
    if (!chance(this.#world, this.#world.faults[fault])) return false
    this.#world.coverage.hit(`message: ${fault}`)
    this.#session.doom()
    return true
  }

  #delay(extraMs = 0): number {
    const { clock, random, faults } = this.#world
    return clock.now() + 1 + random.below(faults.delayMsMax + extraMs)
  }

  #inOrder(): number {
    this.#lastArrival = Math.max(this.#lastArrival, this.#delay())
    return this.#lastArrival
  }

  #arrive(bytes: Uint8Array, at: number): void {
    this.#world.clock.schedule(at, () => {
      if (!this.isOpen) return
      this.#world.trace.add(`${at} ${bytes[5]} ${bytes.length}`)
      if (this.#receiver === undefined) this.#early.push(bytes)
      else this.#receiver.receive(bytes)
    })
  }

  abort(): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.#session.lose()
  }

  fail(): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.#receiver?.lost()
  }
}
