import { CodedError } from '@mycelium/interface'

/** Something that Raft rules out has happened: data was lost, or the program has a fault. */
export class InvariantError extends CodedError<'ERR_RAFT_INVARIANT'> {
  override get name(): string {
    return 'InvariantError'
  }
  readonly code = 'ERR_RAFT_INVARIANT'
}

/** The proposal was not taken, and is in no log. Try again later, perhaps elsewhere. */
export class ProposalDroppedError extends CodedError<'ERR_RAFT_PROPOSAL_DROPPED'> {
  override get name(): string {
    return 'ProposalDroppedError'
  }
  readonly code = 'ERR_RAFT_PROPOSAL_DROPPED'
  readonly reason: 'no-leader' | 'transferring' | 'not-a-member' | 'log-full' | 'not-leader'

  constructor(reason: ProposalDroppedError['reason']) {
    super(`the proposal was dropped: ${reason}`)
    this.reason = reason
  }
}

/** A change that makes no sense in the present configuration, or comes too early. */
export class MembershipChangeError extends CodedError<'ERR_RAFT_MEMBERSHIP_CHANGE'> {
  override get name(): string {
    return 'MembershipChangeError'
  }
  readonly code = 'ERR_RAFT_MEMBERSHIP_CHANGE'
}

/** Bytes that no encoder of ours has written: too long, cut off, not canonical, out of range. */
export class WireError extends CodedError<'ERR_RAFT_WIRE'> {
  override get name(): string {
    return 'WireError'
  }
  readonly code = 'ERR_RAFT_WIRE'
}

/** A log on disk is damaged where a crash cannot have done it. It must not be used: entries that
 * were acknowledged may be lost. The member returns as a new one, with an empty disk. */
export class LogCorruptError extends CodedError<'ERR_RAFT_LOG_CORRUPT'> {
  override get name(): string {
    return 'LogCorruptError'
  }
  readonly code = 'ERR_RAFT_LOG_CORRUPT'
  /** Of the first byte that does not fit. */
  readonly offset: number

  constructor(offset: number) {
    super(`the log is damaged at byte ${offset}`)
    this.offset = offset
  }
}
