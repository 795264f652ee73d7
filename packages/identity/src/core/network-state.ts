import type {
  Certificate,
  Genesis,
  KeyRotation,
  NetworkId,
  RefusalReason,
  UnixSeconds,
} from './model.ts'

/**
 * What a member knows of its network: the genesis, and every fact that holds. The same facts give
 * the same state, in whatever order they came.
 */
export interface NetworkState {
  readonly network: NetworkId
  readonly genesis: Genesis
  /** SHA-256 of the genesis envelope's body. */
  readonly genesisHash: Uint8Array
  /** Rotations of the network key that hold, in order. */
  readonly rotations: readonly KeyRotation[]
  /** Public keys that may issue facts and certificates, ascending. */
  readonly authorities: readonly Uint8Array[]
  /** SHA-256 of the isolation keys that count at `now`, newest first: 1 or 2. */
  isolationHashes(now: UnixSeconds): readonly Uint8Array[]
  /** Whether a certificate in its envelope makes `subject` a member at `now`. */
  checkCertificate(
    envelope: Uint8Array,
    subject: Uint8Array,
    now: UnixSeconds,
  ): { readonly certificate: Certificate } | { readonly refused: RefusalReason }
  isTokenSpent(tokenId: Uint8Array): boolean
  /** Takes the envelope of a fact. `held`: it may come to hold when facts before it have come. */
  add(envelope: Uint8Array, now: UnixSeconds): FactVerdict
  /** Highest number without a gap of each issuer whose facts are kept (key: hex of its key). */
  vector(): ReadonlyMap<string, number>
  /** Envelopes that a member with this vector lacks, at most `bytesMax` in all, oldest first. */
  missing(vector: ReadonlyMap<string, number>, bytesMax: number): readonly Uint8Array[]
}

export type FactVerdict =
  | { readonly verdict: 'added' }
  | { readonly verdict: 'known' }
  | { readonly verdict: 'held' }
  | { readonly verdict: 'refused'; readonly why: string }
