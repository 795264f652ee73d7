/** Arithmetic of majorities, alone and joint (dissertation, sections 3 and 4.3). Pure. */
import type { LogIndex, RaftId } from './types.ts'

export type VoteResult = 'pending' | 'won' | 'lost'

/** One set of voters, or in a joint configuration two of which both must agree. */
export interface Voters {
  readonly incoming: ReadonlySet<RaftId>
  /** Empty: not joint. */
  readonly outgoing: ReadonlySet<RaftId>
}

function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1
}

/** Highest index that a majority has; infinite for nobody: an empty half of a joint one agrees. */
function majorityIndex(ids: ReadonlySet<RaftId>, acknowledged: (id: RaftId) => LogIndex): LogIndex {
  if (ids.size === 0) return Number.POSITIVE_INFINITY
  const sorted = [...ids].map(acknowledged).sort((one, other) => other - one)
  return sorted[majorityOf(ids.size) - 1] ?? 0
}

export function committedIndex(
  { incoming, outgoing }: Voters,
  acknowledged: (id: RaftId) => LogIndex,
): LogIndex {
  return Math.min(majorityIndex(incoming, acknowledged), majorityIndex(outgoing, acknowledged))
}

/** @param votes - true: granted; absent: no answer yet */
export function majorityVote(
  ids: ReadonlySet<RaftId>,
  votes: ReadonlyMap<RaftId, boolean>,
): VoteResult {
  if (ids.size === 0) return 'won'
  let granted = 0
  let open = 0
  for (const id of ids) {
    const vote = votes.get(id)
    if (vote === undefined) open++
    else if (vote) granted++
  }
  const needed = majorityOf(ids.size)
  if (granted >= needed) return 'won'
  return granted + open >= needed ? 'pending' : 'lost'
}

export function voteResult(
  { incoming, outgoing }: Voters,
  votes: ReadonlyMap<RaftId, boolean>,
): VoteResult {
  const one = majorityVote(incoming, votes)
  const other = majorityVote(outgoing, votes)
  if (one === other) return one
  return one === 'lost' || other === 'lost' ? 'lost' : 'pending'
}
