/**
 * The grantor of fencing leases, without I/O.
 *
 * Time to live counts from the moment a renewal is processed here. Renewals are not made durable;
 * instead every lease counts as renewed when the table is made (start, restart, restore). Grants,
 * records, hand-overs and releases are durable before anybody hears of them, so an epoch never
 * repeats. A lease that ran out stays with its holder until somebody else wants it: running out is
 * no change, so that a conditional acquire which waits for it stays valid.
 */
import type { FencingEpoch, LeaseView, MonotonicMs, NodeId } from '@mycelium/interface'
import type {
  AcquireRequest,
  LeaseClaim,
  LeaseRefusal,
  LeaseReply,
  LeaseRequest,
  TransferRequest,
  UpdateRequest,
} from './lease-messages.ts'

/** Names are never forgotten (their epochs must not repeat), so there must be a bound. */
export const LEASE_NAMES_MAX = 4096
/** A lease is wanted by the backups of one thing: a handful. */
export const LEASE_WAITERS_MAX = 64
export const LEASE_WATCHERS_MAX = 64

/** Names a request until it is answered, and a watch until it is cancelled; given by the shell. */
export type RequestKey = number

/** The durable part of a lease. */
export interface LeaseEntry {
  readonly name: string
  readonly epoch: FencingEpoch
  readonly version: bigint
  /** Absent: free. */
  readonly holder?: NodeId
  readonly ttlMs: number
  readonly record: Uint8Array
  /** Of the current grant, or of the last one when free. Empty: handed over and not claimed yet. */
  readonly token: Uint8Array
  /** Number of the last update of this grant. */
  readonly sequence: number
  /** Who handed over to `holder`: recognises a repeated `transfer`. */
  readonly prior?: { readonly epoch: FencingEpoch; readonly token: Uint8Array }
}

export type LeaseTableInput =
  | { readonly type: 'request'; readonly key: RequestKey; readonly request: LeaseRequest }
  /** Ends a watch (its last answer is `lost`) or a waiting acquire (`held`). Undoes nothing. */
  | { readonly type: 'cancel'; readonly key: RequestKey }
  | { readonly type: 'tick' }
  /**
   * Entries of these names could not be made durable. `durable` is what is, for those of them that
   * ever were. With `doubt` they perhaps will be found after a restart, so nothing is said about
   * them any more.
   */
  | {
      readonly type: 'not-durable'
      readonly names: readonly string[]
      readonly durable: readonly LeaseEntry[]
      readonly doubt: boolean
    }

/**
 * In order. A `reply` or `view` about a name may leave only after every `persist` of that name
 * that came before it is durable.
 */
export type LeaseTableEffect =
  | { readonly type: 'persist'; readonly entry: LeaseEntry }
  | {
      readonly type: 'reply'
      readonly key: RequestKey
      readonly name: string
      readonly reply: LeaseReply
    }
  | { readonly type: 'view'; readonly key: RequestKey; readonly view: LeaseView }

interface Waiter {
  readonly key: RequestKey
  readonly request: AcquireRequest
}

interface Lease {
  entry: LeaseEntry
  /** Another may be granted it from this moment on; without meaning when free. */
  expiresAt: MonotonicMs
  waiters: Waiter[]
  readonly watchers: Set<RequestKey>
  doubt: boolean
}

const NO_BYTES = new Uint8Array(0)

function unknownEntry(name: string): LeaseEntry {
  return {
    name,
    epoch: 0n,
    version: 0n,
    ttlMs: 0,
    record: NO_BYTES,
    token: NO_BYTES,
    sequence: 0,
  }
}

/** Takes the same time wherever the bytes differ; an empty one equals nothing. */
function isSameToken(ours: Uint8Array, theirs: Uint8Array): boolean {
  if (ours.length === 0 || ours.length !== theirs.length) return false
  let difference = 0
  for (let i = 0; i < ours.length; i++) difference |= (ours[i] ?? 0) ^ (theirs[i] ?? 0)
  return difference === 0
}

function viewOf(entry: LeaseEntry): LeaseView {
  const { name, epoch, holder, record, version } = entry
  return { name, epoch, record, version, ...(holder === undefined ? {} : { holder }) }
}

export class LeaseTable {
  readonly #leases = new Map<string, Lease>()
  /** Where the waiter or watcher of a key is. */
  readonly #names = new Map<RequestKey, string>()
  #effects: LeaseTableEffect[] = []

  /**
   * @param entries - what is durable; each counts as renewed now
   * @param now - CLOCK_BOOTTIME
   */
  constructor(entries: Iterable<LeaseEntry>, now: MonotonicMs) {
    for (const entry of entries) this.#restore(entry, now)
  }

  /**
   * @param now - read when the input is processed, not when it arrived; never less than before
   * @returns effects in the order they must be carried out
   */
  step(input: LeaseTableInput, now: MonotonicMs): LeaseTableEffect[] {
    this.#effects = []
    switch (input.type) {
      case 'request':
        this.#request(input.key, input.request, now)
        break
      case 'cancel':
        this.#cancel(input.key)
        break
      case 'tick':
        for (const lease of this.#leases.values()) this.#settle(lease, now)
        break
      case 'not-durable':
        this.#notDurable(input.names, input.durable, input.doubt, now)
        break
    }
    return this.#effects
  }

  /** When the next `tick` can grant something; `undefined` when nobody waits. */
  nextDeadline(): MonotonicMs | undefined {
    let deadline: MonotonicMs | undefined
    for (const lease of this.#leases.values()) {
      if (lease.waiters.length === 0 || lease.doubt) continue
      const at = lease.entry.holder === undefined ? -Infinity : lease.expiresAt
      if (deadline === undefined || at < deadline) deadline = at
    }
    return deadline
  }

  #request(key: RequestKey, request: LeaseRequest, now: MonotonicMs): void {
    const lease = this.#lease(request.name)
    if (lease === undefined) {
      this.#refuse(key, request.name, 'full')
      return
    }
    if (lease.doubt) {
      this.#refuse(key, request.name, 'unavailable')
      return
    }
    this.#settle(lease, now)
    switch (request.op) {
      case 'acquire':
        this.#acquire(lease, key, request, now)
        break
      case 'renew':
        if (!this.#isHeld(lease, request, now)) this.#refuse(key, request.name, 'lost')
        else {
          lease.expiresAt = now + lease.entry.ttlMs
          this.#reply(key, request.name, { kind: 'renewed' })
        }
        break
      case 'update':
        this.#update(lease, key, request, now)
        break
      case 'transfer':
        this.#transfer(lease, key, request, now)
        break
      case 'release':
        this.#release(lease, key, request, now)
        break
      case 'read':
        this.#reply(key, request.name, { kind: 'view', view: viewOf(lease.entry) })
        break
      case 'watch':
        this.#watch(lease, key)
        break
    }
    this.#forgetIfUnused(lease)
  }

  #acquire(lease: Lease, key: RequestKey, request: AcquireRequest, now: MonotonicMs): void {
    const { entry } = lease
    if (isSameToken(entry.token, request.token)) {
      if (entry.holder !== undefined && now < lease.expiresAt) {
        // The answer to an earlier copy of this request was lost. This one counts as a renewal.
        lease.expiresAt = now + entry.ttlMs
        this.#reply(key, entry.name, { kind: 'granted', epoch: entry.epoch })
        return
      }
      // A late copy of a request whose grant was released since: nobody waits for the answer.
      if (entry.holder === undefined) {
        this.#refuse(key, entry.name, 'lost')
        return
      }
    }
    const waiting = lease.waiters.findIndex((w) => isSameToken(w.request.token, request.token))
    if (waiting !== -1) {
      this.#names.delete(lease.waiters[waiting]?.key ?? key)
      this.#names.set(key, entry.name)
      lease.waiters[waiting] = { key, request }
    } else if (request.expectVersion !== undefined && request.expectVersion !== entry.version) {
      this.#refuse(key, entry.name, 'changed')
    } else if (entry.holder === undefined || now >= lease.expiresAt) {
      this.#grant(lease, { key, request }, entry.epoch + 1n, now)
    } else if (entry.token.length === 0 && entry.holder === request.holder) {
      this.#grant(lease, { key, request }, entry.epoch, now)
    } else if (!request.wait) {
      this.#refuse(key, entry.name, 'held')
    } else if (lease.waiters.length >= LEASE_WAITERS_MAX) {
      this.#refuse(key, entry.name, 'full')
    } else {
      lease.waiters.push({ key, request })
      this.#names.set(key, entry.name)
    }
  }

  /** `epoch` is a new one, or that of a hand-over which its target claims. */
  #grant(lease: Lease, to: Waiter, epoch: FencingEpoch, now: MonotonicMs): void {
    const { holder, token, ttlMs, record } = to.request
    const { entry } = lease
    const isClaim = epoch === entry.epoch && entry.prior !== undefined
    lease.expiresAt = now + ttlMs
    this.#change(lease, {
      name: entry.name,
      epoch,
      version: entry.version + 1n,
      holder,
      ttlMs,
      record,
      token,
      sequence: 0,
      // Kept over the claim: the answer to `transfer` may have been lost.
      ...(isClaim ? { prior: entry.prior } : {}),
    })
    this.#names.delete(to.key)
    this.#reply(to.key, entry.name, { kind: 'granted', epoch })
    this.#tell(lease)
  }

  #update(lease: Lease, key: RequestKey, request: UpdateRequest, now: MonotonicMs): void {
    const { entry } = lease
    if (!this.#isHeld(lease, request, now)) this.#refuse(key, entry.name, 'lost')
    else if (request.sequence < entry.sequence) this.#refuse(key, entry.name, 'changed')
    else {
      const { record, sequence } = request
      const isCopy = sequence === entry.sequence
      if (!isCopy) this.#change(lease, { ...entry, version: entry.version + 1n, record, sequence })
      this.#reply(key, entry.name, { kind: 'updated' })
      if (!isCopy) this.#tell(lease)
    }
  }

  #transfer(lease: Lease, key: RequestKey, request: TransferRequest, now: MonotonicMs): void {
    const { entry } = lease
    const { prior } = entry
    if (
      prior !== undefined &&
      prior.epoch === request.epoch &&
      entry.holder === request.to &&
      isSameToken(prior.token, request.token)
    ) {
      this.#reply(key, entry.name, { kind: 'transferred', epoch: entry.epoch })
      return
    }
    if (!this.#isHeld(lease, request, now)) {
      this.#refuse(key, entry.name, 'lost')
      return
    }
    const epoch = entry.epoch + 1n
    lease.expiresAt = now + entry.ttlMs
    this.#change(lease, {
      ...entry,
      epoch,
      version: entry.version + 1n,
      holder: request.to,
      token: NO_BYTES,
      sequence: 0,
      prior: { epoch: entry.epoch, token: entry.token },
    })
    this.#reply(key, entry.name, { kind: 'transferred', epoch })
    this.#tell(lease)
    const target = lease.waiters.findIndex((waiter) => waiter.request.holder === request.to)
    const [waiter] = target === -1 ? [] : lease.waiters.splice(target, 1)
    if (waiter !== undefined) this.#grant(lease, waiter, epoch, now)
  }

  #release(lease: Lease, key: RequestKey, request: LeaseClaim, now: MonotonicMs): void {
    const { entry } = lease
    if (entry.epoch !== request.epoch || !isSameToken(entry.token, request.token)) {
      this.#refuse(key, entry.name, 'lost')
      return
    }
    if (entry.holder === undefined) {
      this.#reply(key, entry.name, { kind: 'released' }) // a copy
      return
    }
    if (entry.holder !== request.holder) {
      this.#refuse(key, entry.name, 'lost')
      return
    }
    const { holder: _, prior: __, ...free } = entry
    this.#change(lease, { ...free, version: entry.version + 1n })
    this.#reply(key, entry.name, { kind: 'released' })
    this.#tell(lease)
    this.#settle(lease, now)
  }

  #watch(lease: Lease, key: RequestKey): void {
    if (lease.watchers.size >= LEASE_WATCHERS_MAX) {
      this.#refuse(key, lease.entry.name, 'full')
      return
    }
    lease.watchers.add(key)
    this.#names.set(key, lease.entry.name)
    this.#effects.push({ type: 'view', key, view: viewOf(lease.entry) })
  }

  #cancel(key: RequestKey): void {
    const name = this.#names.get(key)
    const lease = name === undefined ? undefined : this.#leases.get(name)
    this.#names.delete(key)
    if (lease === undefined) return
    const count = lease.waiters.length
    lease.waiters = lease.waiters.filter((waiter) => waiter.key !== key)
    // Answered, so that the asker knows that it was not granted in the last moment.
    if (lease.waiters.length < count) this.#refuse(key, lease.entry.name, 'held')
    else if (lease.watchers.delete(key)) this.#refuse(key, lease.entry.name, 'lost')
    this.#forgetIfUnused(lease)
  }

  #notDurable(
    names: readonly string[],
    durable: readonly LeaseEntry[],
    doubt: boolean,
    now: MonotonicMs,
  ): void {
    for (const name of names) {
      // Whoever it was told to last may have been renewed by a later change: start anew.
      this.#restore(durable.find((entry) => entry.name === name) ?? unknownEntry(name), now)
      const lease = this.#leases.get(name)
      if (lease === undefined) continue
      lease.doubt ||= doubt
      if (lease.doubt) {
        for (const waiter of lease.waiters) this.#refuseWaiter(waiter, name, 'unavailable')
        lease.waiters = []
      } else this.#tell(lease) // a watch may have begun in between, and lost its first view
      this.#forgetIfUnused(lease)
    }
  }

  #restore(entry: LeaseEntry, now: MonotonicMs): void {
    const lease = this.#leases.get(entry.name)
    const expiresAt = now + entry.ttlMs
    if (lease !== undefined) {
      lease.entry = entry
      lease.expiresAt = expiresAt
    } else {
      const watchers = new Set<RequestKey>()
      this.#leases.set(entry.name, { entry, expiresAt, waiters: [], watchers, doubt: false })
    }
  }

  /** Grants a lease that is free or ran out to the first who waits for it. */
  #settle(lease: Lease, now: MonotonicMs): void {
    if (lease.doubt) return
    if (lease.entry.holder !== undefined && now < lease.expiresAt) return
    const first = lease.waiters.shift()
    if (first !== undefined) this.#grant(lease, first, lease.entry.epoch + 1n, now)
  }

  #change(lease: Lease, entry: LeaseEntry): void {
    lease.entry = entry
    this.#effects.push({ type: 'persist', entry })
  }

  /** After a change: watchers see it, and who waits for another version is refused. */
  #tell(lease: Lease): void {
    const view = viewOf(lease.entry)
    for (const key of lease.watchers) this.#effects.push({ type: 'view', key, view })
    lease.waiters = lease.waiters.filter((waiter) => {
      const { expectVersion } = waiter.request
      if (expectVersion === undefined || expectVersion === view.version) return true
      this.#refuseWaiter(waiter, view.name, 'changed')
      return false
    })
  }

  #isHeld(lease: Lease, claim: LeaseClaim, now: MonotonicMs): boolean {
    const { entry } = lease
    const isCurrent = entry.holder === claim.holder && entry.epoch === claim.epoch
    return isCurrent && isSameToken(entry.token, claim.token) && now < lease.expiresAt
  }

  /** Undefined: the table is full and does not know the name. */
  #lease(name: string): Lease | undefined {
    const known = this.#leases.get(name)
    if (known !== undefined || this.#leases.size >= LEASE_NAMES_MAX) return known
    const watchers = new Set<RequestKey>()
    const entry = unknownEntry(name)
    const lease = { entry, expiresAt: 0, waiters: [], watchers, doubt: false }
    this.#leases.set(name, lease)
    return lease
  }

  /** A name that was only asked for takes no place. */
  #forgetIfUnused(lease: Lease): void {
    if (lease.entry.version !== 0n || lease.doubt) return
    if (lease.waiters.length + lease.watchers.size === 0) this.#leases.delete(lease.entry.name)
  }

  #refuseWaiter(waiter: Waiter, name: string, why: LeaseRefusal): void {
    this.#names.delete(waiter.key)
    this.#refuse(waiter.key, name, why)
  }

  #refuse(key: RequestKey, name: string, why: LeaseRefusal): void {
    this.#reply(key, name, { kind: 'refused', why })
  }

  #reply(key: RequestKey, name: string, reply: LeaseReply): void {
    this.#effects.push({ type: 'reply', key, name, reply })
  }
}
