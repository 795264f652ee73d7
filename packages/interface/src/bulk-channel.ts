import type { AbortOptions, Bytes, EventSource, MonotonicMs, NodeId } from './base.ts'

/** `control` overtakes `bulk`. Order holds INSIDE a class, never between classes: whatever must
 * follow a bulk message (an epoch's footer) is sent as bulk. */
export type BulkPriority = 'control' | 'bulk'
export interface BulkMessage {
  readonly priority: BulkPriority
  /** Belongs to the receiver; never reused by the channel. */
  readonly bytes: Uint8Array
}
export interface BulkSendOptions extends AbortOptions {
  /** @default 'bulk' */
  readonly priority?: BulkPriority
  /**
   * Absent: the channel copies before `send` resolves. Present: it reads `bytes` in place and
   * calls this exactly once when it never reads them again (acknowledged, refused, channel
   * closed).
   */
  readonly onReleased?: () => void
}
/**
 * Session between two PROCESSES. While both live: each accepted message is delivered exactly once
 * and in class order, over any number of links, through any gap shorter than the grace time. If a
 * process dies or the gap is longer, both ends fail with `ERR_BULK_SESSION_LOST`; what was
 * accepted and not acknowledged may or may not have been delivered, so users number their own
 * messages. Delivered means: in the peer's receive queue. Processed needs an answer by the user's
 * protocol.
 */
export interface BulkChannel extends AsyncDisposable, EventSource<BulkChannelEvents> {
  readonly local: NodeId
  readonly remote: NodeId
  /** What the opener asked for, at most 256 UTF-8 bytes, e.g. `ram/<vm>/<fencing epoch>`. */
  readonly purpose: string
  /** For bulk. A control message has at most a sixteenth of {@link bufferBytesMax} as well. */
  readonly messageBytesMax: number
  /** Bound on accepted, unacknowledged bytes here, and on unread bytes at the receiver. */
  readonly bufferBytesMax: number
  readonly state: 'open' | 'suspended' | 'closed'
  /**
   * Resolves when ACCEPTED; waits while `bufferBytesMax` is reached (also while suspended).
   * Concurrent calls are accepted in call order per class; `control` has an own reserve of 1/16.
   * Abort before acceptance withdraws it, after acceptance has no effect. Rejects
   * `ERR_BULK_SESSION_LOST`, `ERR_BULK_CLOSED`, or `ERR_BULK_QUEUE_FULL` (more than 1,024 calls
   * waiting).
   * @throws {RangeError} too long or empty
   */
  send(message: Bytes, options?: BulkSendOptions): Promise<void>
  /** Resolves when all accepted before the call is delivered. */
  flush(options?: AbortOptions): Promise<void>
  /** One consumer; a second rejects `ERR_BULK_CONSUMED`. Credit returns when the next is pulled.
   * Ends after the peer's close; throws on loss. Leaving the loop early closes the channel. */
  receive(): AsyncGenerator<BulkMessage, void, undefined>
  /** it-pipe face: one item is one bulk message; `sink` closes the sending half at the end.
   * Uses `receive` and `send`: not beside them. */
  readonly source: AsyncIterable<Uint8Array>
  sink(source: AsyncIterable<Bytes> | Iterable<Bytes>): Promise<void>
  /** Flushes, tells the peer, releases. Abort falls back to {@link abort}. Idempotent. */
  close(options?: AbortOptions): Promise<void>
  /** At once; the peer sees `ERR_BULK_ABORTED`. */
  abort(reason: Error): void
  stats(): BulkStats
}
export interface BulkChannelEvents {
  suspended: { readonly since: MonotonicMs }
  resumed: { readonly gapMs: number }
  closed: { readonly reason?: Error }
}
export interface BulkStats {
  readonly acceptedBytes: number
  readonly acknowledgedBytes: number
  readonly receivedBytes: number
  readonly resentBytes: number
  readonly linksUp: number
  readonly rttMs?: number
}
/**
 * Gives channels to whoever names a peer; authenticated and authorised before either side sees
 * one. An open channel outlives the fabric connection that introduced it, not a revocation of its
 * peer.
 */
export interface BulkChannelProvider {
  /** Rejects `ERR_BULK_UNREACHABLE`, `ERR_BULK_REFUSED` (no listener for it, or not allowed). */
  open(remote: NodeId, purpose: string, options?: AbortOptions): Promise<BulkChannel>
  /** Channels whose purpose starts with `prefix`; at most 16 unaccepted, then peers are refused. */
  accept(prefix: string, options?: AbortOptions): AsyncIterable<BulkChannel>
}
