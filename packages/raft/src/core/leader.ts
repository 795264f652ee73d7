import { InvariantError, MembershipChangeError, ProposalDroppedError } from '../errors.ts'
import { changed, type Config, isJoint, isLeave, membersOf } from './membership.ts'
import type { Progress } from './progress.ts'
import { committedIndex, voteResult } from './quorum.ts'
import type { Raft } from './raft.ts'
import type { PendingRead } from './reads.ts'
import { bytesOf } from './storage.ts'
import type { Entry, MembershipChange, Message, MessageOf, Proposal, RaftId } from './types.ts'

// ---- proposals

/** @throws {ProposalDroppedError} @throws {MembershipChangeError} nothing of it is in the log */
export function proposeAsLeader(raft: Raft, proposals: readonly Proposal[]): void {
  if (!raft.progress.has(raft.id)) throw new ProposalDroppedError('not-a-member')
  if (raft.transferee !== undefined) throw new ProposalDroppedError('transferring')
  const changes = proposals.filter((proposal) => proposal.kind === 'change')
  if (changes.length > 1) throw new RangeError('proposals must hold one change of membership')
  for (const { change } of changes) checkChange(raft, change)
  if (!appendProposals(raft, proposals)) throw new ProposalDroppedError('log-full')
  // Later ones are refused until it is applied.
  const first = raft.log.lastIndex - proposals.length + 1
  const at = proposals.findIndex(({ kind }) => kind === 'change')
  if (at >= 0) raft.pendingChangeIndex = first + at
  broadcastAppends(raft)
}

/** One at a time (section 4.1), and from the configuration that is in force. */
function checkChange(raft: Raft, change: MembershipChange): void {
  if (raft.pendingChangeIndex > raft.log.applied) {
    throw new MembershipChangeError('change must wait: another is not applied yet')
  }
  if (isJoint(raft.membership) && !isLeave(change)) {
    throw new MembershipChangeError('change must wait: a joint one is in force')
  }
  changed(raft.membership, change)
}

/** Appends to the own log only. False: there are too many bytes uncommitted. */
export function appendProposals(raft: Raft, proposals: readonly Proposal[]): boolean {
  const { log, term } = raft
  const first = log.lastIndex + 1
  const entries = proposals.map((proposal, at): Entry => ({ ...proposal, term, index: first + at }))
  const bytes = payloadBytes(entries)
  const { uncommittedBytes } = raft
  // Empty ones always pass, and one that is too large alone.
  const isTooMuch = uncommittedBytes + bytes > raft.config.uncommittedBytesMax
  if (uncommittedBytes > 0 && bytes > 0 && isTooMuch) return false
  raft.uncommittedBytes += bytes
  log.append(entries)
  // Counts for itself like every follower: when it is durable.
  raft.sendAfterPersist({ type: 'append-response', to: raft.id, index: log.lastIndex })
  return true
}

/** Without the fixed share: the entry that a new leader begins with counts for nothing. */
function payloadBytes(entries: readonly Entry[]): number {
  return entries.reduce((sum, entry) => {
    return sum + (entry.kind === 'normal' ? entry.data.byteLength : bytesOf(entry))
  }, 0)
}

/** Committed entries were given out: their bytes are free for proposals. */
export function committedGivenOut(raft: Raft, entries: readonly Entry[]): void {
  raft.uncommittedBytes = Math.max(0, raft.uncommittedBytes - payloadBytes(entries))
}

// ---- replication

export function broadcastAppends(raft: Raft): void {
  for (const to of raft.progress.keys()) {
    if (to !== raft.id) sendAppend(raft, to, { evenIfEmpty: true })
  }
}

/** False: nothing was sent. */
function sendAppend(
  raft: Raft,
  to: RaftId,
  { evenIfEmpty }: { readonly evenIfEmpty: boolean },
): boolean {
  const { log, config } = raft
  const progress = raft.progress.get(to)
  if (progress === undefined || progress.isPaused) return false
  const index = progress.next - 1
  const term = log.term(index)
  if (term === undefined || progress.next < log.firstIndex) return sendSnapshot(raft, to, progress)
  const mayCarry = progress.state !== 'replicate' || !progress.inflights.isFull
  const entries = mayCarry
    ? log.entries(progress.next, log.lastIndex + 1, config.appendBytesMax)
    : []
  if (entries.length === 0 && !evenIfEmpty) return false
  const { committed: commit } = log
  raft.send({ type: 'append', to, previous: { term, index }, entries, commit })
  const bytes = entries.reduce((sum, entry) => sum + bytesOf(entry), 0)
  progress.sent(entries.length, bytes)
  progress.sentCommit = commit
  return true
}

function sendSnapshot(raft: Raft, to: RaftId, progress: Progress): boolean {
  // To a node that is silent it would be work for nothing.
  if (!progress.isActive) return false
  const snapshot = raft.log.snapshot()
  if (snapshot === undefined) return false
  if (snapshot.id.index === 0) throw new InvariantError('an empty snapshot replaces nothing')
  progress.becomeSnapshot(snapshot.id.index)
  raft.send({ type: 'snapshot', to, snapshot })
  return true
}

/** A new round of heartbeats. */
export function broadcastHeartbeats(raft: Raft): void {
  const round = raft.rounds.begin(raft.ticks)
  const own = raft.progress.get(raft.id)
  if (own !== undefined) own.round = round
  for (const [to, progress] of raft.progress) {
    if (to === raft.id) continue
    // Not beyond what the follower is known to have: it could not tell that it lacks entries.
    const commit = Math.min(progress.match, raft.log.committed)
    progress.sentCommit = Math.max(progress.sentCommit, commit)
    raft.send({ type: 'heartbeat', to, commit, round })
  }
}

/** A majority has it, and it is of this term: it and all before it are committed (3.6.2). */
function commit(raft: Raft): boolean {
  const index = committedIndex(raft.membership, (id) => raft.progress.get(id)?.match ?? 0)
  return Number.isFinite(index) && raft.log.maybeCommit({ term: raft.term, index })
}

export function checkQuorum(raft: Raft): void {
  const heard = new Map<RaftId, boolean>()
  for (const [id, progress] of raft.progress) {
    heard.set(id, id === raft.id || progress.isActive)
    if (id !== raft.id) progress.isActive = false
  }
  if (voteResult(raft.membership, heard) !== 'won') raft.becomeFollower(raft.term, undefined)
}

// ---- messages

export function stepLeader(raft: Raft, message: Message): void {
  if (message.type === 'propose') return takeForwarded(raft, message)
  if (message.type === 'read-index') return takeRead(raft, message)
  const progress = raft.progress.get(message.from)
  if (progress === undefined) return // of a member that was removed
  switch (message.type) {
    case 'append-response':
      progress.isActive = true
      return message.rejected === undefined
        ? takeAcknowledgement(raft, message, progress)
        : takeRejection(raft, message, progress)
    case 'heartbeat-response':
      return takeHeartbeat(raft, message, progress)
    case 'transfer-leader':
      return transfer(raft, message.transferee)
    case 'append':
    case 'heartbeat':
    case 'snapshot':
    case 'timeout-now':
    case 'vote':
    case 'vote-response':
    case 'pre-vote':
    case 'pre-vote-response':
    case 'read-index-response':
      return // of an election that is over, or nothing for a leader
  }
}

/** What a follower passed on. It cannot be told that it was dropped: it asks again. */
function takeForwarded(raft: Raft, { proposals }: MessageOf<'propose'>): void {
  try {
    proposeAsLeader(raft, proposals)
  } catch (error) {
    const isRefusal =
      error instanceof ProposalDroppedError ||
      error instanceof MembershipChangeError ||
      error instanceof RangeError
    if (!isRefusal) throw error
  }
}

function takeRejection(
  raft: Raft,
  { from, index, rejected }: MessageOf<'append-response'>,
  progress: Progress,
): void {
  if (rejected === undefined) return
  // The follower has `rejected.term` there; if we have an older one, skip what cannot agree either.
  const hint = rejected.term > 0 ? raft.log.agreementBefore(rejected).index : rejected.index
  if (!progress.refused(index, hint)) return
  if (progress.state === 'replicate') progress.becomeProbe()
  sendAppend(raft, from, { evenIfEmpty: true })
}

function takeAcknowledgement(
  raft: Raft,
  { from, index }: MessageOf<'append-response'>,
  progress: Progress,
): void {
  const isProbed = progress.match === index && progress.state === 'probe'
  if (!progress.acknowledged(index) && !isProbed) return
  if (progress.state === 'probe') {
    progress.becomeReplicate()
  } else if (progress.state === 'snapshot') {
    // What comes next is in the log: whether the snapshot arrived does not matter.
    if (progress.match + 1 >= raft.log.firstIndex) {
      progress.becomeProbe()
      progress.becomeReplicate()
    }
  } else {
    progress.inflights.free(index)
  }
  if (commit(raft)) {
    answerEarlyReads(raft)
    broadcastAppends(raft)
  } else if (from !== raft.id && progress.canRaiseCommit(raft.log.committed)) {
    sendAppend(raft, from, { evenIfEmpty: true })
  }
  if (from === raft.id) return
  while (sendAppend(raft, from, { evenIfEmpty: false })) {
    // as much as may be on its way
  }
  if (from === raft.transferee && progress.match === raft.log.lastIndex) {
    handOver(raft, from)
  }
}

function takeHeartbeat(
  raft: Raft,
  { from, round }: MessageOf<'heartbeat-response'>,
  progress: Progress,
): void {
  progress.isActive = true
  progress.isPausedBySend = false
  if (progress.match < raft.log.lastIndex || progress.state === 'probe') {
    sendAppend(raft, from, { evenIfEmpty: true })
  }
  progress.round = Math.max(progress.round, Math.min(round, raft.rounds.last))
  for (const read of raft.reads.take(confirmedRound(raft))) answerRead(raft, read)
}

/** The newest round of heartbeats that a majority has answered. */
function confirmedRound(raft: Raft): number {
  return committedIndex(raft.membership, (id) => raft.progress.get(id)?.round ?? 0)
}

/** `reportUnreachable`: what was sent lately is lost; find out how much. */
export function peerUnreachable(raft: Raft, id: RaftId): void {
  const progress = raft.progress.get(id)
  if (raft.isLeader() && progress?.state === 'replicate') progress.becomeProbe()
}

/** `reportSnapshot`: it was received, or it was lost. */
export function snapshotSent(raft: Raft, id: RaftId, isReceived: boolean): void {
  const progress = raft.progress.get(id)
  if (!raft.isLeader() || progress?.state !== 'snapshot') return
  if (!isReceived) progress.pendingSnapshot = 0
  progress.becomeProbe()
  // Received: its answer is on its way. Lost: not again at once.
  progress.isPausedBySend = true
}

/** Section 3.10: the next leader is brought up to date, then told to campaign at once. */
function transfer(raft: Raft, to: RaftId): void {
  const progress = raft.progress.get(to)
  if (progress === undefined || progress.isLearner || to === raft.id) return
  if (raft.transferee === to) return
  raft.transferee = to
  raft.electionElapsed = 0 // it has one election timeout
  if (progress.match === raft.log.lastIndex) handOver(raft, to)
  else sendAppend(raft, to, { evenIfEmpty: true })
}

function handOver(raft: Raft, to: RaftId): void {
  // It may arrive at any later time, and its votes are given in spite of leases.
  raft.hasHandedOver = true
  raft.send({ type: 'timeout-now', to })
}

// ---- reads (section 6.4)

function takeRead(raft: Raft, message: MessageOf<'read-index'>): void {
  const { log, membership } = raft
  const hasOwnCommit = log.term(log.committed) === raft.term
  // Before that a leader does not know what is committed.
  if (!hasOwnCommit) {
    if (raft.earlyReads.length < EARLY_READS_MAX) raft.earlyReads.push(message)
    return
  }
  const { context, from } = message
  const read = { context, index: log.committed, from }
  const { incoming } = membership
  const isAlone = !isJoint(membership) && incoming.size === 1 && incoming.has(raft.id)
  if (isAlone || (raft.config.reads === 'lease' && holdsLease(raft))) return answerRead(raft, read)
  if (raft.reads.count >= READS_MAX) return
  broadcastHeartbeats(raft)
  raft.reads.add({ ...read, round: raft.rounds.last })
}

/**
 * Has a majority answered lately enough that nobody else can be leader yet? It helps nobody else
 * for `electionTicks` of its own from when it heard; its first tick may follow at once, ours have
 * begun a tick ago, and a tenth is left for clocks that do not run equally fast.
 */
function holdsLease(raft: Raft): boolean {
  if (raft.hasHandedOver) return false
  const begun = raft.rounds.tickOf(confirmedRound(raft))
  const leaseTicks = Math.floor(((raft.config.electionTicks - 1) * 9) / 10) - 1
  return begun !== undefined && raft.ticks - begun <= leaseTicks
}

/** Reads that wait for the first commit of a term; more are dropped: the asker asks again. */
const EARLY_READS_MAX = 1_024
/** Reads that wait for their heartbeats. */
const READS_MAX = 4_096

function answerEarlyReads(raft: Raft): void {
  const { log } = raft
  if (log.term(log.committed) !== raft.term) return
  const early = raft.earlyReads
  raft.earlyReads = []
  for (const message of early) takeRead(raft, message)
}

function answerRead(raft: Raft, read: Omit<PendingRead, 'round'>): void {
  const { context, index, from: to } = read
  if (to === raft.id) raft.readStates.push({ index, context })
  else raft.send({ type: 'read-index-response', to, context, index })
}

// ---- membership

/** Another configuration is in force from now on. */
export function switchTo(raft: Raft, config: Config): void {
  raft.membership = config
  const old = raft.progress
  raft.progress = new Map()
  for (const id of membersOf(config)) {
    const isLearner = config.learners.has(id)
    const progress = old.get(id) ?? raft.newProgress(isLearner)
    // A new one counts as heard from, so that the leader does not step down before it could answer.
    if (!old.has(id)) progress.isActive = true
    progress.isLearner = isLearner
    raft.progress.set(id, progress)
  }
  if (!raft.isLeader()) return
  const own = raft.progress.get(raft.id)
  if (own === undefined || own.isLearner) {
    // It cannot commit its own removal faster by staying.
    if (raft.config.stepsDownOnRemoval) raft.becomeFollower(raft.term, undefined)
    return
  }
  if (commit(raft)) {
    answerEarlyReads(raft)
    broadcastAppends(raft)
  } else {
    for (const to of raft.progress.keys()) {
      if (to !== raft.id) sendAppend(raft, to, { evenIfEmpty: false })
    }
  }
  const { transferee } = raft
  if (transferee !== undefined && !config.incoming.has(transferee)) raft.transferee = undefined
}

/** Everything up to `applied` is applied: a joint configuration may be left by itself now. */
export function leaveJointIfDue(raft: Raft): void {
  const { log, membership } = raft
  if (!raft.isLeader() || !membership.autoLeave || log.applied < raft.pendingChangeIndex) return
  const change: MembershipChange = { transition: 'auto', changes: [] }
  if (!appendProposals(raft, [{ kind: 'change', change }])) return
  raft.pendingChangeIndex = log.lastIndex
  broadcastAppends(raft)
}
