/**
 * Bugs that others had, or we; each is put back alone, and the simulation must find it. What needs
 * a rarer chain of events than 200 seeds show is held by the transcripts and by unit tests.
 */
export interface KnownBug {
  readonly name: string
  /** Below `src/`. */
  readonly file: string
  /** What stands there once. */
  readonly right: string
  readonly wrong: string
  /** Found it; any other may do so too. */
  readonly seed: number
  /** Needed for the first to matter. */
  readonly also?: { readonly right: string; readonly wrong: string }
}

export const KNOWN_BUGS: readonly KnownBug[] = [
  {
    name: 'the vote is not persisted',
    seed: 1,
    file: 'core/raw-node.ts',
    right: '...(isHardNew && { hardState }),',
    wrong: '...(isHardNew && { hardState: { ...hardState, vote: undefined } }),',
  },
  {
    name: 'a vote is given twice in a term',
    seed: 1,
    file: 'core/raft.ts',
    right: 'const isGranted = mayVote &&',
    wrong: 'const isGranted = (mayVote || type === "vote") &&',
  },
  {
    name: 'a candidate asks before its term is durable',
    seed: 1,
    file: 'core/raft.ts',
    right: "else this.sendAfterPersist({ type: 'vote', ...request })",
    wrong: "else this.send({ type: 'vote', ...request })",
  },
  {
    name: 'a vote for a log that is not up to date',
    seed: 1,
    file: 'core/raft.ts',
    right: 'mayVote && this.log.isUpToDate(last)',
    wrong: 'mayVote',
  },
  {
    name: 'an entry of an older term is committed by counting',
    seed: 2,
    file: 'core/leader.ts',
    right: 'raft.log.maybeCommit({ term: raft.term, index })',
    wrong: 'raft.log.maybeCommit({ term: raft.log.term(index) ?? 0, index })',
  },
  {
    name: 'acknowledged before it is durable',
    seed: 1,
    file: 'core/follower.ts',
    right: "if (last !== undefined) return raft.sendAfterPersist({ type: 'append-response'",
    wrong: "if (last !== undefined) return raft.send({ type: 'append-response'",
  },
  {
    name: 'a leader counts its own entries before they are durable',
    seed: 1,
    file: 'core/leader.ts',
    right: '  log.append(entries)\n',
    wrong: '  log.append(entries)\n  raft.progress.get(raft.id)?.acknowledged(log.lastIndex)\n',
  },
  {
    name: 'a late append cuts off what was acknowledged',
    seed: 5,
    file: 'core/log.ts',
    right: 'entries.find((entry) => !this.has(entry))',
    wrong: 'entries.find((entry) => entry.index > this.committed)',
  },
  {
    name: 'a heartbeat commits what the leader has not compared',
    seed: 1,
    file: 'core/leader.ts',
    right: 'const commit = Math.min(progress.match, raft.log.committed)',
    wrong: 'const { committed: commit } = raft.log',
  },
  {
    name: 'a read without a round of heartbeats',
    seed: 3,
    file: 'core/leader.ts',
    right: "if (isAlone || (raft.config.reads === 'lease' && holdsLease(raft)))",
    wrong: 'if (isAlone || raft.term > 0)',
  },
  {
    name: 'a read before the leader has committed in its term',
    seed: 17,
    file: 'core/leader.ts',
    right: 'const hasOwnCommit = log.term(log.committed) === raft.term',
    wrong: 'const hasOwnCommit = log.committed > 0',
  },
  {
    name: 'a lease without a majority that answers',
    seed: 27,
    file: 'core/leader.ts',
    right: 'return begun !== undefined && raft.ticks - begun <= leaseTicks',
    wrong: 'return leaseTicks > 0 || begun === 0',
  },
  {
    name: 'a lease that does not end when leadership is handed over',
    seed: 22,
    file: 'core/leader.ts',
    right: 'if (raft.hasHandedOver) return false',
    wrong: 'if (raft.ticks < 0) return false',
  },
  {
    name: 'a snapshot goes backwards',
    seed: 10,
    file: 'core/follower.ts',
    right: '  if (id.index <= log.committed) return false\n',
    wrong: '',
    also: {
      right: '  if (log.has(id)) {',
      wrong: '  if (log.has(id) && log.committed < id.index) {',
    },
  },
  {
    name: 'a change of several voters at once without a joint configuration',
    seed: 105,
    file: 'core/membership.ts',
    right: "transition === 'auto' && changes.length <= 1",
    wrong: "transition === 'auto'",
    also: { right: 'new Set(differences).size > 1', wrong: 'new Set(differences).size > 9' },
  },
  {
    name: 'a second change before the first is applied',
    seed: 1,
    file: 'core/leader.ts',
    right: 'if (raft.pendingChangeIndex > raft.log.applied) {',
    wrong: 'if (raft.pendingChangeIndex > raft.log.lastIndex) {',
  },
  {
    name: 'a joint configuration in which only the new half commits',
    seed: 1,
    file: 'core/quorum.ts',
    right: 'Math.min(majorityIndex(incoming, acknowledged), majorityIndex(outgoing, acknowledged))',
    wrong: 'Math.min(majorityIndex(incoming, acknowledged), outgoing.size + Infinity)',
  },
  {
    name: 'a snapshot older than the change that adds its receiver is refused',
    seed: 1,
    file: 'core/follower.ts',
    right: '  if (id.index <= log.committed) return false\n',
    wrong: `  if (id.index <= log.committed) return false
  if (!configOf(membership).incoming.has(raft.id)) return false
`,
  },
]
