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
