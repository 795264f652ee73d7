import type { BulkPriority, MonotonicMs } from '@mycelium/interface'

/** A message on its way out. The core compares identities and reads nothing but these fields. */
export interface OutgoingMessage {
  readonly priority: BulkPriority
  readonly bytes: number
  /** May be exchanged for a copy of the same bytes when the message is accepted. */
  parts: readonly Uint8Array[]
}

/** What one end tells about one class of messages that it receives. All numbers only grow. */
export interface ReceivedState {
  /** Complete messages in the receive queue or beyond. */
  readonly delivered: number
  /** Bytes of messages that the consumer is done with: credit for the sender. */
  readonly consumedBytes: number
}

/** What one end has received. Whole, so that losing one report does no harm. */
export interface SessionState {
  readonly control: ReceivedState
  readonly bulk: ReceivedState
  /** The end of the peer's sending half was received. */
  readonly ended: boolean
}

export interface SessionLimits {
  readonly messageBytesMax: number
  readonly bufferBytesMax: number
}

/** What one end says to the other over a link. `channel-wire.ts` gives it bytes. */
export type SessionFrame =
  /** First on each link, from the opener. */
  | ({
      readonly type: 'hello'
      /** Grows with each connection, so that a late one cannot replace a newer one. */
      readonly attempt: number
      /** The opener has never had an answer: the session may be new to the acceptor. */
      readonly fresh: boolean
      readonly state: SessionState
    } & SessionLimits)
  /** The acceptor's answer. */
  | ({ readonly type: 'welcome'; readonly state: SessionState } & SessionLimits)
  | DataFrame
  | { readonly type: 'state'; readonly state: SessionState }
  | { readonly type: 'ping' | 'pong'; readonly token: number }
  /** Nothing follows in this direction; all messages before it were sent on this link or before. */
  | { readonly type: 'end' }
  /** Everything is delivered and acknowledged; the sender goes away. Answered by `closed`. */
  | { readonly type: 'close' | 'closed' | 'abort' }

/** A part of a message. */
export interface DataFrame {
  readonly type: 'data'
  readonly priority: BulkPriority
  /** Number of the message in its class, from 0. */
  readonly sequence: number
  readonly offset: number
  readonly totalBytes: number
  readonly parts: readonly Uint8Array[]
}

/** The same at the receiver, cut wherever the stream was cut. */
export interface DataPiece {
  readonly type: 'data'
  readonly priority: BulkPriority
  readonly sequence: number
  readonly offset: number
  readonly totalBytes: number
  readonly bytes: Uint8Array
}

export type RefusalReason = 'no-listener' | 'queue-full' | 'not-allowed' | 'unknown-session'

export type SessionInput<Message extends OutgoingMessage> =
  | { readonly type: 'send'; readonly message: Message }
  | { readonly type: 'withdraw'; readonly message: Message }
  /** The consumer is done with a delivered message. */
  | { readonly type: 'consumed'; readonly priority: BulkPriority; readonly bytes: number }
  /** Close the sending half after what is accepted. */
  | { readonly type: 'end' }
  | { readonly type: 'close' }
  | { readonly type: 'abort' }
  /** The shell made the connection that a `connect` effect asked for. */
  | { readonly type: 'connected'; readonly link: number }
  /** Acceptor: the opener came over a new connection. `state`: from its hello. */
  | {
      readonly type: 'attached'
      readonly link: number
      readonly attempt: number
      readonly state: SessionState
    }
  | { readonly type: 'disconnected'; readonly link: number; readonly why: string }
  | { readonly type: 'frame'; readonly link: number; readonly frame: ReceivedFrame }
  | { readonly type: 'tick' }

/** What the decoder hands to the core. */
export type ReceivedFrame =
  | Exclude<SessionFrame, DataFrame | { readonly type: 'hello' }>
  | DataPiece
  | { readonly type: 'refused'; readonly reason: RefusalReason }

/** Why a session is over. */
export type SessionEnd =
  /** This end closed, everything was delivered. */
  | { readonly by: 'local' }
  | { readonly by: 'peer' }
  | { readonly by: 'abort' }
  | { readonly by: 'peer-abort' }
  | { readonly by: 'refusal'; readonly reason: RefusalReason }
  | { readonly by: 'loss'; readonly why: string }

export type SessionEffect<Message extends OutgoingMessage> =
  /** The message has its place in the buffer: copy it now unless it may be read in place. */
  | { readonly type: 'accepted'; readonly message: Message }
  /** It will not be sent: withdrawn, or the session ends (then `over` came before). */
  | { readonly type: 'rejected'; readonly message: Message }
  /** Its memory is not read any more. */
  | { readonly type: 'released'; readonly message: Message }
  | { readonly type: 'deliver'; readonly priority: BulkPriority; readonly bytes: Uint8Array }
  /** Nothing more is delivered: the peer ended its sending half. */
  | { readonly type: 'peer-ended' }
  /** Connect to the peer and answer `connected` or `disconnected` with this number. */
  | { readonly type: 'connect'; readonly link: number }
  /** Give this link up, at once. No `disconnected` is needed. */
  | { readonly type: 'disconnect'; readonly link: number; readonly why: string }
  /** The handshake is done for the first time. */
  | { readonly type: 'opened' }
  | { readonly type: 'suspended'; readonly since: MonotonicMs }
  | { readonly type: 'resumed'; readonly gapMs: number }
  /** Final. Send what `poll` still gives, end the link, then release `unreleased`. `rejected` may
   * follow. */
  | { readonly type: 'over'; readonly end: SessionEnd; readonly unreleased: readonly Message[] }
