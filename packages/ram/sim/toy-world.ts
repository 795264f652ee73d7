/** Time, chance, processes and sessions of one seed, and the books that its judge keeps. */
import type { Random } from '@mycelium/interface'
import {
  type Coverage,
  createCoverage,
  createSeededRandom,
  createTrace,
  createVirtualClock,
  type Trace,
  type VirtualClock,
} from '@mycelium/simulator'
import type { Hasher } from '../src/wire.ts'
import type { Judge } from './judge.ts'

/** Rates in thousandths. A seed switches on some of them only: faults hide each other. */
export interface Faults {
  delayMsMax: number
  /** Of native work: captures, encodings, applying. */
  workMsMax: number
  /** Of messages. The session that lost, doubled, swapped or damaged one does not live long. */
  drop: number
  duplicate: number
  swap: number
  corrupt: number
  /** Chance of each in every second. */
  sessionLoss: number
  backupCrash: number
  promotion: number
  /** An old primary goes on after a promotion. */
  zombie: number
  /** Chance that a backup cannot take an attachment. */
  rejection: number
}

export interface ToyWorld {
  readonly clock: VirtualClock
  readonly random: Random
  readonly trace: Trace
  readonly coverage: Coverage
  readonly faults: Faults
  readonly judge: Judge
  readonly joinPagesMax: number
}

export function makeRecords(seed: number): Omit<ToyWorld, 'faults' | 'judge' | 'joinPagesMax'> {
  return {
    clock: createVirtualClock(),
    random: createSeededRandom(seed),
    trace: createTrace(),
    coverage: createCoverage(),
  }
}

export const chance = ({ random }: ToyWorld, perMille: number): boolean =>
  perMille > 0 && random.below(1000) < perMille

/** FNV-1a, twice. */
export const toyHash: Hasher = (bytes) => {
  let high = 0x811c9dc5
  let low = 0x9e3779b9
  for (const byte of bytes) {
    high = Math.imul(high ^ byte, 0x01000193)
    low = Math.imul((low ^ (low >>> 15)) + byte, 0x2c1b3c6d)
  }
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
}

/** Something that happens over time: it yields how many milliseconds to wait. */
export type Activity = Generator<number, void, undefined>

/** Runs activities; none goes on once the process is dead. */
export class Process {
  readonly world: ToyWorld
  isAlive = true

  constructor(world: ToyWorld) {
    this.world = world
  }

  spawn(activity: Activity): void {
    if (!this.isAlive) return
    const { done, value } = activity.next()
    if (done === true) return
    const { clock } = this.world
    clock.schedule(clock.now() + value, () => {
      this.spawn(activity)
    })
  }

  /** Milliseconds that native work takes. */
  work(): number {
    const { random, faults } = this.world
    return random.below(faults.workMsMax + 1)
  }

  kill(): void {
    this.isAlive = false
  }
}

/** One activity at a time, in the order in which they came. */
export class Turns {
  #next = 0
  #serving = 0;

  *take(work: () => number): Activity {
    const ticket = this.#next++
    while (this.#serving !== ticket) yield 1
    yield work()
    this.#serving++
  }
}
