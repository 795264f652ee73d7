/**
 * Output commit and the in-sync set of one active VM, without I/O.
 *
 * What leaves the VM in an epoch may be seen outside only when every backup that could take over
 * holds that epoch. Who could take over stands in the committed record of the lease; while an
 * update of the record is on its way, both its old and its new content count.
 *
 * While nobody could take over, output passes at once ("open"). A backup enters the record only
 * with an epoch that was captured after output began to be held: whatever passed before is part of
 * it.
 */
import type { NodeId } from '@mycelium/interface'
import { sameMembers, type VmRecord, type VmState } from './vm-record.ts'

export type ProtectionInput =
  /** First. */
  | { readonly type: 'begin' }
  /**
   * `epoch` (1, 2, ...) is held by all of `by`, and by nobody else that is attached. The capture of
   * the next epoch begins after this step.
   */
  | { readonly type: 'acknowledged'; readonly epoch: number; readonly by: readonly NodeId[] }
  /** A backup went away or must be filled anew: it gets no more epochs. */
  | { readonly type: 'left'; readonly backup: NodeId }
  /** The guest has shut down. */
  | { readonly type: 'shutdown' }
  /** The update asked for is committed. */
  | { readonly type: 'updated' }
  /** It was refused or its outcome is unknown: both contents count until one is committed. */
  | { readonly type: 'update-failed' }

export type ProtectionEffect =
  /** Commit this record; answer with `updated` or `update-failed`. */
  | { readonly type: 'update'; readonly record: VmRecord }
  /** From now on output waits for `release`. */
  | { readonly type: 'hold' }
  /** Everything up to the seal of `epoch` may be seen outside. */
  | { readonly type: 'release'; readonly epoch: number }
  /** Everything held may be seen, and what comes passes at once. */
  | { readonly type: 'open' }
  /** The committed set has changed to this. */
  | { readonly type: 'in-sync'; readonly members: readonly NodeId[] }
  /** The record says that the guest has stopped: nobody takes over, and `open` comes with it. */
  | { readonly type: 'stopped' }

export class ProtectionCore {
  #committed: VmRecord
  #pending: VmRecord | undefined
  /** The record may be that of an update whose outcome is unknown, and not {@link #committed}. */
  #isDoubtful = false
  /** Members of such updates. */
  #doubtful: ReadonlySet<NodeId> = new Set()
  /** Who holds the newest acknowledged epoch and is still attached. */
  #holders: readonly NodeId[] = []
  #state: VmState = 'running'
  #acknowledgedEpoch = 0
  #acknowledgedBy: readonly NodeId[] = []
  #releasedEpoch = 0
  /** The first epoch captured after output began to be held; none while it passes. */
  #heldFrom: number | undefined = 0

  /** @param record - as committed with the grant of the lease */
  constructor(record: VmRecord) {
    this.#committed = record
  }

  get inSync(): readonly NodeId[] {
    return this.#committed.inSync
  }

  step(input: ProtectionInput): ProtectionEffect[] {
    const effects = this.#apply(input)
    effects.push(...this.#update())
    effects.push(...this.#release())
    return effects
  }

  #apply(input: ProtectionInput): ProtectionEffect[] {
    switch (input.type) {
      case 'begin':
        return []
      case 'acknowledged':
        return this.#acknowledge(input.epoch, input.by)
      case 'left':
        this.#holders = this.#holders.filter((id) => id !== input.backup)
        return []
      case 'shutdown':
        this.#state = 'stopped'
        return []
      case 'updated':
        return this.#commit()
      case 'update-failed':
        this.#isDoubtful = true
        this.#doubtful = new Set([...this.#doubtful, ...(this.#pending?.inSync ?? [])])
        this.#pending = undefined
        return []
    }
  }

  #acknowledge(epoch: number, by: readonly NodeId[]): ProtectionEffect[] {
    this.#acknowledgedEpoch = epoch
    this.#acknowledgedBy = by
    this.#holders = by
    if (by.length === 0 || this.#heldFrom !== undefined) return []
    this.#heldFrom = epoch + 1
    return [{ type: 'hold' }]
  }

  #commit(): ProtectionEffect[] {
    const before = this.#committed
    if (this.#pending === undefined) return []
    this.#committed = this.#pending
    this.#pending = undefined
    this.#isDoubtful = false
    this.#doubtful = new Set()
    const effects: ProtectionEffect[] = []
    const { inSync, state } = this.#committed
    if (!sameMembers(inSync, before.inSync)) effects.push({ type: 'in-sync', members: inSync })
    if (state === 'stopped' && before.state !== 'stopped') effects.push({ type: 'stopped' })
    return effects
  }

  /** Those who hold an epoch that has in it whatever was seen outside. */
  #eligible(): readonly NodeId[] {
    const isCovered = this.#heldFrom !== undefined && this.#acknowledgedEpoch >= this.#heldFrom
    return isCovered ? [...this.#holders].sort() : []
  }

  /** One update at a time; the next is made of what is true when the last has ended. */
  #update(): ProtectionEffect[] {
    // Of a guest that has stopped nothing changes any more.
    if (this.#pending !== undefined || this.#committed.state === 'stopped') return []
    const inSync = this.#eligible()
    const isSame = sameMembers(inSync, this.#committed.inSync) && !this.#isDoubtful
    if (isSame && this.#state === this.#committed.state) return []
    this.#pending = { state: this.#state, inSync }
    return [{ type: 'update', record: this.#pending }]
  }

  #mayTakeOver(): readonly NodeId[] {
    if (this.#committed.state === 'stopped') return []
    return [...this.#committed.inSync, ...(this.#pending?.inSync ?? []), ...this.#doubtful]
  }

  #release(): ProtectionEffect[] {
    if (this.#heldFrom === undefined) return []
    const candidates = this.#mayTakeOver()
    const mayEnter = this.#committed.state === 'running' && this.#holders.length > 0
    if (candidates.length === 0 && !mayEnter) {
      this.#heldFrom = undefined
      return [{ type: 'open' }]
    }
    if (this.#acknowledgedEpoch <= this.#releasedEpoch) return []
    if (!candidates.every((id) => this.#acknowledgedBy.includes(id))) return []
    this.#releasedEpoch = this.#acknowledgedEpoch
    return [{ type: 'release', epoch: this.#releasedEpoch }]
  }
}
