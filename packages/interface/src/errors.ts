import type { NodeId } from './base.ts'

/** An error a caller may branch on. Match `code`, never `message`. */
export abstract class CodedError<Code extends string = string> extends Error {
  abstract override get name(): string
  abstract readonly code: Code
}

/** The peer's process died, or the gap outlived the grace time: what was in flight is in doubt. */
export class BulkSessionLostError extends CodedError<'ERR_BULK_SESSION_LOST'> {
  override get name(): 'BulkSessionLostError' {
    return 'BulkSessionLostError'
  }
  readonly code = 'ERR_BULK_SESSION_LOST'
  readonly remote: NodeId
  readonly purpose: string

  constructor(remote: NodeId, purpose: string, why: string, options?: ErrorOptions) {
    super(`session ${purpose} with ${remote} is lost: ${why}`, options)
    this.remote = remote
    this.purpose = purpose
  }
}

/** The channel, or its sending half, was closed by this side or the other. */
export class BulkClosedError extends CodedError<'ERR_BULK_CLOSED'> {
  override get name(): 'BulkClosedError' {
    return 'BulkClosedError'
  }
  readonly code = 'ERR_BULK_CLOSED'

  constructor(purpose: string, options?: ErrorOptions) {
    super(`channel ${purpose} is closed`, options)
  }
}

/** `receive` or `source` was used before: a channel has one consumer. */
export class BulkConsumedError extends CodedError<'ERR_BULK_CONSUMED'> {
  override get name(): 'BulkConsumedError' {
    return 'BulkConsumedError'
  }
  readonly code = 'ERR_BULK_CONSUMED'

  constructor(purpose: string, options?: ErrorOptions) {
    super(`channel ${purpose} already has its one consumer`, options)
  }
}

/** More calls of `send` wait for room than the channel keeps. */
export class BulkQueueFullError extends CodedError<'ERR_BULK_QUEUE_FULL'> {
  override get name(): 'BulkQueueFullError' {
    return 'BulkQueueFullError'
  }
  readonly code = 'ERR_BULK_QUEUE_FULL'
  readonly waitingMax: number

  constructor(purpose: string, waitingMax: number, options?: ErrorOptions) {
    super(`channel ${purpose}: already ${waitingMax} calls of send wait for room`, options)
    this.waitingMax = waitingMax
  }
}

/** The peer called `abort`. */
export class BulkAbortedError extends CodedError<'ERR_BULK_ABORTED'> {
  override get name(): 'BulkAbortedError' {
    return 'BulkAbortedError'
  }
  readonly code = 'ERR_BULK_ABORTED'
  readonly remote: NodeId

  constructor(remote: NodeId, purpose: string, options?: ErrorOptions) {
    super(`channel ${purpose} was aborted by ${remote}`, options)
    this.remote = remote
  }
}

/** No connection to the peer could be made. */
export class BulkUnreachableError extends CodedError<'ERR_BULK_UNREACHABLE'> {
  override get name(): 'BulkUnreachableError' {
    return 'BulkUnreachableError'
  }
  readonly code = 'ERR_BULK_UNREACHABLE'
  readonly remote: NodeId

  constructor(remote: NodeId, why: string, options?: ErrorOptions) {
    super(`${remote} cannot be reached: ${why}`, options)
    this.remote = remote
  }
}

/** The peer answered and did not want the channel: no listener for the purpose, or not allowed. */
export class BulkRefusedError extends CodedError<'ERR_BULK_REFUSED'> {
  override get name(): 'BulkRefusedError' {
    return 'BulkRefusedError'
  }
  readonly code = 'ERR_BULK_REFUSED'
  readonly remote: NodeId
  readonly purpose: string

  constructor(remote: NodeId, purpose: string, why: string, options?: ErrorOptions) {
    super(`${remote} refuses ${purpose}: ${why}`, options)
    this.remote = remote
    this.purpose = purpose
  }
}

/** The message was surely not delivered: no connection, or no room in the queue of the peer. */
export class TransportUnreachableError extends CodedError<'ERR_TRANSPORT_UNREACHABLE'> {
  override get name(): 'TransportUnreachableError' {
    return 'TransportUnreachableError'
  }
  readonly code = 'ERR_TRANSPORT_UNREACHABLE'
  readonly remote: NodeId

  constructor(remote: NodeId, why: string, options?: ErrorOptions) {
    super(`${remote} cannot be asked: ${why}`, options)
    this.remote = remote
  }
}

/** No answer came: the peer may have had the question, and may have acted on it. */
export class TransportLostError extends CodedError<'ERR_TRANSPORT_LOST'> {
  override get name(): 'TransportLostError' {
    return 'TransportLostError'
  }
  readonly code = 'ERR_TRANSPORT_LOST'
  readonly remote: NodeId

  constructor(remote: NodeId, why: string, options?: ErrorOptions) {
    super(`no answer from ${remote}: ${why}`, options)
    this.remote = remote
  }
}

/** The peer had the question and said no. */
export class TransportRefusedError extends CodedError<'ERR_TRANSPORT_REFUSED'> {
  override get name(): 'TransportRefusedError' {
    return 'TransportRefusedError'
  }
  readonly code = 'ERR_TRANSPORT_REFUSED'
  readonly remote: NodeId
  /**
   * `code` of what the peer's handler threw, or `ERR_TRANSPORT_HANDLER` where that had none,
   * `ERR_TRANSPORT_NO_HANDLER`, `ERR_TRANSPORT_BUSY`, `ERR_TRANSPORT_ANSWER_TOO_LONG`.
   */
  readonly remoteCode: string

  constructor(remote: NodeId, remoteCode: string, options?: ErrorOptions) {
    super(`${remote} refuses: ${remoteCode}`, options)
    this.remote = remote
    this.remoteCode = remoteCode
  }
}
