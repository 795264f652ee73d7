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
