import type { AbortOptions } from '@mycelium/interface'

/** What a node keeps besides facts. All but `genesis`, `certificate` and `rotations` is secret. */
export type RecordName =
  'node-key' | 'network-key' | 'genesis' | 'certificate' | 'isolation-keys' | 'tokens' | 'peers'

/** Where a node keeps its identity. One process at a time. Resolved writes survive a power loss. */
export interface IdentityStore extends AsyncDisposable {
  read(name: RecordName, options?: AbortOptions): Promise<Uint8Array | undefined>
  /** Replaces the record at once: a reader, or a crash, finds the old one or the new one. */
  write(name: RecordName, bytes: Uint8Array, options?: AbortOptions): Promise<void>
  remove(name: RecordName, options?: AbortOptions): Promise<void>
  /** Envelopes of facts in the order in which they were appended. */
  facts(options?: AbortOptions): Promise<readonly Uint8Array[]>
  appendFacts(envelopes: readonly Uint8Array[], options?: AbortOptions): Promise<void>
}
