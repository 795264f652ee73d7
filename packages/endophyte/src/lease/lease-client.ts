import { randomBytes } from 'node:crypto'
import { connect as connectSocket } from 'node:net'
import type { Duplex } from 'node:stream'
import type {
  AbortOptions,
  Clock,
  FencingLeases,
  LeaseInit,
  LeaseView,
  NodeId,
} from '@mycelium/interface'
import {
  LEASE_NAME_BYTES_MAX,
  LEASE_NODE_BYTES_MAX,
  LEASE_RECORD_BYTES_MAX,
  LEASE_TOKEN_BYTES,
  LEASE_TTL_MS_MAX,
  LEASE_TTL_MS_MIN,
} from '../core/lease-messages.ts'
import type { LeaseReply, LeaseRequest } from '../core/lease-messages.ts'
import { LeaseClosedError, LeaseOutcomeUnknownError, LeaseUnavailableError } from '../errors.ts'
import { LeaseDriver, refusalError } from './held-lease.ts'
import type { HeldLease } from './held-lease.ts'
import { LeaseLink } from './lease-link.ts'
import { socketPathOf } from './socket-path.ts'

/** QEMU is killed by a signal: milliseconds, also on a busy machine. */
const STOP_BUDGET_MS = 20
/** Longer than a restart of the lease server takes. */
const UNAVAILABLE_AFTER_MS = 5_000
/** Acquisitions, reads and watches under way in one client. */
const REQUESTS_MAX = 256

export interface LeaseClientDeps {
  /** CLOCK_BOOTTIME. */
  readonly clock: Clock
  /**
   * Begins a connection; the stream says `connect` when it stands.
   *
   * @default a unix socket at `socketPath`
   */
  readonly connect?: (socketPath: string) => Duplex
}

export interface LeaseClientInit {
  /** Who holds what this client acquires: 1 to 128 UTF-8 bytes. */
  readonly self: NodeId
  /** Of the lease server. */
  readonly socketPath: string
  /**
   * Milliseconds that the holder needs to stop what a lease protects; `validUntil` is earlier by
   * it. Larger: safer on a slow machine. Smaller: more of the time to live is of use.
   *
   * @default 20
   */
  readonly stopBudgetMs?: number
  /**
   * Milliseconds without a connection after which reads and acquisitions fail.
   *
   * @default 5_000
   */
  readonly unavailableAfterMs?: number
}

export interface LeaseClient extends FencingLeases, AsyncDisposable {
  acquire(name: string, init: LeaseInit, options?: AbortOptions): Promise<HeldLease>
  /** Stops renewing (what is held is lost and runs out), rejects what waits. Idempotent. */
  stop(): Promise<void>
}

/** @throws {RangeError} `self`, `socketPath` or a time is out of range */
export function createLeaseClient(deps: LeaseClientDeps, init: LeaseClientInit): LeaseClient {
  return new UnixLeaseClient(deps, init)
}

/** A read or a watch: asked again whenever the connection comes back. */
interface Question {
  readonly request: LeaseRequest
  readonly isOver: (reply: LeaseReply) => boolean
}

function checkBytes(what: string, bytes: number, min: number, max: number): void {
  if (bytes < min || bytes > max) {
    throw new RangeError(`${what} must have ${min} to ${max} bytes, got ${bytes}`)
  }
}

function checkMs(what: string, value: number, min: number, max: number): void {
  if (!Number.isFinite(value) || value < min || value > max) {
    throw new RangeError(`${what} must be ${min} to ${max} milliseconds, got ${value}`)
  }
}

class UnixLeaseClient implements LeaseClient {
  readonly #clock: Clock
  readonly #self: NodeId
  readonly #stopBudgetMs: number
  readonly #unavailableAfterMs: number
  readonly #link: LeaseLink
  readonly #drivers = new Set<LeaseDriver>()
  readonly #questions = new Map<number, Question>()
  readonly #stopped = new AbortController()
  #lastId = 0

  constructor(deps: LeaseClientDeps, init: LeaseClientInit) {
    const { self, socketPath } = init
    checkBytes('self', Buffer.byteLength(self), 1, LEASE_NODE_BYTES_MAX)
    this.#clock = deps.clock
    this.#self = self
    this.#stopBudgetMs = init.stopBudgetMs ?? STOP_BUDGET_MS
    this.#unavailableAfterMs = init.unavailableAfterMs ?? UNAVAILABLE_AFTER_MS
    checkMs('stopBudgetMs', this.#stopBudgetMs, 0, LEASE_TTL_MS_MAX / 2)
    checkMs('unavailableAfterMs', this.#unavailableAfterMs, 0, 2 ** 31)
    const path = socketPathOf(socketPath)
    const connect = deps.connect ?? ((to: string) => connectSocket(to))
    this.#link = new LeaseLink(deps.clock, () => connect(path), {
      onUp: () => this.#onLink(true),
      onDown: () => this.#onLink(false),
      onFrame: ({ id, reply }) => this.#onReply(id, reply),
    })
  }

  async acquire(name: string, init: LeaseInit, options: AbortOptions = {}): Promise<HeldLease> {
    options.signal?.throwIfAborted()
    this.#begin(name)
    const { ttlMs, record, expectVersion, wait = true } = init
    checkMs('ttlMs', ttlMs, LEASE_TTL_MS_MIN, LEASE_TTL_MS_MAX)
    if (!Number.isInteger(ttlMs)) throw new RangeError(`ttlMs must be an integer, got ${ttlMs}`)
    if (this.#stopBudgetMs > ttlMs / 2) {
      const budgetMs = this.#stopBudgetMs
      throw new RangeError(`ttlMs must be at least twice stopBudgetMs (${budgetMs}), got ${ttlMs}`)
    }
    checkBytes('record', record.length, 0, LEASE_RECORD_BYTES_MAX)
    const driver = new LeaseDriver(
      {
        clock: this.#clock,
        nextId: () => ++this.#lastId,
        send: (id, request) => this.#link.send({ id, request }),
        cancel: (id) => this.#link.send({ cancel: id }),
        ended: () => this.#drivers.delete(driver),
      },
      {
        request: {
          name,
          holder: this.#self,
          token: randomBytes(LEASE_TOKEN_BYTES),
          ttlMs,
          record: record.slice(),
          wait,
          ...(expectVersion === undefined ? {} : { expectVersion }),
        },
        stopBudgetMs: this.#stopBudgetMs,
        unavailableAfterMs: this.#unavailableAfterMs,
      },
    )
    this.#drivers.add(driver)
    this.#link.want()
    driver.onLink(this.#link.isUp)
    return await driver.acquire(options.signal)
  }

  async read(name: string, options: AbortOptions = {}): Promise<LeaseView> {
    const { signal } = options
    signal?.throwIfAborted()
    this.#begin(name)
    const { promise, resolve, reject } = Promise.withResolvers<LeaseView>()
    const end = this.#ask({ op: 'read', name }, (reply) => {
      if (reply.kind === 'view') resolve(reply.view)
      else reject(reply.kind === 'refused' ? readError(name, reply) : new Error(reply.kind))
      return true
    })
    const cancel = this.#clock.schedule(this.#clock.now() + this.#unavailableAfterMs, () =>
      reject(new LeaseUnavailableError(name)),
    )
    const abort = (): void => reject(signal?.reason)
    const close = (): void => reject(this.#stopped.signal.reason)
    signal?.addEventListener('abort', abort)
    this.#stopped.signal.addEventListener('abort', close)
    try {
      return await promise
    } finally {
      end()
      cancel()
      signal?.removeEventListener('abort', abort)
      this.#stopped.signal.removeEventListener('abort', close)
    }
  }

  async *watch(
    name: string,
    options: AbortOptions = {},
  ): AsyncGenerator<LeaseView, void, undefined> {
    const { signal } = options
    signal?.throwIfAborted()
    this.#begin(name)
    let newest: LeaseView | undefined
    let shown = -1n
    let failure: { readonly error: unknown } | undefined
    let wake = Promise.withResolvers<void>()
    const fail = (error: unknown): void => {
      failure ??= { error }
      wake.resolve()
    }
    const end = this.#ask({ op: 'watch', name }, (reply) => {
      if (reply.kind === 'refused') fail(readError(name, reply))
      else if (reply.kind === 'view') newest = reply.view
      wake.resolve()
      return reply.kind === 'refused'
    })
    const abort = (): void => fail(signal?.reason)
    const close = (): void => fail(this.#stopped.signal.reason)
    signal?.addEventListener('abort', abort)
    this.#stopped.signal.addEventListener('abort', close)
    try {
      for (;;) {
        if (failure !== undefined) throw (failure as { readonly error: unknown }).error
        // After a reconnect the server begins with a view that may be known.
        if (newest !== undefined && newest.version > shown) {
          shown = newest.version
          yield newest
          continue
        }
        await wake.promise
        wake = Promise.withResolvers<void>()
      }
    } finally {
      end()
      signal?.removeEventListener('abort', abort)
      this.#stopped.signal.removeEventListener('abort', close)
    }
  }

  async stop(): Promise<void> {
    if (!this.#stopped.signal.aborted) {
      const error = new LeaseClosedError('lease client')
      this.#stopped.abort(error)
      for (const driver of [...this.#drivers]) driver.close(error)
    }
    await this.#link.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #begin(name: string): void {
    this.#stopped.signal.throwIfAborted()
    checkBytes('name', Buffer.byteLength(name), 1, LEASE_NAME_BYTES_MAX)
    if (this.#drivers.size + this.#questions.size >= REQUESTS_MAX) {
      throw new RangeError(`more than ${REQUESTS_MAX} requests at once, the last about ${name}`)
    }
  }

  /** @returns its end; idempotent */
  #ask(request: LeaseRequest, isOver: Question['isOver']): () => void {
    const id = ++this.#lastId
    this.#questions.set(id, { request, isOver })
    this.#link.want()
    this.#link.send({ id, request })
    return () => {
      if (this.#questions.delete(id) && request.op === 'watch') this.#link.send({ cancel: id })
    }
  }

  #onLink(isUp: boolean): void {
    for (const driver of [...this.#drivers]) driver.onLink(isUp)
    if (!isUp) return
    for (const [id, { request }] of this.#questions) this.#link.send({ id, request })
  }

  #onReply(id: number, reply: LeaseReply): void {
    const question = this.#questions.get(id)
    if (question?.isOver(reply) === true) this.#questions.delete(id)
    if (question !== undefined) return
    for (const driver of this.#drivers) {
      if (!driver.isWaitingFor(id)) continue
      driver.onReply(id, reply)
      return
    }
  }
}

/** A read changes nothing, so its outcome is never in doubt. */
function readError(name: string, reply: LeaseReply & { kind: 'refused' }): Error {
  const error = refusalError(name, reply.why)
  return error instanceof LeaseOutcomeUnknownError ? new LeaseUnavailableError(name) : error
}
