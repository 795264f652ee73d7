import { InvariantError } from '../errors.ts'
import { bytesOf, type LogStorage, limitBytes } from './storage.ts'
import type { Entry, EntryId, LogIndex, Snapshot, Term } from './types.ts'
import { Unstable } from './unstable.ts'

export interface RaftLogInit {
  readonly storage: LogStorage
  /** Applied already. */
  readonly applied: LogIndex
  /** Of committed entries given out and not applied yet. */
  readonly applyingBytesMax: number
}

/** The log: what is durable, and after it what is not. */
export class RaftLog {
  readonly storage: LogStorage
  readonly unstable: Unstable
  committed: LogIndex
  applied: LogIndex
  /** Given out to be applied, up to here. */
  applying: LogIndex
  readonly #applyingBytesMax: number
  #applyingBytes = 0

  constructor({ storage, applied, applyingBytesMax }: RaftLogInit) {
    this.storage = storage
    this.unstable = new Unstable(storage.lastIndex + 1)
    this.committed = applied
    this.applied = this.committed
    this.applying = this.committed
    this.#applyingBytesMax = applyingBytesMax
  }

  get firstIndex(): LogIndex {
    const { snapshot } = this.unstable
    return snapshot === undefined ? this.storage.firstIndex : snapshot.id.index + 1
  }

  get lastIndex(): LogIndex {
    return this.unstable.lastIndex ?? this.storage.lastIndex
  }

  get last(): EntryId {
    const index = this.lastIndex
    return { term: this.term(index) ?? 0, index }
  }

  /** `undefined`: compacted, or beyond the end. */
  term(index: LogIndex): Term | undefined {
    if (index + 1 < this.firstIndex || index > this.lastIndex) return undefined
    return this.unstable.term(index) ?? this.storage.term(index)
  }

  has({ term, index }: EntryId): boolean {
    return this.term(index) === term
  }

  /** Is a log that ends with `last` at least as new as this one? (section 3.6.1) */
  isUpToDate(last: EntryId): boolean {
    const own = this.last
    return last.term > own.term || (last.term === own.term && last.index >= own.index)
  }

  // ---- writing

  /** Takes what follows `previous`. Resolves to the last index that is as the sender has it. */
  offer(previous: EntryId, entries: readonly Entry[], commit: LogIndex): LogIndex | undefined {
    if (!this.has(previous)) return undefined
    const last = previous.index + entries.length
    const conflict = entries.find((entry) => !this.has(entry))
    if (conflict !== undefined) {
      if (conflict.index <= this.committed) {
        throw new InvariantError(`entry ${conflict.index} conflicts with a committed one`)
      }
      this.append(entries.slice(conflict.index - previous.index - 1))
    }
    this.commitTo(Math.min(commit, last))
    return last
  }

  append(entries: readonly Entry[]): void {
    const [first] = entries
    if (first === undefined) return
    if (first.index <= this.committed) {
      throw new InvariantError(`entry ${first.index} is committed and must not be replaced`)
    }
    this.unstable.append(entries)
  }

  commitTo(index: LogIndex): void {
    if (index <= this.committed) return
    if (index > this.lastIndex) {
      throw new InvariantError(`commit ${index} is beyond the end ${this.lastIndex}: data was lost`)
    }
    this.committed = index
  }

  /** The last entry known to be committed. */
  get commit(): EntryId {
    return { term: this.term(this.committed) ?? 0, index: this.committed }
  }

  /** Commits `id` if it is of that term here and not committed. */
  maybeCommit({ term, index }: EntryId): boolean {
    if (index <= this.committed || this.term(index) !== term) return false
    this.committed = index
    return true
  }

  restore(snapshot: Snapshot): void {
    this.committed = snapshot.id.index
    this.unstable.restore(snapshot)
  }

  /**
   * The last index up to `index` whose term is at most `term`: where a log that has `term` there
   * can agree at best, so that whole terms are skipped at once (section 3.5, end).
   */
  agreementBefore({ term, index }: EntryId): EntryId {
    for (let at = index; at > 0; at--) {
      const own = this.term(at)
      if (own === undefined) return { term: 0, index: at }
      if (own <= term) return { term: own, index: at }
    }
    return { term: 0, index: 0 }
  }

  // ---- applying

  /** Committed entries to be given out. @param allowUnstable - also what is not durable here */
  nextCommitted(allowUnstable: boolean): readonly Entry[] {
    if (this.unstable.snapshot !== undefined) return [] // first the snapshot
    const from = this.applying + 1
    const to = this.#applicable(allowUnstable) + 1
    const room = this.#applyingBytesMax - this.#applyingBytes
    if (to <= from || room <= 0) return []
    return this.entries(from, to, room)
  }

  hasNextCommitted(allowUnstable: boolean): boolean {
    if (this.unstable.snapshot !== undefined) return false
    if (this.#applyingBytes >= this.#applyingBytesMax) return false
    return this.#applicable(allowUnstable) > this.applying
  }

  #applicable(allowUnstable: boolean): LogIndex {
    return allowUnstable ? this.committed : Math.min(this.committed, this.unstable.offset - 1)
  }

  given(entries: readonly Entry[]): void {
    const last = entries.at(-1)
    if (last === undefined) return
    this.applying = last.index
    this.#applyingBytes += entries.reduce((sum, entry) => sum + bytesOf(entry), 0)
  }

  appliedTo(index: LogIndex, bytes: number): void {
    if (index > this.committed || index < this.applied) {
      throw new InvariantError(`applied ${index} is not in ${this.applied}..${this.committed}`)
    }
    this.applied = index
    this.applying = Math.max(this.applying, index)
    this.#applyingBytes = Math.max(0, this.#applyingBytes - bytes)
  }

  // ---- reading

  /** `from`..`to - 1`, cut off after `bytesMax` but at least one; all must be there. */
  entries(from: LogIndex, to: LogIndex, bytesMax: number): readonly Entry[] {
    if (from < this.firstIndex || to > this.lastIndex + 1) {
      throw new InvariantError(`entries ${from}..${to - 1} are not in the log`)
    }
    if (from >= to) return []
    const { offset } = this.unstable
    if (from >= offset) return limitBytes(this.unstable.slice(from, to), bytesMax)
    const stable = this.storage.entries(from, Math.min(to, offset), bytesMax)
    if (to <= offset || from + stable.length < offset) return stable
    return limitBytes([...stable, ...this.unstable.slice(offset, to)], bytesMax)
  }

  snapshot(): Snapshot | undefined {
    return this.unstable.snapshot ?? this.storage.snapshot()
  }
}
