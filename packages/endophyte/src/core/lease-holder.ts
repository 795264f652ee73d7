/**
 * The holder's side of one fencing lease, without I/O: from the wish to have it until it is lost.
 *
 * Requests are repeated until they are answered (the grantor recognises copies), so a lost message
 * or connection costs time and nothing else. What must never happen is to believe in a lease longer
 * than the grantor does: validity counts from when a request LEFT, and once it has run out nothing
 * brings it back.
 */
import type { FencingEpoch, MonotonicMs, NodeId } from '@mycelium/interface'
import { validUntil } from './lease-messages.ts'
import type {
  AcquireRequest,
  ClaimRequest,
  LeaseClaim,
  LeaseRefusal,
  LeaseReply,
  LeaseRequest,
} from './lease-messages.ts'

/** Renewals without an answer whose time of sending is remembered; older ones count no more. */
export const RENEWALS_IN_FLIGHT_MAX = 8

/** Validity left below which a grant is renewed before it is believed. See `#onGranted`. */
const FRESH_SHARE_MIN = 0.5

export interface LeaseHolderConfig {
  readonly request: Omit<AcquireRequest, 'op'>
  readonly stopBudgetMs: number
  /** Without a connection for so long, the acquisition fails. */
  readonly unavailableAfterMs: number
}

export type LeaseChange =
  | { readonly op: 'update'; readonly record: Uint8Array }
  | { readonly op: 'transfer'; readonly to: NodeId }
  | { readonly op: 'release' }

export type LeaseHolderInput =
  /** The first input, and whenever the connection comes or goes. */
  | { readonly type: 'link'; readonly isUp: boolean }
  | { readonly type: 'reply'; readonly id: number; readonly reply: LeaseReply }
  /** At most one at a time, and only while held. */
  | { readonly type: 'change'; readonly change: LeaseChange }
  /** The caller does not want the acquisition any more, or disposes what it has. */
  | { readonly type: 'abandon' }
  | { readonly type: 'tick' }

/** Why a lease is lost. `refused` and `expired` come from outside, the others from the holder. */
export type LeaseLossCause = 'expired' | 'refused' | 'transferred' | 'released' | 'abandoned'

export type LeaseHolderEffect =
  /** To be sent at once: its time of sending is the `now` of this step. `id` is the asker's. */
  | { readonly type: 'send'; readonly id: number; readonly request: LeaseRequest }
  /** The acquire with this id need not wait any longer; it is still answered. */
  | { readonly type: 'cancel'; readonly id: number }
  | { readonly type: 'granted'; readonly epoch: FencingEpoch; readonly validUntil: MonotonicMs }
  | { readonly type: 'valid'; readonly validUntil: MonotonicMs }
  | { readonly type: 'refused'; readonly why: LeaseRefusal }
  | { readonly type: 'changed'; readonly epoch: FencingEpoch }
  | { readonly type: 'change-failed'; readonly why: LeaseRefusal }
  | { readonly type: 'lost'; readonly cause: LeaseLossCause }

type State =
  | { readonly type: 'acquiring' }
  /** Granted; `validUntil` is not yet worth telling. */
  | { readonly type: 'confirming' }
  | { readonly type: 'held' }
  /** Not wanted any more; if it was granted all the same, it is given back. */
  | { readonly type: 'abandoned' }
  | { readonly type: 'ended' }

interface PendingChange {
  readonly request: ClaimRequest
  readonly ids: Set<number>
}

export class LeaseHolder {
  readonly #config: LeaseHolderConfig
  readonly #nextId: () => number
  #state: State = { type: 'acquiring' }
  #isUp = false
  #downSince: MonotonicMs | undefined
  #epoch: FencingEpoch = 0n
  #validUntil: MonotonicMs = -Infinity
  #resendAt: MonotonicMs = Infinity
  #sequence = 0
  /** When each unanswered acquire or renewal left. */
  readonly #sentAt = new Map<number, MonotonicMs>()
  #change: PendingChange | undefined
  #effects: LeaseHolderEffect[] = []

  /** @param nextId - gives numbers that no other request of this client has */
  constructor(config: LeaseHolderConfig, nextId: () => number) {
    this.#config = config
    this.#nextId = nextId
  }

  get validUntil(): MonotonicMs {
    return this.#validUntil
  }

  get isEnded(): boolean {
    return this.#state.type === 'ended'
  }

  /** Ids of what is unanswered, for the shell's table. */
  isWaitingFor(id: number): boolean {
    return this.#sentAt.has(id) || this.#change?.ids.has(id) === true
  }

  /** @param now - the holder's clock, read before anything that this step sends */
  step(input: LeaseHolderInput, now: MonotonicMs): LeaseHolderEffect[] {
    this.#effects = []
    // First of all: an answer that comes too late is too late, whatever it says.
    if (this.#isBelieved() && now >= this.#validUntil) this.#lose('expired')
    if (this.#state.type === 'ended') return this.#effects
    switch (input.type) {
      case 'link':
        this.#onLink(input.isUp, now)
        break
      case 'reply':
        this.#onReply(input.id, input.reply, now)
        break
      case 'change':
        this.#onChange(input.change)
        break
      case 'abandon':
        this.#onAbandon()
        break
      case 'tick':
        this.#onTick(now)
        break
    }
    return this.#effects
  }

  nextDeadline(): MonotonicMs | undefined {
    if (this.#state.type === 'ended' || this.#state.type === 'abandoned') return undefined
    const unavailableAt =
      this.#isBelieved() || this.#downSince === undefined
        ? Infinity
        : this.#downSince + this.#config.unavailableAfterMs
    const validUntil = this.#isBelieved() ? this.#validUntil : Infinity
    const resendAt = this.#isUp ? this.#resendAt : Infinity
    return Math.min(unavailableAt, validUntil, resendAt)
  }

  #isBelieved(): boolean {
    return this.#state.type === 'held'
  }

  #onLink(isUp: boolean, now: MonotonicMs): void {
    this.#isUp = isUp
    this.#downSince = isUp ? undefined : (this.#downSince ?? now)
    if (this.#state.type === 'abandoned') this.#state = { type: 'ended' }
    else if (isUp) this.#resend(now)
  }

  #onTick(now: MonotonicMs): void {
    if (this.#state.type === 'abandoned') return
    const down = this.#downSince
    const isAcquiring = !this.#isBelieved()
    if (isAcquiring && down !== undefined && now >= down + this.#config.unavailableAfterMs) {
      this.#end({ type: 'refused', why: 'unavailable' })
    } else if (this.#isUp && now >= this.#resendAt) this.#resend(now)
  }

  /** What is unanswered, or due, once more. */
  #resend(now: MonotonicMs): void {
    const { request } = this.#config
    this.#resendAt = now + request.ttlMs / 3
    if (this.#state.type === 'acquiring') this.#sendTimed({ op: 'acquire', ...request }, now)
    else this.#sendTimed({ op: 'renew', ...this.#claim() }, now)
    if (this.#change !== undefined) this.#sendChange(this.#change)
  }

  #sendTimed(request: LeaseRequest, now: MonotonicMs): void {
    const id = this.#nextId()
    const [oldest] = this.#sentAt.keys()
    if (this.#sentAt.size >= RENEWALS_IN_FLIGHT_MAX && oldest !== undefined) {
      this.#sentAt.delete(oldest)
    }
    this.#sentAt.set(id, now)
    this.#effects.push({ type: 'send', id, request })
  }

  #sendChange(change: PendingChange): void {
    const id = this.#nextId()
    const [oldest] = change.ids
    if (change.ids.size >= RENEWALS_IN_FLIGHT_MAX && oldest !== undefined) change.ids.delete(oldest)
    change.ids.add(id)
    this.#effects.push({ type: 'send', id, request: change.request })
  }

  #onReply(id: number, reply: LeaseReply, now: MonotonicMs): void {
    if (this.#change?.ids.has(id) === true) {
      this.#onChangeReply(reply)
      return
    }
    const sentAt = this.#sentAt.get(id)
    if (sentAt === undefined) return // answered before, or forgotten
    this.#sentAt.delete(id)
    if (reply.kind === 'refused') this.#onRefused(reply.why)
    else if (reply.kind === 'granted') this.#onGranted(reply.epoch, sentAt, now)
    else if (reply.kind === 'renewed') this.#onRenewed(sentAt, now)
  }

  /**
   * A waiting acquire left long before it was granted, so the validity that counts from its sending
   * may be over already. Then a renewal comes first.
   */
  #onGranted(epoch: FencingEpoch, sentAt: MonotonicMs, now: MonotonicMs): void {
    const isWanted = this.#state.type === 'acquiring'
    if (!isWanted && this.#state.type !== 'abandoned') return
    this.#epoch = epoch
    if (!isWanted) {
      this.#giveBack()
      return
    }
    this.#sentAt.clear() // no later answer to a copy of the acquire is of interest
    const { ttlMs } = this.#config.request
    const valid = validUntil(sentAt, ttlMs, this.#config.stopBudgetMs)
    if (valid - now > ttlMs * FRESH_SHARE_MIN) this.#hold(valid)
    else {
      this.#state = { type: 'confirming' }
      this.#resend(now)
    }
  }

  #onRenewed(sentAt: MonotonicMs, now: MonotonicMs): void {
    const { ttlMs } = this.#config.request
    const valid = validUntil(sentAt, ttlMs, this.#config.stopBudgetMs)
    if (this.#state.type === 'confirming') {
      if (valid > now) this.#hold(valid)
    } else if (valid > this.#validUntil) {
      this.#validUntil = valid
      this.#effects.push({ type: 'valid', validUntil: valid })
    }
  }

  #hold(valid: MonotonicMs): void {
    this.#state = { type: 'held' }
    this.#validUntil = valid
    this.#effects.push({ type: 'granted', epoch: this.#epoch, validUntil: valid })
  }

  #onRefused(why: LeaseRefusal): void {
    switch (this.#state.type) {
      case 'acquiring':
        this.#end({ type: 'refused', why })
        break
      case 'confirming':
        // The grant was lost again before it was believed in. The token is spent.
        if (why === 'lost') this.#end({ type: 'refused', why: 'unavailable' })
        break
      case 'held':
        if (why === 'lost') this.#lose('refused')
        break
      case 'abandoned':
        this.#state = { type: 'ended' }
        break
      case 'ended':
        break
    }
  }

  #onChange(change: LeaseChange): void {
    if (change.op === 'update') this.#sequence++
    const claim = this.#claim()
    const request: ClaimRequest =
      change.op === 'update'
        ? { ...change, ...claim, sequence: this.#sequence }
        : { ...change, ...claim }
    this.#change = { request, ids: new Set() }
    if (this.#isUp) this.#sendChange(this.#change)
  }

  #onChangeReply(reply: LeaseReply): void {
    switch (reply.kind) {
      case 'updated':
        this.#change = undefined
        this.#effects.push({ type: 'changed', epoch: this.#epoch })
        break
      case 'transferred':
      case 'released': {
        this.#change = undefined
        const epoch = reply.kind === 'transferred' ? reply.epoch : this.#epoch
        this.#effects.push({ type: 'changed', epoch })
        this.#lose(reply.kind)
        break
      }
      case 'refused':
        // Refused at the first asking: nothing happened. Later ones say nothing about the first.
        if (reply.why !== 'lost' || (this.#change?.ids.size ?? 0) === 1) {
          this.#change = undefined
          this.#effects.push({ type: 'change-failed', why: reply.why })
        }
        if (reply.why === 'lost') this.#lose('refused')
        break
      case 'granted':
      case 'renewed':
      case 'view':
        break // no answer to a change
    }
  }

  #onAbandon(): void {
    if (this.#isBelieved()) this.#lose('abandoned')
    else if (this.#state.type === 'confirming') this.#giveBack()
    else if (this.#state.type === 'acquiring') {
      const isSent = this.#isUp && this.#sentAt.size > 0
      this.#state = { type: isSent ? 'abandoned' : 'ended' }
      if (!isSent) return
      for (const id of this.#sentAt.keys()) this.#effects.push({ type: 'cancel', id })
    }
  }

  /** Nobody acted by this grant, so it need not run out first. */
  #giveBack(): void {
    const request: LeaseRequest = { op: 'release', ...this.#claim() }
    this.#effects.push({ type: 'send', id: this.#nextId(), request })
    this.#state = { type: 'ended' }
  }

  #lose(cause: LeaseLossCause): void {
    // Nobody knows what became of a change that is unanswered now.
    if (this.#change !== undefined) this.#effects.push({ type: 'change-failed', why: 'doubt' })
    this.#change = undefined
    this.#end({ type: 'lost', cause })
  }

  #end(effect: LeaseHolderEffect): void {
    this.#state = { type: 'ended' }
    this.#sentAt.clear()
    this.#effects.push(effect)
  }

  #claim(): LeaseClaim {
    const { name, holder, token } = this.#config.request
    return { name, epoch: this.#epoch, holder, token }
  }
}
