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
  #incarnation = 0
  #kill: (() => void) | undefined

  constructor(world: Omit<World, 'start' | 'result'>, name: string, boot: Boot) {
    this.#world = world
    this.name = name
    this.#boot = boot
    this.restart()
  }

  get isRunning(): boolean {
    return this.#kill !== undefined
  }

  crash(): void {
    if (this.#kill === undefined) return
    this.#kill()
    this.#kill = undefined
    this.#world.coverage.hit('process crashed')
    this.#world.trace.add(`${this.#world.clock.now()} crash ${this.name}`)
  }

  restart(): void {
    if (this.#kill !== undefined) throw new TypeError(`process must be down, ${this.name} runs`)
    const { clock, random, network, trace } = this.#world
    const incarnation = ++this.#incarnation
    const own = new MortalClock(clock)
    let isAlive = true
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
    const detach = network.attach(this.name, receive)
    this.#kill = () => {
      isAlive = false
      own.die()
      detach()
    }
  }
}

/** The world's clock for one life of a process. */
class MortalClock implements Clock {
  readonly #clock: Clock
  readonly #cancels = new Set<() => void>()
  #isAlive = true

  constructor(clock: Clock) {
    this.#clock = clock
  }

  now(): MonotonicMs {
    return this.#clock.now()
  }

  unixMs(): number {
    return this.#clock.unixMs()
  }

  schedule(at: MonotonicMs, callback: () => void): () => void {
    if (!this.#isAlive) return () => {}
    const cancel = this.#clock.schedule(at, () => {
      this.#cancels.delete(cancel)
      callback()
    })
    this.#cancels.add(cancel)
    return () => {
      this.#cancels.delete(cancel)
      cancel()
    }
  }

  die(): void {
    this.#isAlive = false
    for (const cancel of this.#cancels) cancel()
    this.#cancels.clear()
  }
}
