import type { Clock, MonotonicMs, UnixMs } from '@mycelium/interface'
import { SimulationStuckError } from './errors.ts'

/**
 * Callbacks that one `advance` or `runUntilIdle` may run unless told otherwise. More means that
 * timers re-arm themselves without end: a livelock, which must fail instead of hanging.
 */
export const STEPS_MAX = 1_000_000

export interface VirtualClockInit {
  /** @default 0 */
  readonly startMs?: MonotonicMs
  /** Wall-clock time at the start. @default 1_700_000_000_000 (November 2023) */
  readonly startUnixMs?: UnixMs
}

export interface RunInit {
  /** Bound on callbacks. @default 1_000_000 */
  readonly stepsMax?: number
}

/** Time that moves only when told. Callbacks run in order of time, then of scheduling. */
export interface VirtualClock extends Clock {
  /** Callbacks that wait. */
  readonly pendingCount: number
  /**
   * Moves time to `now + ms`, running what falls due, each at its own time. Lets promises settle
   * before the next callback runs, so that a program of promises sees the same order every time.
   * Rejects `ERR_SIMULATION_STUCK` above the bound. Not to be called from a callback.
   */
  advance(ms: number, init?: RunInit): Promise<void>
  /** The same without waiting for promises: for cores, which have none. */
  advanceSync(ms: number, init?: RunInit): void
  /** Runs callbacks until none waits. Rejects `ERR_SIMULATION_STUCK` above the bound. */
  runUntilIdle(init?: RunInit): Promise<void>
  /** Runs callbacks until `done()` holds; asks after each. Rejects also when none is left. */
  runUntil(done: () => boolean, init?: RunInit): Promise<void>
}

const START_UNIX_MS = 1_700_000_000_000

export function createVirtualClock(init: VirtualClockInit = {}): VirtualClock {
  return new EventQueueClock(init)
}

interface Job {
  readonly at: MonotonicMs
  readonly sequence: number
  readonly callback: () => void
  cancelled: boolean
}

/** A binary heap by (time, sequence): the whole world of a simulation hangs on this order. */
class EventQueueClock implements VirtualClock {
  readonly #heap: Job[] = []
  readonly #unixOffset: number
  #now: MonotonicMs
  #sequence = 0
  #pending = 0

  constructor({ startMs = 0, startUnixMs = START_UNIX_MS }: VirtualClockInit) {
    this.#now = startMs
    this.#unixOffset = startUnixMs - startMs
  }

  get pendingCount(): number {
    return this.#pending
  }

  now(): MonotonicMs {
    return this.#now
  }

  unixMs(): UnixMs {
    return this.#now + this.#unixOffset
  }

  schedule(at: MonotonicMs, callback: () => void): () => void {
    if (Number.isNaN(at)) throw new RangeError('at must be a time, got NaN')
    const job: Job = { at, callback, sequence: this.#sequence++, cancelled: false }
    this.#push(job)
    this.#pending++
    return () => {
      if (job.cancelled) return
      job.cancelled = true
      this.#pending--
    }
  }

  async advance(ms: number, init?: RunInit): Promise<void> {
    await this.#run(this.#until(ms), undefined, init)
  }

  advanceSync(ms: number, { stepsMax = STEPS_MAX }: RunInit = {}): void {
    const until = this.#until(ms)
    for (let steps = 0; this.#step(until); steps++) this.#checkSteps(steps, stepsMax)
    this.#now = until
  }

  async runUntilIdle(init?: RunInit): Promise<void> {
    await this.#run(Infinity, undefined, init)
  }

  async runUntil(done: () => boolean, init?: RunInit): Promise<void> {
    if (await this.#run(Infinity, done, init)) return
    throw new SimulationStuckError(this.#now, 'nothing is left to happen')
  }

  #until(ms: number): MonotonicMs {
    if (!(ms >= 0 && ms < Infinity)) throw new RangeError(`ms must be 0 or more, got ${ms}`)
    return this.#now + ms
  }

  /** True: `done` held. */
  async #run(
    until: MonotonicMs,
    done: (() => boolean) | undefined,
    { stepsMax = STEPS_MAX }: RunInit = {},
  ): Promise<boolean> {
    for (let steps = 0; ; steps++) {
      await settlePromises()
      if (done?.() === true) return true
      if (!this.#step(until)) break
      this.#checkSteps(steps, stepsMax)
    }
    if (until < Infinity) this.#now = until
    return false
  }

  #checkSteps(steps: number, stepsMax: number): void {
    if (steps >= stepsMax) {
      throw new SimulationStuckError(this.#now, `more than ${stepsMax} callbacks ran`)
    }
  }

  /** Runs the next callback that is due by `until`. */
  #step(until: MonotonicMs): boolean {
    for (let job = this.#heap[0]; job !== undefined; job = this.#heap[0]) {
      if (!job.cancelled && job.at > until) return false
      this.#pop()
      if (job.cancelled) continue
      job.cancelled = true
      this.#pending--
      this.#now = Math.max(this.#now, job.at)
      job.callback()
      return true
    }
    return false
  }

  #push(job: Job): void {
    const heap = this.#heap
    let index = heap.length
    heap.push(job)
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent]
      if (above === undefined || !isBefore(job, above)) break
      heap[index] = above
      index = parent
    }
    heap[index] = job
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let index = 0
    for (;;) {
      const left = 2 * index + 1
      const [a, b] = [heap[left], heap[left + 1]]
      if (a === undefined) break
      const isRight = b !== undefined && isBefore(b, a)
      const child = isRight ? b : a
      if (!isBefore(child, last)) break
      heap[index] = child
      index = isRight ? left + 1 : left
    }
    heap[index] = last
  }
}

function isBefore(a: Job, b: Job): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence)
}

/**
 * Lets every promise that can settle without a timer or I/O do so: microtasks run to their end
 * before the event loop goes on to its next turn.
 */
async function settlePromises(): Promise<void> {
  await new Promise<void>((resolve) => {
    setImmediate(resolve)
  })
}
