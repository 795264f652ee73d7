import type { LogIndex } from './types.ts'

/** Appends on their way to one follower, by their last index, bounded by count and bytes. */
export class Inflights {
  readonly #countMax: number
  readonly #bytesMax: number
  #sent: { readonly index: LogIndex; readonly bytes: number }[] = []
  #bytes = 0

  constructor(bounds: { readonly countMax: number; readonly bytesMax: number }) {
    this.#countMax = bounds.countMax
    this.#bytesMax = bounds.bytesMax
  }

  get count(): number {
    return this.#sent.length
  }

  get isFull(): boolean {
    return this.#sent.length >= this.#countMax || this.#bytes >= this.#bytesMax
  }

  add(index: LogIndex, bytes: number): void {
    this.#sent.push({ index, bytes })
    this.#bytes += bytes
  }

  /** Those up to `index` have arrived. */
  free(index: LogIndex): void {
    let count = 0
    for (const one of this.#sent) {
      if (one.index > index) break
      this.#bytes -= one.bytes
      count++
    }
    this.#sent.splice(0, count)
  }

  reset(): void {
    this.#sent = []
    this.#bytes = 0
  }
}

/**
 * `probe`: where the logs agree is not known, one append at a time. `replicate`: appends follow
 * each other without waiting. `snapshot`: what it lacks is in the log no more: nothing but the
 * snapshot.
 */
export type ProgressState = 'probe' | 'replicate' | 'snapshot'

/** What a leader knows of the log of one member. */
export class Progress {
  state: ProgressState = 'probe'
  /** Highest index known to be there. */
  match: LogIndex = 0
  /** The next to be sent; all between `match` and it is on its way. */
  next: LogIndex
  /** In state `snapshot`: its index. */
  pendingSnapshot: LogIndex = 0
  /** Heard from since the last check of the quorum. */
  isActive = false
  isLearner: boolean
  /** No append until something is heard. */
  isPausedBySend = false
  /** Highest round of heartbeats that it has answered. */
  round = 0
  /** Highest commit index sent. */
  sentCommit: LogIndex = 0
  readonly inflights: Inflights

  constructor(init: {
    readonly next: LogIndex
    readonly isLearner: boolean
    readonly inflights: Inflights
  }) {
    this.next = init.next
    this.isLearner = init.isLearner
    this.inflights = init.inflights
  }

  get isPaused(): boolean {
    return this.state === 'snapshot' || this.isPausedBySend
  }

  #enter(state: ProgressState): void {
    this.state = state
    this.isPausedBySend = false
    this.pendingSnapshot = 0
    this.inflights.reset()
  }

  becomeProbe(): void {
    // A snapshot that was sent has perhaps arrived: what follows it is tried first.
    const next = this.state === 'snapshot' ? this.pendingSnapshot + 1 : 0
    this.#enter('probe')
    this.next = Math.max(this.match + 1, next)
    this.sentCommit = Math.min(this.sentCommit, this.next - 1)
  }

  becomeReplicate(): void {
    this.#enter('replicate')
    this.next = this.match + 1
  }

  becomeSnapshot(index: LogIndex): void {
    this.#enter('snapshot')
    this.pendingSnapshot = index
    this.next = index + 1
    this.sentCommit = index
  }

  /** An append with so many entries has left. */
  sent(entries: number, bytes: number): void {
    if (this.state === 'replicate') {
      if (entries > 0) {
        this.next += entries
        this.inflights.add(this.next - 1, bytes)
      }
      this.isPausedBySend = this.inflights.isFull
    } else if (entries > 0) {
      this.isPausedBySend = true
    }
  }

  /** Would an empty append tell it a higher commit index? */
  canRaiseCommit(commit: LogIndex): boolean {
    return commit > this.sentCommit && this.sentCommit < this.next - 1
  }

  /** It has everything up to `index`. False: known already. */
  acknowledged(index: LogIndex): boolean {
    if (index <= this.match) return false
    this.match = index
    this.next = Math.max(this.next, index + 1)
    this.isPausedBySend = false
    return true
  }

  /** It refused an append after `rejected`; the logs may agree at `hint`. False: an old answer. */
  refused(rejected: LogIndex, hint: LogIndex): boolean {
    if (this.state === 'replicate') {
      if (rejected <= this.match) return false
      this.next = this.match + 1
      this.sentCommit = Math.min(this.sentCommit, this.next - 1)
      return true
    }
    if (this.next - 1 !== rejected) return false
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1)
    this.sentCommit = Math.min(this.sentCommit, this.next - 1)
    this.isPausedBySend = false
    return true
  }
}
