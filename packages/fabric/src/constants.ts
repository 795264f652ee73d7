/** Known peers. Each costs about 1 KiB; a network of a thousand nodes fits. */
export const PEERS_MAX = 2_048

/** Peers that only mDNS told of: what any device of the local network can make up, so few. */
export const DISCOVERED_MAX = 128

/** Addresses of one peer: a node with several networks has about a dozen; libp2p dials 25. */
export const ADDRESSES_MAX = 16

/** Longest text of one address: a relayed one with two peer ids has about 200 characters. */
export const ADDRESS_CHARS_MAX = 512

/** Dials at once. A peer that is gone holds its place for {@link DIAL_TIMEOUT_MS}, so not one. */
export const DIALS_MAX = 16

/** Bound on one dial: TCP, TLS and the exchange of the encrypter, over a slow link. */
export const DIAL_TIMEOUT_MS = 10_000

/** First range of the delay before another dial; doubled with each failure. */
export const DELAY_MS_MIN = 250

/**
 * Last range of the delay. Longer spares a network whose peer is gone for good; shorter finds a
 * peer sooner that came back and does not know us.
 */
export const DELAY_MS_MAX = 30_000

/** The same for peers that only mDNS told of: often they belong to another network. */
export const DISCOVERED_DELAY_MS_MAX = 600_000

/** A connection that lasted so long was a success: the next dial is as the first. */
export const STABLE_MS = 10_000

/** Doublings that matter: 250 ms times 2^12 is above every longest delay. */
export const DOUBLINGS_MAX = 12

/** Between two pings of a quiet connection, plus or minus a quarter. Traffic: about 1 kB each. */
export const HEARTBEAT_MS = 5_000

/** A ping without answer for so long has failed. */
export const PING_TIMEOUT_MS = 5_000

/** So many failed pings in a row end the connection; with another connection that works, one. */
export const MISSES_MAX = 2

/** Round trips whose median is told: an outlier of one or two does not move it. */
export const ROUND_TRIPS_MAX = 9

/** A connection that is no longer used stays so long, for what is under way on it. */
export const LINGER_MS = 1_000

/** Connections of one peer. Two are usual when both dial at once; more mean a peer gone wild. */
export const CONNECTIONS_PER_PEER_MAX = 4

/** Longest message of a transport, unless told otherwise. Control messages are far shorter. */
export const MESSAGE_BYTES_DEFAULT = 262_144

/** Highest value of it: above, a message holds others up for seconds. Bulk has channels. */
export const MESSAGE_BYTES_LIMIT = 4_194_304

/** Messages and questions that wait for one peer. */
export const QUEUE_MAX = 1_024

/** Longest messages that wait for one peer, by default: the queue is so many times as long. */
export const QUEUE_MESSAGES_OF_LONGEST = 4

/** Requests of one peer that are handled at once, unless told otherwise. */
export const HANDLERS_DEFAULT = 32

/** Questions to one peer without an answer; above, they fail as not delivered. */
export const QUESTIONS_MAX = 1_024

/** The contract's limit of a request without a signal. */
export const REQUEST_LIMIT_MS = 10_000

/** Opening a stream and agreeing on its version: one or two round trips. */
export const STREAM_OPEN_TIMEOUT_MS = 5_000

/** After a stream was refused, messages to that peer are dropped for so long, without a new try. */
export const STREAM_RETRY_MS = 500

/** Streams of one protocol that a peer may have open towards us on one connection. */
export const STREAMS_INBOUND_MAX = 4

/** Protocols with a transport on one fabric. */
export const TRANSPORTS_MAX = 64

/** Peers that were dropped and are kept out by this process; the caller's gate knows them all. */
export const DROPPED_MAX = 65_536

/** Connections in all: every known peer, and some that are on their way in or out. */
export const CONNECTIONS_MAX: number = PEERS_MAX + 256

/** Inbound connections that are not proved yet. */
export const PENDING_INBOUND_MAX = 64

/**
 * Inbound connections of one address in a second. A whole network behind one address (NAT, a test
 * on loopback) forms in seconds; more is a flood.
 */
export const INBOUND_PER_SECOND_MAX = 64

/** Bound on stopping: what hangs longer is cut. */
export const STOP_TIMEOUT_MS = 5_000
