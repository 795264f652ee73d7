import type { BulkPriority } from '@mycelium/interface'
import type { World } from '@mycelium/simulator'
import {
  type ChannelDecoder,
  encodeFrame,
  encodeHello,
  type WireFrame,
} from '../src/channel-wire.ts'
import type { Session } from '../src/core/session.ts'
import type { OutgoingMessage, SessionEffect, SessionInput } from '../src/core/session-types.ts'

/** Bytes that a simulated stream takes before it asks to wait. */
const STREAM_BYTES_MAX = 300
const INTRODUCTION = { sessionId: new Uint8Array(16), from: 'o', to: 'a', purpose: 'sim' }

/**
 * One direction of a connection. What is written is read in place, a random number of bytes at a
 * time, some time later; arrives after a random delay, in order; and vanishes from a random byte
 * on.
 */
export class SimStream {
  readonly #world: World
  readonly #arrive: (bytes: Uint8Array) => void
  readonly #writable: () => void
  readonly #queue: Uint8Array[] = []
  #queuedBytes = 0
  #bytesLeft: number
  readonly #delayMs: number
  #lastArrival = 0
  #busy = false
  #isOpen = true
  /** Called once, when the first byte has vanished. */
  onCut: () => void = () => {}

  constructor(
    world: World,
    init: {
      bytesLeft: number
      delayMs: number
      arrive: (bytes: Uint8Array) => void
      writable: () => void
    },
  ) {
    this.#world = world
    this.#bytesLeft = init.bytesLeft
    this.#delayMs = init.delayMs
    this.#arrive = init.arrive
    this.#writable = init.writable
  }

  get takesMore(): boolean {
    return this.#isOpen && this.#queuedBytes < STREAM_BYTES_MAX
  }

  write(parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      this.#queue.push(part)
      this.#queuedBytes += part.byteLength
    }
    this.#work()
  }

  /** The writer lets go: nothing more is read from its memory; what is under way still arrives. */
  close(): void {
    this.#isOpen = false
    this.#queue.length = 0
  }

  #work(): void {
    if (this.#busy || !this.#isOpen || this.#queue.length === 0) return
    this.#busy = true
    const { clock, random } = this.#world
    clock.schedule(clock.now() + random.below(3), () => {
      this.#busy = false
      const wasFull = !this.takesMore
      this.#transmit(1 + random.below(200))
      if (wasFull && this.takesMore) this.#writable()
      this.#work()
    })
  }

  #transmit(bytesMax: number): void {
    const { clock, random } = this.#world
    const first = this.#queue[0]
    if (first === undefined || !this.#isOpen) return
    const size = Math.min(bytesMax, first.byteLength)
    const sent = Uint8Array.from(first.subarray(0, Math.min(size, this.#bytesLeft)))
    if (size < first.byteLength) this.#queue[0] = first.subarray(size)
    else this.#queue.shift()
    this.#queuedBytes -= size
    if (sent.byteLength > 0) {
      const at = Math.max(this.#lastArrival, clock.now() + this.#delayMs + 1 + random.below(10))
      this.#lastArrival = at
      clock.schedule(at, () => this.#arrive(sent))
    }
    const vanished = this.#bytesLeft > 0 && this.#bytesLeft <= size
    this.#bytesLeft -= sent.byteLength
    if (vanished) this.onCut()
  }
}

/** A message of the simulation: its content follows from class and number. */
export interface SimMessage extends OutgoingMessage {
  readonly number: number
  accepted: boolean
  releasedCount: number
  rejectedCount: number
}

export function contentOf(priority: BulkPriority, number: number, bytes: number): Uint8Array {
  const salt = priority === 'bulk' ? 7 : 131
  return Uint8Array.from({ length: bytes }, (_, index) => (number * 31 + index * 17 + salt) & 0xff)
}

/** The present connection of one end: where it writes, and how it lets go. */
export interface SimLink {
  readonly out: SimStream
  readonly decoder: ChannelDecoder
  /** Tells the other side, some time later. */
  readonly hangUp: () => void
}

/** What is needed around a session to run it: links by number, effects in order, one timer. */
export class SimEnd {
  readonly name: string
  readonly session: Session<SimMessage>
  readonly #world: World
  readonly #links = new Map<number, SimLink>()
  readonly #onEffect: (effect: SessionEffect<SimMessage>) => void
  #cancelTimer: () => void = () => {}
  isAlive = true

  constructor(
    world: World,
    name: string,
    session: Session<SimMessage>,
    onEffect: (effect: SessionEffect<SimMessage>) => void,
  ) {
    this.#world = world
    this.name = name
    this.session = session
    this.#onEffect = onEffect
  }

  step(input: SessionInput<SimMessage>): void {
    if (!this.isAlive) return
    this.carryOut(this.session.step(input, this.#world.clock.now()))
  }

  carryOut(effects: readonly SessionEffect<SimMessage>[]): void {
    for (const effect of effects) {
      this.#world.trace.add(`${this.#world.clock.now()} ${this.name} ${effect.type}`)
      if (effect.type === 'disconnect') this.drop(effect.link)
      if (effect.type === 'over') this.#letGo()
      this.#onEffect(effect)
    }
    this.pump()
    this.#arm()
  }

  attach(number: number, link: SimLink): void {
    this.#links.set(number, link)
  }

  drop(number: number): void {
    const link = this.#links.get(number)
    this.#links.delete(number)
    link?.out.close()
    link?.hangUp()
  }

  has(number: number): boolean {
    return this.#links.has(number)
  }

  /** Bytes arrived. */
  read(number: number, bytes: Uint8Array): void {
    const link = this.#links.get(number)
    if (link === undefined || !this.isAlive) return
    link.decoder.push(bytes, (frame: WireFrame) => {
      if (frame.type === 'hello') throw new Error('a second hello')
      this.step({ type: 'frame', link: number, frame })
    })
  }

  /** The other side hung up, or the cut was noticed. */
  gone(number: number): void {
    if (!this.isAlive || !this.#links.has(number)) return
    this.#links.get(number)?.out.close()
    this.#links.delete(number)
    this.step({ type: 'disconnected', link: number, why: 'cut' })
  }

  pump(): void {
    const link = [...this.#links.values()].at(-1)
    while (link?.out.takesMore === true) {
      const frame = this.session.poll()
      if (frame === undefined) return
      link.out.write(
        frame.type === 'hello' ? [encodeHello(frame, INTRODUCTION)] : encodeFrame(frame),
      )
    }
  }

  crash(): void {
    this.isAlive = false
    this.#cancelTimer()
    for (const number of [...this.#links.keys()]) this.drop(number)
  }

  #letGo(): void {
    const link = [...this.#links.entries()].at(-1)
    const frame = this.session.poll()
    if (link !== undefined && frame !== undefined && frame.type !== 'hello') {
      // Copied: nothing of the session's memory may be read after this moment.
      link[1].out.write(encodeFrame(frame))
      const { clock } = this.#world
      clock.schedule(clock.now() + 50, () => this.drop(link[0]))
    }
    for (const number of this.#links.keys()) if (number !== link?.[0]) this.drop(number)
  }

  #arm(): void {
    this.#cancelTimer()
    const at = this.session.nextDeadline()
    if (at === undefined || !this.isAlive) return
    this.#cancelTimer = this.#world.clock.schedule(at, () => this.step({ type: 'tick' }))
  }
}
