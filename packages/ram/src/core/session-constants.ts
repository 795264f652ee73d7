/**
 * Bytes of message in one frame. Control waits for the frames that are already with the socket:
 * smaller lets it through sooner, larger costs fewer frames. At 128 KiB framing is under 1 % of
 * the time of a unix socket.
 */
export const FRAGMENT_BYTES_MAX: number = 128 * 1024

/** Calls of `send` that may wait for room; the contract of BulkChannel states it. */
export const SENDS_WAITING_MAX = 1_024

/** The part of the buffer that control messages have for themselves; stated by the contract. */
export const CONTROL_SHARE = 16

/** Bytes of the purpose of a channel in UTF-8; stated by the contract. */
export const PURPOSE_BYTES_MAX = 256

/** Bytes of a node's name in UTF-8. A PeerId has 52; generous for names in tests. */
export const NODE_ID_BYTES_MAX = 128

/** Bytes of a session's name: 128 random bits cannot be guessed nor collide. */
export const SESSION_ID_BYTES = 16

/** Smallest message and buffer that two ends may agree on: below, no message is possible. */
export const BUFFER_BYTES_MIN = 16
