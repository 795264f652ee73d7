import type { AbortOptions, Bytes, EventSource, NodeId } from './base.ts'

/** Best effort: a message arrives at most once, uncorrupted, from the authenticated `from`; two to
 * one peer on one connection arrive in order; anything may be lost. Only peers whose membership
 * handshake has passed are ever seen here, and none after its revocation was applied. */
export interface MessageTransport extends EventSource<MessageTransportEvents> {
  readonly self: NodeId
  readonly messageBytesMax: number
  /** Members connected now. A hint: `send` may fail the next moment. */
  peers(): readonly NodeId[]
  /** Queues a copy and returns at once. False: dropped (no connection, queue of the peer full).
   * @throws {RangeError} longer than `messageBytesMax` */
  send(to: NodeId, message: Bytes): boolean
  /** One answer to one question. Rejects `ERR_TRANSPORT_UNREACHABLE` (surely not delivered),
   * `ERR_TRANSPORT_LOST` (perhaps delivered) or `ERR_TRANSPORT_REFUSED` (peer's handler said no,
   * its `code` as `remoteCode`). Without a signal the limit is 10 s. */
  request(to: NodeId, message: Bytes, options?: AbortOptions): Promise<Uint8Array>
  /**
   * At most one handler. `signal` aborts when the asker has gone. Bounded per peer; above:
   * refused.
   */
  handle(
    handler: (
      from: NodeId,
      message: Uint8Array,
      options: { readonly signal: AbortSignal },
    ) => Promise<Bytes>,
  ): () => void
}
export interface MessageTransportEvents {
  message: { readonly from: NodeId; readonly message: Uint8Array }
  'peer:up': { readonly peer: NodeId }
  'peer:down': { readonly peer: NodeId }
}
