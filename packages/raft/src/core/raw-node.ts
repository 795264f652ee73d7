import type { Random } from '@mycelium/interface'
import { InvariantError } from '../errors.ts'
import { CONTEXT_BYTES_MAX } from '../wire.ts'
import { type RaftInit, resolveRaftInit } from './config.ts'
import {
  committedGivenOut,
  leaveJointIfDue,
  peerUnreachable,
  snapshotSent,
  switchTo,
} from './leader.ts'
import { changed, type Config, configOf, membershipOf } from './membership.ts'
import type { ProgressState } from './progress.ts'
import { Raft } from './raft.ts'
import { bytesOf } from './storage.ts'
import type {
  Entry,
  EntryId,
  HardState,
  LogIndex,
  Membership,
  MembershipChange,
  Message,
  Proposal,
  RaftId,
  Ready,
  Snapshot,
  SoftState,
  Term,
} from './types.ts'

/** A leader's view of one member. */
export interface MemberProgress {
  readonly state: ProgressState
  readonly match: LogIndex
  readonly next: LogIndex
  readonly inflightCount: number
  readonly isActive: boolean
  readonly isLearner: boolean
  readonly isPaused: boolean
}

export interface RaftStatus extends SoftState, HardState {
  readonly id: RaftId
  readonly applied: LogIndex
  readonly lastIndex: LogIndex
  readonly membership: Membership
  readonly transferee?: RaftId
  /** Empty unless this is the leader. */
  readonly progress: ReadonlyMap<RaftId, MemberProgress>
}

/** What was given out with one {@link Ready} and is not durable yet. */
interface Persisting {
  readonly number: number
  readonly term: Term
  /** Last of the entries that were under way. */
  readonly last: EntryId | undefined
  readonly snapshot: Snapshot | undefined
  /** To this node itself. */
  readonly own: readonly Message[]
}

/**
 * One member of a Raft group, without I/O: whoever drives it feeds messages, proposals and ticks,
 * takes a {@link Ready} whenever there is one, and carries it out.
 *
 * ```text
 * tick | step | propose ... -> ready -> persist, send, apply -> advance (or persisted, applied)
 * ```
 *
 * Not for use inside of its own calls. Does not own what it is given, and never changes it.
 */
export class RawNode {
  readonly #raft: Raft
  #number = 0
  #softState: SoftState
  #hardState: HardState
  /** In force at what is applied. After a newer snapshot has come, before it is durable, that is
   * not what the rest of this node goes by. */
  #membership: Config
  readonly #persisting: Persisting[] = []
  readonly #applying: { readonly index: LogIndex; readonly bytes: number }[] = []
  /** Without `isAsync`: given out, to be advanced. */
  #current: Ready | undefined

  /** @throws {RangeError} a value of `init` is out of its range */
  constructor(id: RaftId, deps: { readonly random: Random }, init: RaftInit) {
    this.#raft = new Raft(id, resolveRaftInit(init), deps.random)
    this.#membership = this.#raft.membership
    this.#softState = this.#raft.softState
    this.#hardState = this.#raft.hardState
  }

  get id(): RaftId {
    return this.#raft.id
  }

  /** Known to be agreed on, here; also in {@link status}, which costs more. */
  get commit(): LogIndex {
    return this.#raft.log.committed
  }

  /** Time goes on by one tick. */
  tick(): void {
    this.#raft.tick()
  }

  /** A message of another member. What nobody expects is ignored. */
  step(message: Message): void {
    this.#raft.step(message)
  }

  /** Stands for election now, as if no leader had been heard for long. With `reads: 'lease'` only
   * if none was: who has answered a leader lately must not help to replace it, nor do so itself. */
  campaign(): void {
    if (this.#raft.config.reads === 'lease' && this.#raft.hearsLeader) return
    this.#raft.campaign(this.#raft.config.preVote ? 'pre-election' : 'election')
  }

  /**
   * Proposes one entry. It may still be lost: it is agreed on when it comes back committed.
   *
   * @throws {ProposalDroppedError} `ERR_RAFT_PROPOSAL_DROPPED`: it is in no log
   */
  propose(data: Uint8Array): void {
    this.#raft.propose([{ kind: 'normal', data }])
  }

  /** Several entries, one after the other, or none. As {@link propose}. */
  proposeAll(proposals: readonly Proposal[]): void {
    if (proposals.length === 0) throw new RangeError('proposals must hold at least one, got 0')
    this.#raft.propose(proposals)
  }

  /**
   * @throws {ProposalDroppedError} `ERR_RAFT_PROPOSAL_DROPPED`: it is in no log
   * @throws {MembershipChangeError} as leader: it makes no sense now
   */
  proposeChange(change: MembershipChange): void {
    this.#raft.propose([{ kind: 'change', change }])
  }

  /**
   * To be called for each committed change, when it is applied: from now on it is in force here.
   * One that a snapshot has overtaken is ignored. A change that makes no sense any more is skipped
   * by not calling it, at every member alike.
   *
   * @returns the membership at this entry, to be kept with a snapshot
   * @throws {MembershipChangeError} it makes no sense
   */
  applyChange({ index, change }: EntryId & { readonly change: MembershipChange }): Membership {
    const { log } = this.#raft
    if (index > log.applied) {
      this.#membership = changed(this.#membership, change)
      const isOvertaken = log.unstable.snapshot !== undefined
      if (!isOvertaken) switchTo(this.#raft, this.#membership)
    }
    return membershipOf(this.#membership)
  }

  /** A linearizable read: its {@link ReadState} comes with a `ready`, or not at all: ask again.
   * @param context - returned with the answer; of {@link CONTEXT_BYTES_MAX} bytes at most */
  readIndex(context: Uint8Array): void {
    if (context.byteLength > CONTEXT_BYTES_MAX) {
      throw new RangeError(
        `context must have ${CONTEXT_BYTES_MAX} bytes at most, got ${context.byteLength}`,
      )
    }
    this.#raft.readIndex(context)
  }

  transferLeadership(to: RaftId): void {
    this.#raft.transferLeadership(to)
  }

  forgetLeader(): void {
    this.#raft.forgetLeader()
  }

  reportUnreachable(id: RaftId): void {
    peerUnreachable(this.#raft, id)
  }

  reportSnapshot(id: RaftId, result: 'received' | 'lost'): void {
    snapshotSent(this.#raft, id, result === 'received')
  }

  // ---- ready

  get hasReady(): boolean {
    const { log, messages, afterPersist, readStates, config } = this.#raft
    if (!config.isAsync && this.#current !== undefined) return false
    return (
      messages.length > 0 ||
      afterPersist.length > 0 ||
      readStates.length > 0 ||
      log.unstable.hasNext ||
      log.hasNextCommitted(!config.isAsync) ||
      !isSameSoft(this.#softState, this.#raft.softState) ||
      !isSameHard(this.#hardState, this.#raft.hardState)
    )
  }

  /**
   * What is to be done; it counts as under way from now on.
   *
   * @throws {InvariantError} without `isAsync`: the one before was not advanced
   */
  ready(): Ready {
    const raft = this.#raft
    if (!raft.config.isAsync && this.#current !== undefined) {
      throw new InvariantError('advance must follow ready')
    }
    const ready = this.#gather()
    raft.messages = []
    raft.afterPersist = []
    raft.readStates = []
    this.#softState = raft.softState
    this.#hardState = raft.hardState
    raft.log.unstable.accept()
    raft.log.given(ready.committed)
    committedGivenOut(raft, ready.committed)
    const bytes = ready.committed.reduce((sum, entry) => sum + bytesOf(entry), 0)
    const lastCommitted = ready.committed.at(-1)
    if (lastCommitted !== undefined) this.#applying.push({ index: lastCommitted.index, bytes })
    if (!raft.config.isAsync) this.#current = ready
    return ready
  }

  #gather(): Ready {
    const raft = this.#raft
    const { unstable } = raft.log
    const { softState, hardState } = raft
    const isHardNew = !isSameHard(this.#hardState, hardState)
    const entries = unstable.nextEntries
    const snapshot = unstable.nextSnapshot
    const number = ++this.#number
    const isOwn = ({ to }: Message): boolean => to === raft.id
    const last = lastOf(unstable.entries)
    this.#persisting.push({
      number,
      term: raft.term,
      last,
      snapshot,
      own: raft.afterPersist.filter(isOwn),
    })
    return {
      number,
      ...(!isSameSoft(this.#softState, softState) && { softState }),
      ...(isHardNew && { hardState }),
      entries,
      ...(snapshot && { snapshot }),
      committed: raft.log.nextCommitted(!raft.config.isAsync),
      messages: raft.messages,
      afterPersist: raft.afterPersist.filter((message) => !isOwn(message)),
      readStates: raft.readStates,
      mustSync:
        entries.length > 0 ||
        snapshot !== undefined ||
        this.#hardState.term !== hardState.term ||
        this.#hardState.vote !== hardState.vote,
    }
  }

  /** Everything up to `ready.number` is durable. In order. */
  persisted(number: number): void {
    const { log } = this.#raft
    while (this.#persisting[0] !== undefined && this.#persisting[0].number <= number) {
      const done = this.#persisting.shift()
      if (done === undefined) break
      // Of an older term: since then entries may have been replaced, and by the same ones again,
      // which are not durable yet. A later one, which came with the new term, tells.
      if (done.last !== undefined && done.term === this.#raft.term) log.unstable.stableTo(done.last)
      if (done.snapshot !== undefined) {
        const { id, membership } = done.snapshot
        log.unstable.snapshotStableTo(id.index)
        if (id.index > log.applied) {
          log.appliedTo(id.index, 0)
          this.#membership = configOf(membership)
        }
      }
      for (const message of done.own) this.#raft.step(message)
    }
  }

  /** Committed entries up to `index` are applied. In order. */
  applied(index: LogIndex): void {
    const { log } = this.#raft
    let bytes = 0
    while (this.#applying[0] !== undefined && this.#applying[0].index <= index) {
      bytes += this.#applying.shift()?.bytes ?? 0
    }
    if (index > log.applied || bytes > 0) log.appliedTo(Math.max(index, log.applied), bytes)
    leaveJointIfDue(this.#raft)
  }

  /** Without `isAsync`: all of the last `ready` is done. */
  advance(): void {
    const ready = this.#current
    if (ready === undefined) throw new InvariantError('ready must come before advance')
    this.#current = undefined
    this.persisted(ready.number)
    const last = lastOf(ready.committed)
    if (last !== undefined) this.applied(last.index)
  }

  status(): RaftStatus {
    const raft = this.#raft
    const { transferee } = raft
    const progress = new Map<RaftId, MemberProgress>()
    if (raft.isLeader()) {
      for (const [id, one] of raft.progress) {
        const { state, match, next, isActive, isLearner, isPaused, inflights } = one
        const inflightCount = inflights.count
        progress.set(id, { state, match, next, inflightCount, isActive, isLearner, isPaused })
      }
    }
    return {
      id: raft.id,
      ...raft.softState,
      ...raft.hardState,
      applied: raft.log.applied,
      lastIndex: raft.log.lastIndex,
      membership: membershipOf(raft.membership),
      ...(transferee !== undefined && { transferee }),
      progress,
    }
  }
}

function lastOf(entries: readonly Entry[]): EntryId | undefined {
  const last = entries.at(-1)
  return last && { term: last.term, index: last.index }
}

function isSameSoft(one: SoftState, other: SoftState): boolean {
  return one.role === other.role && one.leader === other.leader
}

function isSameHard(one: HardState, other: HardState): boolean {
  return one.term === other.term && one.vote === other.vote && one.commit === other.commit
}
