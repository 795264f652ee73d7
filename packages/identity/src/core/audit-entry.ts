import type { NodeId, UnixMs } from '@mycelium/interface'

/**
 * Something that happened, for the audit log. Texts longer than their bound are cut, with an
 * ellipsis: some come from strangers.
 */
export interface AuditEntry {
  /** As `member:admitted`: 1..64 characters `[a-z0-9:-]`, not beginning with `audit:`. */
  readonly event: string
  /** At most 128 characters. */
  readonly node?: NodeId
  /** Where the peer is, as text: at most 256 characters. */
  readonly address?: string
  /** At most 256 characters. */
  readonly reason?: string
  /** At most 16 pairs; names of 1..64 characters, texts of at most 256, safe integers. */
  readonly detail?: Readonly<Record<string, string | number>>
  /**
   * The cause is a peer that did not prove the network. Entries of one event, reason and address
   * become one each 10 s, with their count, so that no stranger fills the log.
   */
  readonly isStranger?: boolean
}

/** Where events go. Never waits and never fails because of a disk. */
export interface AuditSink {
  /** @throws {RangeError} the entry is none: a mistake of the caller */
  append(entry: AuditEntry): void
}

/** An entry as the log holds it. */
export interface AuditRecord {
  /** 1 for the first entry of the log; the next has one more. */
  readonly number: number
  readonly at: UnixMs
  readonly event: string
  readonly node?: NodeId
  readonly address?: string
  readonly reason?: string
  readonly detail?: Readonly<Record<string, string | number>>
  /** How many events it stands for, if not one. */
  readonly count?: number
  /** Whether the node signed this entry, and with it all before. */
  readonly isSigned: boolean
}
