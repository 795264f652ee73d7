import type { LogIndex, RaftId } from './types.ts'

export interface PendingRead {
  /** The asker's own, returned with the answer. */
  readonly context: Uint8Array
  /** What was committed when it came. */
  readonly index: LogIndex
  /** Who asked. */
  readonly from: RaftId
  /** The round of heartbeats sent after it came. */
  readonly round: number
}

/**
 * Reads that wait until a majority has answered a heartbeat sent after them: until then somebody
 * else may be leader, and know more (section 6.4). In order; a later round confirms earlier ones.
 */
export class ReadQueue {
  #pending: PendingRead[] = []

  /** Rounds must not fall. */
  add(read: PendingRead): void {
    this.#pending.push(read)
  }

  /** Takes out all that `round` confirms. */
  take(round: number): readonly PendingRead[] {
    const first = this.#pending.findIndex((read) => read.round > round)
    return this.#pending.splice(0, first < 0 ? this.#pending.length : first)
  }

  get count(): number {
    return this.#pending.length
  }
}

/**
 * Rounds of heartbeats of one term, and when each began: whoever answered one refuses to elect
 * somebody else for a while from then on, which is a lease (section 6.4.1).
 */
export class Rounds {
  /** The newest; 0: none yet. */
  last = 0
  /** Ticks until the beginning of a round is of no use any more. */
  readonly #ticksMax: number
  /** The first round of each tick, ascending. */
  #begun: { readonly round: number; readonly tick: number }[] = []

  constructor(ticksMax: number) {
    this.#ticksMax = ticksMax
  }

  begin(tick: number): number {
    this.last++
    const kept = this.#begun.filter((one) => one.tick >= tick - this.#ticksMax)
    if (kept.at(-1)?.tick !== tick) kept.push({ round: this.last, tick })
    this.#begun = kept
    return this.last
  }

  /** When `round` began; `undefined`: too long ago, or never. */
  tickOf(round: number): number | undefined {
    return this.#begun.findLast((one) => one.round <= round)?.tick
  }
}
