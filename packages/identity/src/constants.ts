/** Bytes of an Ed25519 public key, of a seed, and of SHA-256. */
export const KEY_BYTES = 32

/** Bytes of an Ed25519 signature. */
export const SIGNATURE_BYTES = 64

/** Levels of maps and arrays in each other. Our documents use 3; a bound keeps decoders shallow. */
export const CBOR_DEPTH_MAX = 8

/** Bytes of the envelope of a certificate, a fact or a rotation: 32 signatures and a large body. */
export const ENVELOPE_BYTES_MAX: number = 8 * 1024

/** Bytes of the envelope of a genesis: 17 signatures and the keys of 16 nodes. */
export const GENESIS_BYTES_MAX: number = 16 * 1024

/** Signatures of one envelope: a threshold is at most half of it. */
export const SIGNATURES_MAX = 32

/** Characters of a token: what people still paste in one piece. */
export const TOKEN_CHARS_MAX: number = 4 * 1024

/** Characters of the name of a network. */
export const NAME_CHARS_MAX = 64

/** Nodes that sign a genesis. */
export const GENESIS_NODES_MAX = 16

/** Signatures that a network may ask for: as many as there can be genesis nodes. */
export const AUTHORITY_THRESHOLD_MAX: number = GENESIS_NODES_MAX

/** Roles of one certificate, and capabilities of one. */
export const LABELS_MAX = 16

/** Characters of a role or a capability. */
export const LABEL_CHARS_MAX = 64

/** Bytes of the serial of a certificate and of the id of a token: enough to be drawn at random. */
export const SERIAL_BYTES = 16

/** Bytes of the secret of a token. */
export const TOKEN_SECRET_BYTES = 32

/** Issuers in one token. */
export const TOKEN_ISSUERS_MAX = 8

/** Addresses of one issuer. */
export const ISSUER_ADDRESSES_MAX = 16

/** Characters of one address (a multiaddr as text). */
export const ADDRESS_CHARS_MAX = 256

/** Seconds of a certificate by default. Longer: a member may be away for longer. Shorter: a member
 * that hears of no revocation is out sooner. */
export const CERTIFICATE_LIFETIME_S: number = 7 * 24 * 3600

/** Seconds of a certificate at most, so that its revocation can be forgotten one day. */
export const CERTIFICATE_LIFETIME_S_MAX: number = 30 * 24 * 3600

/** A certificate is renewed when one part in so many of its lifetime has passed. */
export const RENEWAL_DIVISOR = 3

/** Seconds by which clocks of members may differ. */
export const CLOCK_SKEW_S = 120

/** Seconds for which a replaced key counts beside its successor. */
export const ROTATION_OVERLAP_S: number = 24 * 3600

/** Seconds of an overlap at most. */
export const ROTATION_OVERLAP_S_MAX: number = 30 * 24 * 3600

/** Days between scheduled rotations at most. */
export const ROTATION_DAYS_MAX = 3650

/** Rotations of the network key: one a week for 20 years. */
export const ROTATIONS_MAX = 1_024

/** Facts that a member keeps. At 300 bytes each 20 MB; the oldest expire. */
export const FACTS_MAX: number = 64 * 1024

/** Facts kept that do not (yet) hold: their issuer is not known as an authority. */
export const FACTS_HELD_MAX = 1_024

/** Facts that add or remove authorities. They are evaluated together. */
export const AUTHORITY_FACTS_MAX = 1_024

/** Different facts of one issuer under one number that are kept as evidence. */
export const FACT_VARIANTS_MAX = 8

/** Entries of a vector: one for each issuer, and one for each gap in its numbers. */
export const VECTOR_ENTRIES_MAX = 4_096

/** The whole of a score or a share of it. */
export const SCORE_WHOLE = 1_000

/** Weights of the factors of authentication: see `core/authentication.ts`. */
export const SCORE_WEIGHTS = { crypto: 550, network: 150, history: 150, consensus: 150 } as const

/** Score that a node has to exceed, by default. */
export const ADMISSION_THRESHOLD = 700

/** What an unknown history counts as: neither good nor bad. */
export const SCORE_NEUTRAL = 500

/** Imported public keys that {@link createCrypto} remembers: importing costs as much as half a
 * verification. More: more memory, about 1 KiB each. */
export const PUBLIC_KEYS_CACHED_MAX = 1_024
