import type { Entry, HardState, LogIndex, Membership, Snapshot, Term } from './types.ts'

/**
 * What is durable, as the core reads it: synchronous, because ticks never wait for a disk. A shell
 * keeps in memory what may be asked for.
 */
export interface LogStorage {
  /** Read once, at the start. */
  readonly hardState: HardState
  /** Of the snapshot. Read once, at the start. */
  readonly membership: Membership
  /** Index of the first entry that is kept; 1 above the snapshot's at least. */
  readonly firstIndex: LogIndex
  /** `firstIndex - 1`: none. */
  readonly lastIndex: LogIndex
  /** Of an entry from `firstIndex - 1` (the last one compacted) on; otherwise `undefined`. */
  term(index: LogIndex): Term | undefined
  /** Entries of `from`..`to - 1`, all within bounds, cut off after `bytesMax` but at least one. */
  entries(from: LogIndex, to: LogIndex, bytesMax: number): readonly Entry[]
  /** The newest; `undefined` while none can be had. */
  snapshot(): Snapshot | undefined
}

/** Bytes that an entry counts for in every bound: its data and a fixed share for the rest. */
export const ENTRY_OVERHEAD_BYTES = 16
const CHANGE_BYTES = 64

export function bytesOf(entry: Pick<Entry, 'kind'> & { readonly data?: Uint8Array }): number {
  return ENTRY_OVERHEAD_BYTES + (entry.data?.byteLength ?? CHANGE_BYTES)
}

/** As many from the start as fit into `bytesMax`, at least one. */
export function limitBytes(entries: readonly Entry[], bytesMax: number): readonly Entry[] {
  let bytes = 0
  for (const [count, entry] of entries.entries()) {
    bytes += bytesOf(entry)
    if (bytes > bytesMax && count > 0) return entries.slice(0, count)
  }
  return entries
}
