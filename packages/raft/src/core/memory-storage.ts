import { InvariantError } from '../errors.ts'
import { EMPTY_MEMBERSHIP } from './membership.ts'
import { limitBytes, type LogStorage } from './storage.ts'
import type { Entry, HardState, LogIndex, Membership, Ready, Snapshot, Term } from './types.ts'

/** The durable part of a log as a shell keeps it in memory: hard state, snapshot, entries. */
export class MemoryStorage implements LogStorage {
  hardState: HardState
  #snapshot: Snapshot
  /** After the compacted ones. */
  #entries: Entry[] = []
  /** The last one that was compacted. */
  #compacted: { readonly index: LogIndex; readonly term: Term }

  constructor(init: { readonly snapshot?: Snapshot; readonly hardState?: HardState } = {}) {
    this.#snapshot = init.snapshot ?? EMPTY_SNAPSHOT
    this.#compacted = this.#snapshot.id
    const { term, index: commit } = this.#snapshot.id
    this.hardState = init.hardState ?? { term, vote: undefined, commit }
  }

  get membership(): Membership {
    return this.#snapshot.membership
  }

  get firstIndex(): LogIndex {
    return this.#compacted.index + 1
  }

  get lastIndex(): LogIndex {
    return this.#compacted.index + this.#entries.length
  }

  term(index: LogIndex): Term | undefined {
    if (index === this.#compacted.index) return this.#compacted.term
    return this.#entries[index - this.firstIndex]?.term
  }

  entries(from: LogIndex, to: LogIndex, bytesMax: number): readonly Entry[] {
    const first = this.firstIndex
    return limitBytes(this.#entries.slice(from - first, to - first), bytesMax)
  }

  snapshot(): Snapshot | undefined {
    return this.#snapshot.id.index === 0 ? undefined : this.#snapshot
  }

  /** Takes what a `ready` asks to be made durable. */
  persist({
    hardState,
    snapshot,
    entries,
  }: Pick<Ready, 'hardState' | 'snapshot' | 'entries'>): void {
    if (snapshot !== undefined) this.replace(snapshot)
    this.append(entries)
    if (hardState !== undefined) this.hardState = hardState
  }

  append(entries: readonly Entry[]): void {
    const from = entries[0]?.index
    if (from === undefined) return
    if (from < this.firstIndex || from > this.lastIndex + 1) {
      throw new InvariantError(
        `entry ${from} does not follow ${this.firstIndex}..${this.lastIndex}`,
      )
    }
    this.#entries.length = from - this.firstIndex
    for (const entry of entries) this.#entries.push(entry)
  }

  /** A snapshot of a leader: it replaces everything. */
  replace(snapshot: Snapshot): void {
    this.#snapshot = snapshot
    this.#compacted = snapshot.id
    this.#entries = []
  }

  /** An own snapshot, of what is applied at its index; entries stay until {@link compact}. */
  keep(snapshot: Snapshot): void {
    if (snapshot.id.index > this.#snapshot.id.index) this.#snapshot = snapshot
  }

  /** Forgets entries up to `index`, which a kept snapshot must hold. */
  compact(index: LogIndex): void {
    if (index <= this.#compacted.index) return
    const term = this.term(index)
    if (term === undefined || index > this.#snapshot.id.index) {
      throw new InvariantError(`entries up to ${index} are not in a snapshot`)
    }
    this.#entries = this.#entries.slice(index + 1 - this.firstIndex)
    this.#compacted = { index, term }
  }
}

const EMPTY_SNAPSHOT: Snapshot = Object.freeze({
  id: { term: 0, index: 0 },
  membership: EMPTY_MEMBERSHIP,
  data: new Uint8Array(),
})
