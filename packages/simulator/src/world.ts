import type { Clock, MonotonicMs, Random } from '@mycelium/interface'
import { type Coverage, createCoverage } from './coverage.ts'
import { createNetwork, type Network, type NetworkFaults } from './network.ts'
import type { SimulationResult } from './run-seeds.ts'
import { createSeededRandom } from './seeded-random.ts'
import { createTrace, type Trace } from './trace.ts'
import { createVirtualClock, type VirtualClock } from './virtual-clock.ts'

export interface WorldInit {
  readonly seed: number
  readonly network?: Partial<NetworkFaults>
  /** Trace events to keep as text. @default 0 */
  readonly keepTrace?: number
}

/** What a simulated process sees of the world. Dead once the process has crashed. */
export interface Host {
  readonly name: string
  /** 1 for the first life, growing with each restart. */
  readonly incarnation: number
  /** Its callbacks die with the process. */
  readonly clock: Clock
  readonly random: Random
  send(to: string, message: Uint8Array): void
}

/**
 * Starts a process. What must survive a crash (a disk) is kept outside of it by the caller. Returns
 * what receives messages.
 */
export type Boot = (host: Host) => (from: string, message: Uint8Array) => void

export interface SimulatedProcess {
  readonly name: string
  readonly isRunning: boolean
  /** At once: timers and messages for it are gone. Idempotent. */
  crash(): void
  /** @throws {TypeError} it is running */
  restart(): void
  /** Frozen: its timers and messages wait, in order, until `resume` or a crash. Idempotent. */
  pause(): void
  resume(): void
  readonly isPaused: boolean
  /** Speed of its machine's clock, in thousandths: 1000 is right. Outlives restarts.
   * @throws {RangeError} not an integer in 1..1_000_000 */
  setClockRate(perMille: number): void
  /** Its clock goes forward at once, as after a suspend. @throws {RangeError} backwards */
  leapClock(ms: number): void
  /** Its wall clock is set, forward or backward. */
  setWallClock(byMs: number): void
}

/** Clock, random numbers, network, processes and records of one seed. */
export interface World {
  readonly clock: VirtualClock
  readonly random: Random
  readonly network: Network
  readonly trace: Trace
  readonly coverage: Coverage
  start(name: string, boot: Boot): SimulatedProcess
  /** What a simulation returns. */
  result(): SimulationResult
}

export function createWorld({ seed, network = {}, keepTrace = 0 }: WorldInit): World {
  const clock = createVirtualClock()
  const random = createSeededRandom(seed)
  const trace = createTrace({ keep: keepTrace })
  const coverage = createCoverage()
  const deps = { clock, random: random.fork('network'), trace, coverage }
  const world = { clock, random, trace, coverage, network: createNetwork(deps, network) }
  return {
    ...world,
    start: (name, boot) => new Process(world, name, boot),
    result: () => ({
      traceHash: trace.hash,
      coverage: coverage.counts,
      virtualMs: clock.now(),
    }),
  }
}

class Process implements SimulatedProcess {
  readonly name: string
  readonly #world: Omit<World, 'start' | 'result'>
  readonly #boot: Boot
  readonly #machine: MachineClock
  #incarnation = 0
  #kill: (() => void) | undefined
  /** While it is frozen: what waits. */
  #frozen: (() => void)[] | undefined

  constructor(world: Omit<World, 'start' | 'result'>, name: string, boot: Boot) {
    this.#world = world
    this.name = name
    this.#boot = boot
    this.#machine = new MachineClock(world.clock)
    this.restart()
  }

  get isRunning(): boolean {
    return this.#kill !== undefined
  }

  get isPaused(): boolean {
    return this.#frozen !== undefined
  }

  crash(): void {
    if (this.#kill === undefined) return
    this.#kill()
    this.#kill = undefined
    this.#frozen = undefined
    this.#hit('process crashed', 'crash')
  }

  restart(): void {
    if (this.#kill !== undefined) throw new TypeError(`process must be down, ${this.name} runs`)
    const { clock, random, network, trace } = this.#world
    const incarnation = ++this.#incarnation
    let isAlive = true
    const run = (task: () => void): void => {
      if (this.#frozen !== undefined) this.#frozen.push(() => (isAlive ? task() : undefined))
      else task()
    }
    const own = new MortalClock(this.#machine, run)
    trace.add(`${clock.now()} start ${this.name} ${incarnation}`)
    const receive = this.#boot({
      name: this.name,
      incarnation,
      clock: own,
      random: random.fork(`${this.name}/${incarnation}`),
      send: (to, message) => {
        if (isAlive) network.send(this.name, to, message)
      },
    })
    const detach = network.attach(this.name, (from, message) => run(() => receive(from, message)))
    this.#kill = () => {
      isAlive = false
      own.die()
      detach()
    }
  }

  pause(): void {
    if (this.#kill === undefined || this.#frozen !== undefined) return
    this.#frozen = []
    this.#hit('process paused', 'pause')
  }

  resume(): void {
    const waiting = this.#frozen
    if (waiting === undefined) return
    this.#frozen = undefined
    this.#world.trace.add(`${this.#world.clock.now()} resume ${this.name}`)
    for (const task of waiting) task()
  }

  setClockRate(perMille: number): void {
    this.#machine.setRate(perMille)
    this.#hit('clock rate changed', `clock rate ${perMille}`)
  }

  leapClock(ms: number): void {
    this.#machine.leap(ms)
    this.#hit('clock leapt', `clock leap ${ms}`)
  }

  setWallClock(byMs: number): void {
    this.#machine.unixOffsetMs += byMs
    this.#hit('wall clock set', `wall clock ${byMs}`)
  }

  #hit(event: string, words: string): void {
    const { coverage, trace, clock } = this.#world
    coverage.hit(event)
    trace.add(`${clock.now()} ${words} ${this.name}`)
  }
}

interface Timer {
  readonly at: MonotonicMs
  readonly callback: () => void
  cancel: () => void
}

/** The clock of one machine: as fast as it is told, in whole milliseconds. */
class MachineClock implements Clock {
  readonly #world: Clock
  readonly #timers = new Set<Timer>()
  #perMille = 1_000
  /** Own time at a moment of the world's. */
  #base: { readonly own: MonotonicMs; readonly world: MonotonicMs } = { own: 0, world: 0 }
  unixOffsetMs = 0

  constructor(world: Clock) {
    this.#world = world
  }

  now(): MonotonicMs {
    const { own, world } = this.#base
    const sinceMs = this.#world.now() - world
    return own + (this.#perMille === 1_000 ? sinceMs : Math.floor((sinceMs * this.#perMille) / 1e3))
  }

  unixMs(): number {
    return this.#world.unixMs() - this.#world.now() + this.now() + this.unixOffsetMs
  }

  schedule(at: MonotonicMs, callback: () => void): () => void {
    const timer: Timer = { at, callback, cancel: () => {} }
    this.#arm(timer)
    this.#timers.add(timer)
    return () => {
      this.#timers.delete(timer)
      timer.cancel()
    }
  }

  setRate(perMille: number): void {
    if (!Number.isInteger(perMille) || perMille < 1 || perMille > 1_000_000) {
      throw new RangeError(`perMille must be an integer in 1..1000000, got ${perMille}`)
    }
    this.#base = { own: this.now(), world: this.#world.now() }
    this.#perMille = perMille
    this.#rearm()
  }

  leap(ms: number): void {
    if (!(ms >= 0 && ms < Infinity)) throw new RangeError(`ms must be 0 or more, got ${ms}`)
    this.#base = { own: this.now() + ms, world: this.#world.now() }
    this.#rearm()
  }

  #rearm(): void {
    for (const timer of this.#timers) {
      timer.cancel()
      this.#arm(timer)
    }
  }

  #arm(timer: Timer): void {
    const { own, world } = this.#base
    const untilMs = timer.at - own
    const at =
      this.#perMille === 1_000
        ? world + untilMs
        : world + Math.ceil((untilMs * 1e3) / this.#perMille)
    timer.cancel = this.#world.schedule(at, () => {
      this.#timers.delete(timer)
      timer.callback()
    })
  }
}

/** A machine's clock for one life of a process. */
class MortalClock implements Clock {
  readonly #clock: Clock
  readonly #run: (task: () => void) => void
  readonly #cancels = new Set<() => void>()
  #isAlive = true

  constructor(clock: Clock, run: (task: () => void) => void) {
    this.#clock = clock
    this.#run = run
  }

  now(): MonotonicMs {
    return this.#clock.now()
  }

  unixMs(): number {
    return this.#clock.unixMs()
  }

  schedule(at: MonotonicMs, callback: () => void): () => void {
    if (!this.#isAlive) return () => {}
    let isCancelled = false
    const stop = this.#clock.schedule(at, () => {
      // While the process is frozen it may still be cancelled by what runs before it.
      this.#run(() => {
        this.#cancels.delete(cancel)
        if (!isCancelled) callback()
      })
    })
    const cancel = (): void => {
      isCancelled = true
      this.#cancels.delete(cancel)
      stop()
    }
    this.#cancels.add(cancel)
    return cancel
  }

  die(): void {
    this.#isAlive = false
    for (const cancel of [...this.#cancels]) cancel()
  }
}
