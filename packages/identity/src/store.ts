import type { AbortOptions } from '@mycelium/interface'

/** What a node keeps besides facts. All but `genesis`, `certificate` and `rotations` is secret. */
export type RecordName =
  'node-key' | 'network-key' | 'genesis' | 'certificate' | 'isolation-keys' | 'tokens' | 'peers'

/** All of them. */
export const RECORD_NAMES: readonly RecordName[] = [
  'node-key',
  'network-key',
  'genesis',
  'certificate',
  'isolation-keys',
  'tokens',
  'peers',
]

/** Bound on one record. */
export const RECORD_BYTES_MAX: number = 2 ** 20
/** Bound on one envelope of a fact. */
export const FACT_BYTES_MAX = 8192
/** Calls that wait for those before them; one more is refused. */
export const STORE_CALLS_MAX = 256

/**
 * Where a node keeps its identity. One process at a time. Resolved writes survive a power loss.
 *
 * Calls may overlap: they are carried out in the order in which they were made, at most
 * 256 at once. Bytes are copied, in and out. An abort takes a waiting call
 * back; what has begun is finished.
 *
 * All reject with `ERR_IDENTITY_CLOSED` after disposal, which waits for calls before it; all that
 * write with `ERR_IDENTITY_WRITE` if the disk does not take it (field `doubt`: nobody knows), and
 * with `ERR_IDENTITY_FULL` if a bound is reached; all that read with `ERR_IDENTITY_DAMAGED` if
 * something else lies there than was written.
 */
export interface IdentityStore extends AsyncDisposable {
  read(name: RecordName, options?: AbortOptions): Promise<Uint8Array | undefined>
  /**
   * Replaces the record at once: a reader, or a crash, finds the old one or the new one.
   *
   * @throws {RangeError} more than 1 MiB
   */
  write(name: RecordName, bytes: Uint8Array, options?: AbortOptions): Promise<void>
  remove(name: RecordName, options?: AbortOptions): Promise<void>
  /** Envelopes of facts in the order in which they were appended. */
  facts(options?: AbortOptions): Promise<readonly Uint8Array[]>
  /**
   * A crash before it resolves leaves the first few of them, or none.
   *
   * @throws {RangeError} one is empty or longer than 8 KiB
   */
  appendFacts(envelopes: readonly Uint8Array[], options?: AbortOptions): Promise<void>
  /** Keeps these alone, at once, as `write` does: for what expired. Throws as `appendFacts`. */
  replaceFacts(envelopes: readonly Uint8Array[], options?: AbortOptions): Promise<void>
}
