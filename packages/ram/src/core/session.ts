import type { MonotonicMs, Random } from '@mycelium/interface'
import { type LaneCounts, SessionLanes } from './session-lanes.ts'
import type {
  OutgoingMessage,
  ReceivedFrame,
  SessionEffect,
  SessionEnd,
  SessionFrame,
  SessionInput,
  SessionLimits,
  SessionState,
} from './session-types.ts'
import { SessionViolation } from './session-violation.ts'

export interface SessionConfig extends SessionLimits {
  readonly role: 'opener' | 'acceptor'
  /** A ping goes so often, in milliseconds. */
  readonly keepAliveMs: number
  /** A link that is silent for so long is given up. */
  readonly silenceMs: number
  /** Without a link for so long the session is lost. */
  readonly graceMs: number
  /** Time for one connection with its handshake. */
  readonly connectMs: number
  /** Wait before the second attempt of a row; doubles up to `backoffMsMax`. */
  readonly backoffMs: number
  readonly backoffMsMax: number
  /** Bytes of message in one frame; the shells use FRAGMENT_BYTES_MAX. */
  readonly fragmentBytes: number
}

export interface SessionDeps {
  /** For the jitter between attempts. */
  readonly random: Random
  /** Memory for a message; its content may be anything. */
  readonly allocate: (bytes: number) => Uint8Array
}

/**
 * One end of a BulkChannel without I/O: a session that outlives its links. At most one link at a
 * time. Messages are numbered per class; the receiver reports what it delivered and consumed, whole
 * and cumulative; after a new link the sender starts again at the first message that was not
 * delivered. So nothing is lost, doubled or reordered, wherever a link breaks.
 */
export class Session<Message extends OutgoingMessage> {
  readonly #config: SessionConfig
  readonly #random: Random
  readonly #lanes: SessionLanes<Message>
  #limits: SessionLimits
  #phase: 'opening' | 'live' | 'over' = 'opening'
  #effects: SessionEffect<Message>[] = []

  /** Number of the newest connection; an opener counts, an acceptor takes the opener's number. */
  #attempt = 0
  /** Attempts in a row that failed. */
  #failures = 0
  #link: number | undefined
  /** `wanted`: asked for. `greeting`: connected, no answer yet. `ready`: messages may flow. */
  #linkPhase: 'none' | 'wanted' | 'greeting' | 'ready' = 'none'
  /** Deadline of the attempt in `wanted` and `greeting`; when to try again in `none`. */
  #attemptAt: MonotonicMs = 0
  #suspendedAt: MonotonicMs | undefined
  #heardAt: MonotonicMs = 0
  #pingAt: MonotonicMs = 0

  /** What `poll` gives next; renewed with each link. */
  #owes = { greeting: false, state: false, ping: false, end: false, close: false }
  #pingToken = 0
  #pongToken: number | undefined
  #final: 'closed' | 'abort' | undefined
  #ending = false
  #peerKnowsEnd = false
  #peerEnded = false
  #closing = false
  #closeSent = false
  #rttMs: number | undefined

  constructor(deps: SessionDeps, config: SessionConfig) {
    this.#config = config
    this.#random = deps.random
    this.#limits = config
    this.#lanes = new SessionLanes(config, deps.allocate)
  }

  /** What both ends agreed on; before `opened` what this end wants. */
  get limits(): SessionLimits {
    return this.#limits
  }

  get waitingCount(): number {
    return this.#lanes.waitingCount
  }

  get linkUp(): boolean {
    return this.#linkPhase === 'ready' && this.#phase === 'live'
  }

  /** Messages, per class. */
  get progress(): SessionLanes<Message>['progress'] {
    return this.#lanes.progress
  }

  get counts(): LaneCounts & { readonly rttMs: number | undefined } {
    return { ...this.#lanes.counts, rttMs: this.#rttMs }
  }

  /** Opener: asks for the first connection. Acceptor: nothing; it begins with `attached`. */
  start(now: MonotonicMs): SessionEffect<Message>[] {
    if (this.#config.role === 'opener') this.#connect(now)
    return this.#takeEffects()
  }

  /**
   * Advances the session by one input.
   *
   * @param now - not less than in any call before
   * @returns effects in the order in which they must be carried out
   */
  step(input: SessionInput<Message>, now: MonotonicMs): SessionEffect<Message>[] {
    try {
      this.#handle(input, now)
    } catch (error) {
      if (!(error instanceof SessionViolation)) throw error
      this.#dropLink(`the peer broke the protocol: it ${error.message}`, now)
    }
    return this.#takeEffects()
  }

  /** When the next `tick` can change anything. */
  nextDeadline(): MonotonicMs | undefined {
    if (this.#phase === 'over') return undefined
    const lostAt = (this.#suspendedAt ?? Infinity) + this.#config.graceMs
    let at = Math.min(lostAt, Infinity)
    if (this.#linkPhase === 'ready') {
      at = Math.min(at, this.#pingAt, this.#heardAt + this.#config.silenceMs)
    } else if (this.#config.role === 'opener') {
      at = Math.min(at, this.#attemptAt)
    }
    return at === Infinity ? undefined : at
  }

  /** The next frame for the link, or none now. After `over` the last frame, once. */
  poll(): SessionFrame | undefined {
    if (this.#phase === 'over') {
      const final = this.#final
      this.#final = undefined
      return final === undefined ? undefined : { type: final }
    }
    if (this.#owes.greeting) return this.#greeting()
    if (this.#linkPhase !== 'ready') return undefined
    const { fragmentBytes } = this.#config
    return this.#report() ?? this.#lanes.next(fragmentBytes) ?? this.#nextEnd()
  }

  #takeEffects(): SessionEffect<Message>[] {
    const effects = this.#effects
    this.#effects = []
    return effects
  }

  #handle(input: SessionInput<Message>, now: MonotonicMs): void {
    if (this.#phase === 'over') {
      if (input.type === 'send') this.#effects.push({ type: 'rejected', message: input.message })
      return
    }
    switch (input.type) {
      case 'send':
        return this.#send(input.message)
      case 'withdraw':
        if (this.#lanes.withdraw(input.message)) {
          this.#effects.push({ type: 'rejected', message: input.message })
          this.#acceptWaiting()
        }
        return
      case 'consumed':
        this.#lanes.consumed(input.priority, input.bytes)
        this.#owes.state = true
        return
      case 'end':
        return this.#end()
      case 'close':
        this.#closing = true
        this.#owes.close = true
        return this.#rejectWaiting()
      case 'abort':
        if (this.#linkPhase === 'ready') this.#final = 'abort'
        return this.#finish({ by: 'abort' })
      case 'connected':
        return this.#connected(input.link, now)
      case 'attached':
        return this.#attached(input.link, input.attempt, input.state, now)
      case 'disconnected':
        if (input.link === this.#link) this.#linkLost(input.why, now)
        return
      case 'frame':
        if (input.link === this.#link) this.#frame(input.frame, now)
        return
      case 'tick':
        return this.#tick(now)
    }
  }

  // ---- the user's side

  #send(message: Message): void {
    if (this.#closing || this.#ending) {
      this.#effects.push({ type: 'rejected', message })
      return
    }
    this.#lanes.push(message)
    this.#acceptWaiting()
  }

  #acceptWaiting(): void {
    for (const message of this.#lanes.accept()) this.#effects.push({ type: 'accepted', message })
  }

  #rejectWaiting(): void {
    for (const message of this.#lanes.takeWaiting()) {
      this.#effects.push({ type: 'rejected', message })
    }
  }

  #end(): void {
    this.#ending = true
    this.#owes.end = true
    this.#rejectWaiting()
  }

  #finish(end: SessionEnd): void {
    this.#phase = 'over'
    this.#effects.push({ type: 'over', end, unreleased: this.#lanes.takeAccepted() })
    this.#rejectWaiting()
  }

  // ---- links

  #connect(now: MonotonicMs): void {
    this.#attempt++
    this.#link = this.#attempt
    this.#linkPhase = 'wanted'
    this.#attemptAt = now + this.#config.connectMs
    this.#effects.push({ type: 'connect', link: this.#attempt })
  }

  #connected(link: number, now: MonotonicMs): void {
    if (link !== this.#link || this.#linkPhase !== 'wanted') {
      this.#effects.push({ type: 'disconnect', link, why: 'it came too late' })
      return
    }
    this.#linkPhase = 'greeting'
    this.#owes.greeting = true
    this.#heardAt = now
  }

  #attached(link: number, attempt: number, state: SessionState, now: MonotonicMs): void {
    if (attempt <= this.#attempt) {
      this.#effects.push({ type: 'disconnect', link, why: 'a newer connection came before it' })
      return
    }
    this.#attempt = attempt
    if (this.#link !== undefined) this.#dropLink('the peer came over a new connection', now)
    this.#link = link
    this.#owes.greeting = true
    this.#ready(state, now)
  }

  /** Messages may flow over the present link; `state` is what the peer has received so far. */
  #ready(state: SessionState, now: MonotonicMs): void {
    this.#takeState(state)
    this.#lanes.rewind()
    this.#linkPhase = 'ready'
    this.#failures = 0
    this.#heardAt = now
    this.#pingAt = now + this.#config.keepAliveMs
    this.#owes.state = true
    this.#owes.end = this.#ending && !this.#peerKnowsEnd
    this.#owes.close = this.#closing
    this.#closeSent = false
    if (this.#phase === 'opening') {
      this.#phase = 'live'
      this.#effects.push({ type: 'opened' })
    } else {
      const gapMs = now - (this.#suspendedAt ?? now)
      this.#effects.push({ type: 'resumed', gapMs })
    }
    this.#suspendedAt = undefined
  }

  #dropLink(why: string, now: MonotonicMs): void {
    if (this.#link === undefined) return
    this.#effects.push({ type: 'disconnect', link: this.#link, why })
    this.#linkLost(why, now)
  }

  #linkLost(why: string, now: MonotonicMs): void {
    const wasReady = this.#linkPhase === 'ready'
    this.#link = undefined
    this.#linkPhase = 'none'
    this.#owes = { greeting: false, state: false, ping: false, end: false, close: false }
    this.#pongToken = undefined
    this.#lanes.reset()
    if (this.#phase === 'opening') return this.#finish({ by: 'loss', why })
    if (wasReady) {
      this.#suspendedAt = now
      this.#effects.push({ type: 'suspended', since: now })
    }
    if (this.#config.role === 'acceptor') return
    if (wasReady) return this.#connect(now) // most links break for a moment only
    this.#attemptAt = now + this.#backoff()
    this.#failures++
  }

  /** Doubles with each failure up to its bound; half of it is random, so that peers spread out. */
  #backoff(): number {
    const { backoffMs, backoffMsMax } = this.#config
    const delayMs = Math.ceil(Math.min(backoffMsMax, backoffMs * 2 ** Math.min(this.#failures, 30)))
    return Math.ceil(delayMs / 2) + this.#random.below(Math.floor(delayMs / 2) + 1)
  }

  #tick(now: MonotonicMs): void {
    const { graceMs, silenceMs, keepAliveMs } = this.#config
    if (this.#suspendedAt !== undefined && now >= this.#suspendedAt + graceMs) {
      if (this.#link !== undefined) {
        this.#effects.push({ type: 'disconnect', link: this.#link, why: 'the grace time is over' })
      }
      if (this.#closing && this.#lanes.allAcknowledged) return this.#finish({ by: 'local' })
      return this.#finish({ by: 'loss', why: `no link for ${graceMs} ms` })
    }
    if (this.#linkPhase === 'ready') {
      if (now >= this.#heardAt + silenceMs) return this.#dropLink('the peer is silent', now)
      if (now >= this.#pingAt) {
        this.#pingAt = now + keepAliveMs
        this.#owes.ping = true
        this.#pingToken = now
      }
    } else if (this.#config.role === 'opener' && now >= this.#attemptAt) {
      if (this.#linkPhase === 'none') this.#connect(now)
      else this.#dropLink('the peer did not answer in time', now)
    }
  }

  // ---- frames in

  #frame(frame: ReceivedFrame, now: MonotonicMs): void {
    this.#heardAt = now
    if (this.#linkPhase !== 'ready') return this.#answer(frame, now)
    switch (frame.type) {
      case 'data': {
        if (this.#peerEnded) throw new SessionViolation('sends after its end')
        const bytes = this.#lanes.piece(frame)
        if (bytes === undefined) return
        this.#owes.state = true
        this.#effects.push({ type: 'deliver', priority: frame.priority, bytes })
        return
      }
      case 'state':
        return this.#takeState(frame.state)
      case 'ping':
        this.#pongToken = frame.token
        return
      case 'pong':
        if (frame.token === this.#pingToken) this.#rttMs = now - frame.token
        return
      case 'end':
        this.#owes.state = true
        if (!this.#peerEnded) this.#effects.push({ type: 'peer-ended' })
        this.#peerEnded = true
        return
      case 'close':
        this.#final = 'closed'
        return this.#finish({ by: 'peer' })
      case 'closed':
        if (!this.#closeSent) throw new SessionViolation('confirms a close that was not sent')
        return this.#finish({ by: 'local' })
      case 'abort':
        return this.#finish({ by: 'peer-abort' })
      case 'welcome':
      case 'refused':
        throw new SessionViolation(`sends ${frame.type} twice`)
    }
  }

  /** The acceptor's answer to the greeting. */
  #answer(frame: ReceivedFrame, now: MonotonicMs): void {
    if (this.#linkPhase !== 'greeting' || this.#owes.greeting) {
      throw new SessionViolation('speaks before it was greeted')
    }
    if (frame.type === 'refused') return this.#refused(frame.reason)
    if (frame.type !== 'welcome') throw new SessionViolation(`answers with ${frame.type}`)
    if (this.#phase === 'opening') this.#agree(frame)
    this.#ready(frame.state, now)
  }

  #refused(reason: (ReceivedFrame & { type: 'refused' })['reason']): void {
    if (this.#phase === 'opening') return this.#finish({ by: 'refusal', reason })
    // A peer that confirmed a close has forgotten the session: so the close has worked.
    if (this.#closing && this.#lanes.allAcknowledged) return this.#finish({ by: 'local' })
    this.#finish({ by: 'loss', why: `the peer refuses to go on (${reason})` })
  }

  #agree({ messageBytesMax, bufferBytesMax }: SessionLimits): void {
    const own = this.#limits
    if (messageBytesMax > own.messageBytesMax || bufferBytesMax > own.bufferBytesMax) {
      throw new SessionViolation('answers with larger limits than it was offered')
    }
    this.#limits = { messageBytesMax, bufferBytesMax }
    this.#lanes.narrow(this.#limits)
  }

  #takeState(state: SessionState): void {
    for (const message of this.#lanes.acknowledge(state)) {
      this.#effects.push({ type: 'released', message })
    }
    if (state.ended && !this.#ending)
      throw new SessionViolation('confirms an end that was not sent')
    this.#peerKnowsEnd = state.ended
    this.#acceptWaiting()
  }

  // ---- frames out

  get #state(): SessionState {
    return { ...this.#lanes.received, ended: this.#peerEnded }
  }

  #greeting(): SessionFrame {
    this.#owes.greeting = false
    const { messageBytesMax, bufferBytesMax } = this.#limits
    const agreed = { state: this.#state, messageBytesMax, bufferBytesMax }
    if (this.#config.role === 'acceptor') return { type: 'welcome', ...agreed }
    const fresh = this.#phase === 'opening'
    return { type: 'hello', attempt: this.#attempt, fresh, ...agreed }
  }

  /** Small and urgent: an answer to a ping, a ping, what was received. */
  #report(): SessionFrame | undefined {
    if (this.#pongToken !== undefined) {
      const token = this.#pongToken
      this.#pongToken = undefined
      return { type: 'pong', token }
    }
    if (this.#owes.ping) {
      this.#owes.ping = false
      return { type: 'ping', token: this.#pingToken }
    }
    if (!this.#owes.state) return undefined
    this.#owes.state = false
    return { type: 'state', state: this.#state }
  }

  #nextEnd(): SessionFrame | undefined {
    if (this.#owes.end && this.#lanes.drained) {
      this.#owes.end = false
      return { type: 'end' }
    }
    if (this.#owes.close && this.#lanes.allAcknowledged) {
      this.#owes.close = false
      this.#closeSent = true
      return { type: 'close' }
    }
    return undefined
  }
}
