import type { NodeId } from '../base.ts'
import type { MessageTransport } from '../message-transport.ts'

/** What a case of {@link messageTransportCases} gets: three members, each connected with each. */
export interface MessageTransportSetup extends AsyncDisposable {
  readonly transports: readonly MessageTransport[]
  /** Requests of one peer that one member handles at once; one more is refused. At most 64. */
  readonly handlersMax: number
  /**
   * Ends the connection of two and keeps them apart, losing what was under way; settles when both
   * have told `peer:down`.
   */
  disconnect(one: NodeId, other: NodeId): Promise<void>
  /** Lets the two connect again; settles when both have told `peer:up`. */
  connect(one: NodeId, other: NodeId): Promise<void>
  /** Lets time pass for the limits of requests, at once. */
  elapse(ms: number): Promise<void>
}
