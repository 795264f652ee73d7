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
export const AUTHORITY_THRESHOLD_MAX = 16

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

/** Removals of authorities that cut each other off and are weighed against each other: each costs
 * an evaluation of all facts about authorities for each of the others. */
export const CIRCLES_MAX = 16

/** Facts of one issuer: half of all, so that no single one can fill the memory of the others. */
export const FACTS_PER_ISSUER_MAX: number = FACTS_MAX / 2

/** Envelopes of one issuer under one number that are kept: evidence that it said different things,
 * and the same fact co-signed by different authorities. */
export const FACT_VARIANTS_MAX = 32

/** Entries of a vector: for issuers, gaps in their numbers, and facts told exactly. 100 KiB. */
export const VECTOR_ENTRIES_MAX = 1_024

/** Facts that do not expire up to which a vector tells each of them. More: members find out in more
 * cases that an issuer told them different things. Fewer: less traffic, 80 bytes for each. */
export const VECTOR_EXACT_MAX = 256

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

/** Bytes of the length before a frame of the handshake and of the membership protocols. */
export const WIRE_HEADER_BYTES = 2

/** Bytes of one frame: a certificate of 8 KiB in a message, twice over. */
export const WIRE_FRAME_BYTES_MAX: number = 16 * 1024

/** Milliseconds for a handshake from its first byte, TLS included. Longer: slow links get in.
 * Shorter: half-open handshakes of a flood are gone sooner. */
export const HANDSHAKE_TIMEOUT_MS = 10_000

/** Inbound handshakes that are not over. Each holds one frame and one TLS session of about
 * 100 KiB. */
export const HALF_OPEN_MAX = 64

/** Those of one address, so that one machine cannot take all places. */
export const HALF_OPEN_PER_ADDRESS_MAX = 32

/** Bytes of the random number that each side of a handshake draws. */
export const NONCE_BYTES = 32

/** Bytes of a session's name. */
export const SESSION_ID_BYTES = 16

/** Milliseconds that a proof of membership holds on an open connection. */
export const SESSION_MS = 3_600_000

/** Milliseconds before a session's end at which it is proved again: time for a few tries. */
export const SESSION_MARGIN_MS = 300_000

/** Isolation keys that count at one time: the present one, and the one before in its overlap. */
export const ISOLATION_KEYS_MAX = 2

/** Characters of a reason on the wire. */
export const REASON_CHARS_MAX = 32

/** Bytes of what a new member gets: genesis, keys, facts. Its bulk are facts; those that do not fit
 * come by the exchange of facts right after. */
export const WELCOME_BYTES_MAX: number = 1024 * 1024

/** Bytes of a welcome in one frame. */
export const WELCOME_PART_BYTES: number = 15 * 1024

/** Frames of one welcome. */
export const WELCOME_PARTS_MAX: number = Math.ceil(WELCOME_BYTES_MAX / WELCOME_PART_BYTES)

/** Bytes of a welcome that are left for what is no fact. */
export const WELCOME_RESERVE_BYTES: number = 128 * 1024

/** Members whose addresses a new member gets. */
export const WELCOME_PEERS_MAX = 32

/** Seconds after the end of a certificate in which its holder may still renew it. A revocation of a
 * certificate is kept for so long. Longer: a machine may be switched off for longer. */
export const RENEWAL_GRACE_S: number = 30 * 24 * 3600

/** Wrong tries of one address in a minute whose answers do not wait. */
export const TRIES_FREE_MAX = 5

/** Milliseconds over which wrong tries are counted. */
export const TRIES_WINDOW_MS = 60_000

/** Milliseconds that the first answer beyond the free ones waits; each next twice as long. */
export const TRIES_DELAY_MIN_MS = 250

/** Milliseconds that an answer waits at most: a try must end within the handshake's time. */
export const TRIES_DELAY_MAX_MS = 4_000

/** Answers that wait at one time; beyond, there is none. */
export const SLOWED_MAX = 16

/** Addresses whose wrong tries are remembered. */
export const TRIES_ADDRESSES_MAX = 1_024

/** Milliseconds for one exchange between members: a request and its answer, or facts. */
export const EXCHANGE_TIMEOUT_MS = 10_000

/** Bytes that one exchange may bring. */
export const EXCHANGE_BYTES_MAX: number = 2 * 1024 * 1024

/** Bytes of facts that one exchange takes or gives; the next one brings more. */
export const SYNC_BYTES_MAX: number = 1024 * 1024

/** Entries of a vector in one frame: the longest entry has about 80 bytes. */
export const VECTOR_ENTRIES_PER_FRAME = 128

/** Milliseconds between exchanges of facts with a member chosen at random: what floods lost. */
export const SYNC_INTERVAL_MS = 60_000

/** Facts that wait to be pushed to one member; beyond, the next exchange brings them. */
export const PUSH_FACTS_MAX = 256

/** Milliseconds between looks at what is due: sessions, certificates, revocations. Revocations that
 * a fact brings act at once; this is the bound for what only time brings. */
export const SWEEP_INTERVAL_MS = 1_000

/** Milliseconds after a failed renewal of a certificate. */
export const RENEWAL_RETRY_MS = 30_000

/** Tokens that an issuer keeps, used ones included, so that it can say what became of them. */
export const TOKENS_MAX = 1_024

/** Seconds for which an issuer remembers a token after its end. */
export const TOKEN_MEMORY_S: number = 24 * 3600

/** Seconds that a token is good for by default. */
export const TOKEN_TTL_S = 3600

/** Seconds that a token may be good for. */
export const TOKEN_TTL_S_MAX: number = 30 * 24 * 3600

/** Compatibility version that this package speaks. */
export const COMPATIBILITY_VERSION = 1

/** Facts that a peer brings along with its certificate: see `core/foundations.ts`. Verifying one
 * takes 100 us. More: longer chains of authorities reach who was away for long. */
export const FOUNDATION_FACTS_MAX = 64

/** Bytes of such facts in one frame. */
export const FOUNDATION_FRAME_BYTES: number = 15 * 1024
