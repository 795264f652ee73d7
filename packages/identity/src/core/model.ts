/**
 * What networks, nodes and members are made of: the documents that are signed, and what cores need
 * of cryptography. Types only.
 *
 * Documents travel and are kept as they were signed: canonical CBOR (RFC 8949, section 4.2.1)
 * inside an {@link Envelope}. Whoever reads one gets the bytes first, checks them, and only then
 * decodes.
 * Public keys are the 32 bytes of RFC 8032, signatures its 64. Times are seconds since 1970.
 */
import type { NodeId } from '@mycelium/interface'

/** Base58btc of the SHA-256 multihash of the network's first public key. */
export type NetworkId = string & { readonly __networkId: true }

/** Seconds since 1970, an integer. */
export type UnixSeconds = number

/** The cryptography that cores use, without I/O and without secrets. */
export interface Crypto {
  sha256(bytes: Uint8Array): Uint8Array
  hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array
  /** Ed25519 by the one strict rule of this package: see `ed25519.ts`. Never throws. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean
  /** In constant time, if both have one length. */
  equal(one: Uint8Array, other: Uint8Array): boolean
}

/** A private key, somewhere. */
export interface Signer {
  readonly publicKey: Uint8Array
  sign(message: Uint8Array): Uint8Array
}

/** Each kind of document is signed under a prefix of its own, so that none passes for another. */
export type DocumentKind =
  'genesis' | 'certificate' | 'fact' | 'key-rotation' | 'handshake' | 'audit'

/** A document and who signed it. At most 32 signatures, in ascending order of keys, none twice. */
export interface Envelope {
  /** Canonical CBOR of the document. */
  readonly body: Uint8Array
  readonly signatures: readonly {
    readonly publicKey: Uint8Array
    readonly signature: Uint8Array
  }[]
}

/** Kinds of nodes (see the glossary). */
export type NodeType = 'sclerotium-dedicated' | 'sclerotium-dynamic' | 'rhizomorph' | 'hypha'

/** Signed by the network key and by every genesis node. */
export interface Genesis {
  /** For people, 1..64 characters; proves nothing. */
  readonly name: string
  /** The first one: it makes the id of the network. */
  readonly networkKey: Uint8Array
  readonly createdAt: UnixSeconds
  /** Public keys, 1..16, ascending. They are the first authorities. */
  readonly genesisNodes: readonly Uint8Array[]
  /** u32. Nodes whose ranges of versions do not meet refuse each other. */
  readonly compatibility: number
  /** SHA-256 of the first isolation key. */
  readonly isolationHash: Uint8Array
  readonly rotation: { readonly everyDays: number; readonly overlapHours: number }
  readonly quorum: {
    /** Signatures of different authorities that a certificate and an authority need. */
    readonly authorityThreshold: number
  }
  /** Of 1000; see authentication. */
  readonly trust: { readonly admissionThreshold: number }
}

/** Membership of one node, signed by `authorityThreshold` authorities. */
export interface Certificate {
  readonly network: NetworkId
  readonly subject: Uint8Array
  readonly nodeType: NodeType
  /** At most 16 of at most 64 characters, ascending. */
  readonly roles: readonly string[]
  /** As {@link roles}. */
  readonly capabilities: readonly string[]
  readonly notBefore: UnixSeconds
  readonly notAfter: UnixSeconds
  /** 16 random bytes. */
  readonly serial: Uint8Array
  /** Rotations of the network key when it was issued. */
  readonly epoch: number
}

/** One link of the chain from the first network key to the present one. Signed by the old and the
 * new key, in an emergency by the new one and `authorityThreshold` authorities. */
export interface KeyRotation {
  readonly network: NetworkId
  /** 1 for the first rotation. */
  readonly number: number
  readonly oldKey: Uint8Array
  readonly newKey: Uint8Array
  readonly at: UnixSeconds
  /** Until then the old key counts as well. */
  readonly overlapUntil: UnixSeconds
  readonly cause: 'scheduled' | 'emergency'
}

/** What a fact states. */
export type Statement =
  | {
      readonly kind: 'certificate-revoked'
      readonly serial: Uint8Array
      readonly reason: RevocationReason
    }
  | { readonly kind: 'node-revoked'; readonly node: Uint8Array; readonly reason: RevocationReason }
  | { readonly kind: 'authority-added'; readonly node: Uint8Array }
  /** Facts of that authority with a higher number than `lastNumber` do not count. */
  | { readonly kind: 'authority-removed'; readonly node: Uint8Array; readonly lastNumber: number }
  | { readonly kind: 'token-used'; readonly tokenId: Uint8Array; readonly node: Uint8Array }
  | { readonly kind: 'token-revoked'; readonly tokenId: Uint8Array }
  /** The envelope of a {@link KeyRotation}. */
  | { readonly kind: 'key-rotated'; readonly rotation: Uint8Array }
  | {
      readonly kind: 'isolation-rotated'
      /** SHA-256 of the new isolation key; the key itself never stands in a fact. */
      readonly isolationHash: Uint8Array
      readonly overlapUntil: UnixSeconds
    }

export type RevocationReason = 'left' | 'removed' | 'compromised'

/** A statement of one authority to all members, signed by it, for `authority-added`,
 * `authority-removed` by `authorityThreshold` authorities. */
export interface Fact {
  readonly network: NetworkId
  readonly issuer: Uint8Array
  /** Of this issuer's facts: 1, 2, 3 ... */
  readonly number: number
  readonly at: UnixSeconds
  /** From then on nobody need keep it; absent: for ever. */
  readonly expiresAt?: UnixSeconds
  readonly statement: Statement
}

/** What `mycelium token create` prints, decoded. */
export interface JoinToken {
  readonly network: NetworkId
  /** 16 random bytes. */
  readonly tokenId: Uint8Array
  /** 32 random bytes. */
  readonly secret: Uint8Array
  readonly expiresAt: UnixSeconds
  /** Who admits its holder: 1..8. Addresses are multiaddrs as text, at most 16 each. */
  readonly issuers: readonly { readonly node: NodeId; readonly addresses: readonly string[] }[]
}

/** What a handshake makes sure of, one by one. The first that fails names the refusal. */
export type RefusalReason =
  | 'malformed' // a message that cannot be read, or comes out of order
  | 'timeout'
  | 'busy' // too many half-open handshakes
  | 'incompatible' // no common compatibility version
  | 'wrong-network' // isolation key not proved, or another genesis
  | 'certificate-missing'
  | 'certificate-invalid' // not signed by enough authorities of this network
  | 'certificate-of-another'
  | 'certificate-expired'
  | 'certificate-not-yet-valid'
  | 'revoked'
  | 'no-possession' // the signature over the transcript is not the subject's
  | 'stale-key-chain' // the peer lacks rotations, or forged some
  | 'distrusted' // too low a score
  | 'token-unknown'
  | 'token-expired'
  | 'token-used'
  | 'token-proof'
  | 'slowed' // too many wrong tries from this address

/** Behaviour of a node in integers of 1000; `undefined`: nothing is known. */
export interface TrustSource {
  historyOf(node: NodeId): number | undefined
  consensusOf(node: NodeId): number | undefined
}
