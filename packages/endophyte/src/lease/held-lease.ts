import { TypedEventEmitter } from 'main-event'
import type {
  AbortOptions,
  Clock,
  EventSource,
  FencingEpoch,
  FencingLease,
  MonotonicMs,
  NodeId,
} from '@mycelium/interface'
import { LEASE_RECORD_BYTES_MAX } from '../core/lease-messages.ts'
import type { LeaseRefusal, LeaseReply, LeaseRequest } from '../core/lease-messages.ts'
import { LeaseHolder } from '../core/lease-holder.ts'
import type {
  LeaseChange,
  LeaseHolderConfig,
  LeaseHolderEffect,
  LeaseHolderInput,
} from '../core/lease-holder.ts'
import {
  LeaseChangedError,
  LeaseFullError,
  LeaseHeldError,
  LeaseLostError,
  LeaseOutcomeUnknownError,
  LeaseUnavailableError,
} from '../errors.ts'
import { encodeLeaseClientFrame } from './wire.ts'

export interface HeldLeaseEvents {
  /**
   * Told synchronously, in the turn in which the answer arrived: the host writes the deadline into
   * the guard's page here.
   */
  renewed: CustomEvent<{ readonly validUntil: MonotonicMs }>
}

/** A fencing lease of the lease server, and what a guard needs to give it back. */
export interface HeldLease extends FencingLease {
  readonly addEventListener: EventSource<{
    renewed: { readonly validUntil: MonotonicMs }
  }>['addEventListener']
  /** What, sent to the lease server's socket, releases this lease: secret. About 200 bytes. */
  releaseMessage(): Uint8Array
}

/** The id in a guard's message; nobody reads the answer. */
const GUARD_REQUEST_ID = 0

/** What a held lease needs of its client. */
export interface HeldLeaseHost {
  readonly clock: Clock
  nextId(): number
  send(id: number, request: LeaseRequest): void
  cancel(id: number): void
  /** There is nothing more to do for this lease. */
  ended(lease: LeaseDriver): void
}

/** @internal */
export function refusalError(name: string, why: LeaseRefusal): Error {
  switch (why) {
    case 'held':
      return new LeaseHeldError(name)
    case 'changed':
      return new LeaseChangedError(name)
    case 'full':
      return new LeaseFullError(name)
    case 'lost':
      return new LeaseLostError(name, 'refused')
    case 'unavailable':
      return new LeaseUnavailableError(name)
    case 'doubt':
      return new LeaseOutcomeUnknownError(name)
  }
}

/** Carries out what the core of a lease says, and shows it to the holder as a lease. */
export class LeaseDriver {
  readonly #host: HeldLeaseHost
  readonly #core: LeaseHolder
  readonly #config: LeaseHolderConfig
  readonly #acquired = Promise.withResolvers<HeldLease>()
  readonly #lost = new AbortController()
  readonly #events = new TypedEventEmitter<HeldLeaseEvents>()
  #change: PromiseWithResolvers<FencingEpoch> | undefined
  #cancelTimer: (() => void) | undefined

  constructor(host: HeldLeaseHost, config: LeaseHolderConfig) {
    this.#host = host
    this.#config = config
    this.#core = new LeaseHolder(config, () => host.nextId())
  }

  get name(): string {
    return this.#config.request.name
  }

  isWaitingFor(id: number): boolean {
    return this.#core.isWaitingFor(id)
  }

  onLink(isUp: boolean): void {
    this.#step({ type: 'link', isUp })
  }

  onReply(id: number, reply: LeaseReply): void {
    this.#step({ type: 'reply', id, reply })
  }

  /** The client stops: nothing of this lease goes on. */
  close(reason: Error): void {
    this.#acquired.reject(reason)
    this.#step({ type: 'abandon' })
    this.#finish()
  }

  async acquire(signal: AbortSignal | undefined): Promise<HeldLease> {
    return await this.#untilAborted(this.#acquired, signal, () => this.#step({ type: 'abandon' }))
  }

  #step(input: LeaseHolderInput): void {
    // The clock is read before anything leaves: `sentAt` must not be later than the sending.
    for (const effect of this.#core.step(input, this.#host.clock.now())) this.#carryOut(effect)
    this.#cancelTimer?.()
    const deadline = this.#core.nextDeadline()
    this.#cancelTimer =
      deadline === undefined || deadline === Infinity
        ? undefined
        : this.#host.clock.schedule(deadline, () => this.#step({ type: 'tick' }))
    if (this.#core.isEnded) this.#finish()
  }

  #finish(): void {
    this.#cancelTimer?.()
    this.#host.ended(this)
  }

  #carryOut(effect: LeaseHolderEffect): void {
    switch (effect.type) {
      case 'send':
        this.#host.send(effect.id, effect.request)
        break
      case 'cancel':
        this.#host.cancel(effect.id)
        break
      case 'granted':
        this.#acquired.resolve(this.#face(effect.epoch))
        break
      case 'valid':
        this.#events.safeDispatchEvent('renewed', { detail: { validUntil: effect.validUntil } })
        break
      case 'refused':
        this.#acquired.reject(refusalError(this.name, effect.why))
        break
      case 'changed':
        this.#change?.resolve(effect.epoch)
        this.#change = undefined
        break
      case 'change-failed':
        this.#change?.reject(refusalError(this.name, effect.why))
        this.#change = undefined
        break
      case 'lost':
        this.#lost.abort(new LeaseLostError(this.name, effect.cause))
        break
    }
  }

  #face(epoch: FencingEpoch): HeldLease {
    const core = this.#core
    const { name, holder, token } = this.#config.request
    const release = { op: 'release', name, epoch, holder, token } as const
    return {
      name,
      epoch,
      lost: this.#lost.signal,
      get validUntil(): MonotonicMs {
        return core.validUntil
      },
      addEventListener: (type, listener, options): void => {
        this.#events.addEventListener(type, listener, options)
      },
      releaseMessage: () => encodeLeaseClientFrame({ id: GUARD_REQUEST_ID, request: release }),
      update: async (record, options): Promise<void> => {
        if (record.length > LEASE_RECORD_BYTES_MAX) {
          throw new RangeError(
            `record must have at most ${LEASE_RECORD_BYTES_MAX} bytes, got ${record.length}`,
          )
        }
        await this.#request({ op: 'update', record: record.slice() }, options)
      },
      transfer: async (to: NodeId, options): Promise<FencingEpoch> =>
        await this.#request({ op: 'transfer', to }, options),
      release: async (options): Promise<void> => {
        await this.#request({ op: 'release' }, options)
      },
      [Symbol.asyncDispose]: async (): Promise<void> => {
        this.#step({ type: 'abandon' })
        await Promise.resolve()
      },
    }
  }

  async #request(change: LeaseChange, options: AbortOptions | undefined): Promise<FencingEpoch> {
    const { signal } = options ?? {}
    signal?.throwIfAborted()
    if (this.#change !== undefined) {
      throw new TypeError(`${change.op}: one change of a lease at a time`)
    }
    this.#step({ type: 'tick' }) // running out may be noticed only now
    if (this.#lost.signal.aborted) throw this.#lost.signal.reason
    const pending = Promise.withResolvers<FencingEpoch>()
    this.#change = pending
    this.#step({ type: 'change', change })
    return await this.#untilAborted(pending, signal, () => {
      // Perhaps it happens all the same; a later change supersedes it.
      if (this.#change === pending) this.#change = undefined
    })
  }

  async #untilAborted<T>(
    pending: PromiseWithResolvers<T>,
    signal: AbortSignal | undefined,
    onAbort: () => void,
  ): Promise<T> {
    if (signal === undefined) return await pending.promise
    const abort = (): void => {
      pending.reject(signal.reason)
      onAbort()
    }
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    try {
      return await pending.promise
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }
}
