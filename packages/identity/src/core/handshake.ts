/**
 * The proof of membership inside one encrypted connection, without I/O. What it proves, message by
 * message, is in the README under "How it works".
 *
 * A shell gives it frames, the time, and answers to what it asks for; it gives back effects, which
 * the shell carries out in their order. After `proven` or `refused` it is over.
 */
import type { MonotonicMs } from '@mycelium/interface'
import { HANDSHAKE_TIMEOUT_MS } from '../constants.ts'
import { decodeMessage, encodeMessage, refusalReasonOf } from './messages.ts'
import type { HandshakeMessage, HandshakeMode } from './messages.ts'
import type {
  Certificate,
  Crypto,
  RefusalReason,
  Signer,
  TrustSource,
  UnixSeconds,
} from './model.ts'
import type { NetworkState } from './network-state.ts'
import type { Tries } from './tries.ts'
import type { CheckedWelcome, Welcome } from './welcome.ts'

/** Deadlines go by the first, documents by the second. */
export interface HandshakeTime {
  readonly now: MonotonicMs
  readonly unix: UnixSeconds
}

/** What a member brings along. */
export interface OwnMembership {
  readonly state: NetworkState
  /** Those that count at `now`, newest first: 1 or 2. */
  isolationKeys(now: UnixSeconds): readonly Uint8Array[]
  /** Envelope of its own certificate. */
  readonly certificate: Uint8Array
  /** Facts that the certificate stands on: see `foundations.ts`. */
  foundations(): readonly Uint8Array[]
}

/** What an issuer keeps of a token. */
export interface KeptToken {
  /** SHA-256 of the secret under its prefix. */
  readonly key: Uint8Array
  readonly expiresAt: UnixSeconds
  /** Public key of the node that joined with it. */
  readonly usedBy?: Uint8Array
  readonly isRevoked?: boolean
}

export interface HandshakeDeps {
  readonly crypto: Crypto
  readonly signer: Signer
  readonly trust: TrustSource
}

export interface HandshakeInit {
  /** Public key of the peer, as the encrypted connection has proved it. */
  readonly peer: Uint8Array
  /** 32 fresh random bytes. */
  readonly nonce: Uint8Array
  /** Compatibility versions that this node speaks. */
  readonly versions: { readonly min: number; readonly max: number }
  /** Absent: this node is of no network yet. */
  readonly membership?: OwnMembership | undefined
  /** Since when the deadline runs. */
  readonly startedAt: MonotonicMs
  /**
   * What an expired certificate means. `degrade`: the connection stands already, and goes on
   * without being counted as healthy. @default 'refuse'
   */
  readonly expired?: 'refuse' | 'degrade'
}

export interface ResponderInit extends HandshakeInit {
  /** Host of the peer without its port: wrong tries are counted by it. */
  readonly address: string
  readonly tries: Tries
  tokenOf(tokenId: Uint8Array): KeptToken | undefined
}

export type HandshakeInput =
  /** The initiator begins. */
  | { readonly kind: 'start' }
  /** One frame without its header. */
  | { readonly kind: 'frame'; readonly frame: Uint8Array }
  /** The bytes are no frames, or the connection ended in the middle of one. */
  | { readonly kind: 'malformed' }
  /** {@link Handshake.nextDeadline} is here. */
  | { readonly kind: 'tick' }
  /** Answers `admit` and `renew`: the token's use is durable, and this is for the new member. */
  | { readonly kind: 'admitted'; readonly welcome: Welcome }
  | { readonly kind: 'denied'; readonly reason: RefusalReason }
  /** Answers `store`. */
  | { readonly kind: 'stored' }

export type HandshakeEffect =
  | { readonly kind: 'send'; readonly frame: Uint8Array }
  /** Make the use of this token by the peer durable, and only then answer `admitted`. */
  | { readonly kind: 'admit'; readonly tokenId: Uint8Array }
  /** Give the peer a new certificate in place of this one. */
  | { readonly kind: 'renew'; readonly certificate: Certificate }
  /** Make durable what was checked, and only then answer `stored`. */
  | { readonly kind: 'store'; readonly welcome: CheckedWelcome }
  /** Facts that the peer brought and that count from now on, in the state already. */
  | { readonly kind: 'facts'; readonly envelopes: readonly Uint8Array[] }
  /** The end: the rest of the bytes belongs to the connection. */
  | { readonly kind: 'proven'; readonly peer: ProvenPeer }
  /** The end: close the connection once what was sent before is out. */
  | {
      readonly kind: 'refused'
      readonly reason: RefusalReason
      /** Whether the peer refused us, and not we the peer. */
      readonly isByPeer: boolean
    }

/** Who is at the other end. */
export interface ProvenPeer {
  readonly publicKey: Uint8Array
  readonly certificate: Certificate
  /** The certificate's envelope. */
  readonly envelope: Uint8Array
  readonly mode: HandshakeMode
  /** The compatibility version that both speak. */
  readonly version: number
  /** Equal at both ends. */
  readonly session: Uint8Array
  readonly score: number
  /** The peer's certificate has expired. */
  readonly isDegraded: boolean
}

export interface Handshake {
  readonly isEnded: boolean
  step(input: HandshakeInput, time: HandshakeTime): readonly HandshakeEffect[]
  nextDeadline(): MonotonicMs | undefined
}

/** What both roles share: the deadline, reading, refusing. */
export abstract class HandshakeCore implements Handshake {
  protected readonly crypto: Crypto
  protected readonly deps: HandshakeDeps
  readonly #deadline: MonotonicMs
  /** When the refusal goes out; its reason. */
  #slowed: { readonly until: MonotonicMs; readonly reason: RefusalReason } | undefined
  #isEnded = false

  constructor(deps: HandshakeDeps, startedAt: MonotonicMs) {
    this.deps = deps
    this.crypto = deps.crypto
    this.#deadline = startedAt + HANDSHAKE_TIMEOUT_MS
  }

  get isEnded(): boolean {
    return this.#isEnded
  }

  nextDeadline(): MonotonicMs | undefined {
    if (this.#isEnded) return undefined
    return this.#slowed?.until ?? this.#deadline
  }

  step(input: HandshakeInput, time: HandshakeTime): readonly HandshakeEffect[] {
    if (this.#isEnded) return []
    const slowed = this.#slowed
    if (slowed !== undefined) {
      // Whoever is slowed has been judged: nothing that it sends is read.
      return time.now >= slowed.until ? this.#end(slowed.reason) : []
    }
    if (time.now >= this.#deadline) return this.refuse('timeout', time)
    switch (input.kind) {
      case 'start':
        return this.start()
      case 'frame':
        return this.#read(input.frame, time)
      case 'malformed':
        return this.refuse('malformed', time)
      case 'tick':
        return []
      case 'admitted':
        return this.admitted(input.welcome, time)
      case 'denied':
        return this.refuse(input.reason, time)
      case 'stored':
        return this.stored()
    }
  }

  protected abstract start(): readonly HandshakeEffect[]
  protected abstract message(
    message: HandshakeMessage,
    frame: Uint8Array,
    time: HandshakeTime,
  ): readonly HandshakeEffect[]
  protected abstract admitted(welcome: Welcome, time: HandshakeTime): readonly HandshakeEffect[]
  protected abstract stored(): readonly HandshakeEffect[]
  /** Whether the peer has proved that it is of this network, or holds a token of it. */
  protected abstract get isPeerKnown(): boolean
  /** Milliseconds that a refusal waits. */
  protected abstract delayOf(reason: RefusalReason, time: HandshakeTime): number | 'drop'
  /** A refusal that waited goes out. */
  protected abstract answered(): void

  protected send(message: HandshakeMessage): HandshakeEffect {
    return { kind: 'send', frame: encodeMessage(message) }
  }

  protected prove(peer: ProvenPeer): HandshakeEffect {
    this.#isEnded = true
    return { kind: 'proven', peer }
  }

  protected refuse(reason: RefusalReason, time: HandshakeTime): readonly HandshakeEffect[] {
    const delayMs = this.delayOf(reason, time)
    if (delayMs === 'drop') {
      this.#isEnded = true
      return [{ kind: 'refused', reason: 'slowed', isByPeer: false }]
    }
    if (delayMs > 0) {
      this.#slowed = { until: time.now + delayMs, reason }
      return []
    }
    return this.#end(reason)
  }

  #read(frame: Uint8Array, time: HandshakeTime): readonly HandshakeEffect[] {
    const message = decodeMessage(frame)
    if (message === undefined) return this.refuse('malformed', time)
    if (message.kind !== 'refused') return this.message(message, frame, time)
    this.#isEnded = true
    // Without a reason it knows us for strangers: it is of another network, or we are of none.
    const reason = refusalReasonOf(message.reason) ?? 'wrong-network'
    return [{ kind: 'refused', reason, isByPeer: true }]
  }

  #end(reason: RefusalReason): readonly HandshakeEffect[] {
    this.#isEnded = true
    if (this.#slowed !== undefined) this.answered()
    const isTold = this.isPeerKnown || reason === 'incompatible'
    return [
      this.send(isTold ? { kind: 'refused', reason } : { kind: 'refused' }),
      { kind: 'refused', reason, isByPeer: false },
    ]
  }
}
