import type {
  Certificate,
  Crypto,
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
  /** Network keys that count at `now`, newest first: 1 or 2. */
  networkKeys(now: UnixSeconds): readonly Uint8Array[]
  /** SHA-256 of the isolation keys that count at `now`, newest first: 1 or 2. */
  isolationHashes(now: UnixSeconds): readonly Uint8Array[]
  /** When the isolation key was rotated last, 0 if never: the next rotation must be dated later. */
  readonly isolationRotatedAt: UnixSeconds
  /**
   * Whether a certificate in its envelope makes `subject` a member at `now`. It needs signatures of
   * `authorityThreshold` different nodes, each of which
   * - is an authority, or was one until after the certificate's `notBefore`, and
   * - is not revoked as compromised: whoever has its key can date a certificate back.
   *
   * A certificate from before a rotation of the network key counts until it expires, after an
   * emergency until its overlap ends.
   */
  checkCertificate(
    envelope: Uint8Array,
    subject: Uint8Array,
    now: UnixSeconds,
  ): { readonly certificate: Certificate } | { readonly refused: RefusalReason }
  isNodeRevoked(publicKey: Uint8Array): boolean
  isCertificateRevoked(serial: Uint8Array): boolean
  /** Used or revoked. */
  isTokenSpent(tokenId: Uint8Array): boolean
  /**
   * Takes the envelope of a fact. `held`: it may come to hold when facts before it have come; it is
   * kept in memory, need not be stored, and the oldest are forgotten.
   */
  add(envelope: Uint8Array, now: UnixSeconds): FactVerdict
  /** The highest number of this issuer's facts that was ever added; 0: none. */
  lastNumberOf(publicKey: Uint8Array): number
  /** Facts that count. */
  readonly factCount: number
  /** Facts that are held. */
  readonly heldCount: number
  /** Envelopes of the facts that count, in an order in which each could be added. */
  facts(): readonly Uint8Array[]
  /** Which facts of each issuer are kept: for `missing` at another member. See fact-vector.ts. */
  vector(): ReadonlyMap<string, number>
  /** Envelopes that a member with this vector lacks, at most `bytesMax` in all, oldest first. */
  missing(vector: ReadonlyMap<string, number>, bytesMax: number): readonly Uint8Array[]
}

export type FactVerdict =
  | {
      readonly verdict: 'added'
      /** Envelopes of facts that were held and now hold too: to be stored and told as this one. */
      readonly released: readonly Uint8Array[]
    }
  | { readonly verdict: 'known' }
  | { readonly verdict: 'held' }
  | { readonly verdict: 'refused'; readonly why: string }

export interface NetworkStateDeps {
  readonly crypto: Crypto
}

export interface NetworkStateInit {
  /** Envelope. */
  readonly genesis: Uint8Array
  /** Envelopes; those that stand in facts need not be here. */
  readonly rotations?: readonly Uint8Array[]
  /** Envelopes. Those that do not count are held, or left out if nothing can make them count. */
  readonly facts?: readonly Uint8Array[]
  /**
   * The facts come from where this node stored them after it had verified them: they are not
   * verified again (100 us each). @default false
   */
  readonly areFactsVerified?: boolean
}
