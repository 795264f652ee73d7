import { configOf } from './membership.ts'
import { switchTo } from './leader.ts'
import type { Raft } from './raft.ts'
import type { MessageOf, Snapshot } from './types.ts'

export function handleAppend(raft: Raft, message: MessageOf<'append'>): void {
  const { log } = raft
  const { from: to, previous, entries, commit } = message
  if (previous.index < log.committed) {
    // An old one: what is committed is as the sender has it.
    return raft.sendAfterPersist({ type: 'append-response', to, index: log.committed })
  }
  const last = log.offer(previous, entries, commit)
  if (last !== undefined) return raft.sendAfterPersist({ type: 'append-response', to, index: last })
  const { index } = previous
  const rejected = log.agreementBefore({
    term: previous.term,
    index: Math.min(index, log.lastIndex),
  })
  raft.sendAfterPersist({ type: 'append-response', to, index, rejected })
}

export function handleHeartbeat(raft: Raft, message: MessageOf<'heartbeat'>): void {
  const { from: to, commit, round } = message
  raft.log.commitTo(commit)
  raft.send({ type: 'heartbeat-response', to, round })
}

export function handleSnapshot(raft: Raft, message: MessageOf<'snapshot'>): void {
  const { from: to, snapshot } = message
  const { log } = raft
  const index = restore(raft, snapshot) ? log.lastIndex : log.committed
  raft.sendAfterPersist({ type: 'append-response', to, index })
}

/** False: it brings nothing. */
function restore(raft: Raft, snapshot: Snapshot): boolean {
  const { log } = raft
  const { id, membership } = snapshot
  if (id.index <= log.committed) return false
  const config = configOf(membership)
  // It may be older than the change that made this node a member: then it may not stand for
  // election until it has applied that, but it needs the snapshot to get there.
  if (log.has(id)) {
    // The log has everything up to there: only faster forward.
    log.commitTo(id.index)
    return false
  }
  log.restore(snapshot)
  raft.progress.clear()
  switchTo(raft, config)
  const own = raft.progress.get(raft.id)
  own?.acknowledged(log.lastIndex)
  return true
}
