import type { Entry, EntryId, LogIndex, Snapshot, Term } from './types.ts'

/** The end of the log that is not known to be durable, and the snapshot before it. */
export class Unstable {
  /** Not durable yet; its index is below that of every entry here. */
  snapshot: Snapshot | undefined
  entries: Entry[] = []
  /** Index of `entries[0]`, or of the next one to come. */
  offset: LogIndex
  /** What is on its way to the disk: up to here, exclusive. */
  #offsetUnderWay: LogIndex
  #isSnapshotUnderWay = false

  constructor(offset: LogIndex) {
    this.offset = offset
    this.#offsetUnderWay = offset
  }

  /** Of the last entry here, or of the snapshot; `undefined`: neither. */
  get lastIndex(): LogIndex | undefined {
    if (this.entries.length > 0) return this.offset + this.entries.length - 1
    return this.snapshot?.id.index
  }

  term(index: LogIndex): Term | undefined {
    if (index < this.offset) {
      return this.snapshot?.id.index === index ? this.snapshot.id.term : undefined
    }
    return this.entries[index - this.offset]?.term
  }

  /** What is not on its way yet. */
  get nextEntries(): readonly Entry[] {
    return this.entries.slice(this.#offsetUnderWay - this.offset)
  }

  get nextSnapshot(): Snapshot | undefined {
    return this.#isSnapshotUnderWay ? undefined : this.snapshot
  }

  get hasNext(): boolean {
    return (
      this.#offsetUnderWay - this.offset < this.entries.length || this.nextSnapshot !== undefined
    )
  }

  /** All of it is on its way. */
  accept(): void {
    this.#offsetUnderWay = this.offset + this.entries.length
    this.#isSnapshotUnderWay = this.snapshot !== undefined
  }

  /** Durable up to `id`. Of no effect if the entry there has been replaced since. */
  stableTo({ term, index }: EntryId): void {
    if (index < this.offset || this.term(index) !== term) return
    this.entries = this.entries.slice(index + 1 - this.offset)
    this.offset = index + 1
    this.#offsetUnderWay = Math.max(this.#offsetUnderWay, this.offset)
  }

  snapshotStableTo(index: LogIndex): void {
    if (this.snapshot?.id.index !== index) return
    this.snapshot = undefined
    this.#isSnapshotUnderWay = false
  }

  restore(snapshot: Snapshot): void {
    this.offset = snapshot.id.index + 1
    this.#offsetUnderWay = this.offset
    this.entries = []
    this.snapshot = snapshot
    this.#isSnapshotUnderWay = false
  }

  /** Replaces what it has from the first index of `entries` on. */
  append(entries: readonly Entry[]): void {
    const from = entries[0]?.index
    if (from === undefined) return
    if (from <= this.offset) {
      this.offset = from
      this.entries = [...entries]
    } else {
      this.entries.length = from - this.offset
      for (const entry of entries) this.entries.push(entry)
    }
    this.#offsetUnderWay = Math.min(this.#offsetUnderWay, from)
    this.#offsetUnderWay = Math.max(this.#offsetUnderWay, this.offset)
  }

  slice(from: LogIndex, to: LogIndex): readonly Entry[] {
    return this.entries.slice(from - this.offset, to - this.offset)
  }
}
