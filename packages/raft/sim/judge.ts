/** What must hold in every step of every member. Sees all of them at once; they do not see it. */
import assert from 'node:assert/strict'
import type { Coverage } from '@mycelium/simulator'
import { describeProposal } from '../src/index.ts'
import type {
  Entry,
  LogIndex,
  MemoryStorage,
  Membership,
  Message,
  RaftId,
  RaftStatus,
  RawNode,
  Ready,
  Snapshot,
  Term,
} from '../src/index.ts'

/** One member as the judge knows it; it outlives the processes. */
export interface Witnessed {
  readonly id: RaftId
  /** What is durable. */
  storage: MemoryStorage
}

interface Member {
  readonly witnessed: Witnessed
  /** Terms of the log, also of what is not durable yet, by index. */
  terms: Map<LogIndex, Term>
  base: LogIndex
  last: LogIndex
  term: Term
  commit: LogIndex
  applied: LogIndex
  isUp: boolean
}

interface Committed {
  readonly term: Term
  readonly text: string
  /** Of a normal entry. */
  readonly data: Uint8Array | undefined
  /** Of the leader that committed it. */
  readonly inTerm: Term
}

interface Known {
  readonly text: string
  readonly before: Term
  readonly data: Uint8Array | undefined
}

const textOf = (entry: Entry): string => {
  const { term } = entry
  return entry.kind === 'change'
    ? `${term} ${describeProposal(entry)}`
    : `${term} ${Buffer.from(entry.data).toString('latin1')}`
}

export class Judge {
  readonly #coverage: Coverage
  readonly #members = new Map<RaftId, Member>()
  readonly #leaders = new Map<Term, RaftId>()
  readonly #votes = new Map<string, RaftId>()
  /** Every entry that ever was, by term and index, and the term of the one before it. */
  readonly #entries = new Map<string, Known>()
  readonly committed = new Map<LogIndex, Committed>()
  readonly #states = new Map<LogIndex, string>()
  commit = 0
  /** The newest configuration that somebody applied. */
  membership: Membership
  #membershipIndex = 0

  constructor(coverage: Coverage, start: Snapshot) {
    this.#coverage = coverage
    this.membership = start.membership
    this.commit = start.id.index
  }

  get leaderTerms(): number {
    return this.#leaders.size
  }

  /** A process begins with what its disk holds. */
  started(witnessed: Witnessed, status: RaftStatus): void {
    const { id, storage } = witnessed
    const before = this.#members.get(id)
    const terms = new Map<LogIndex, Term>()
    for (let index = storage.firstIndex - 1; index <= storage.lastIndex; index++) {
      terms.set(index, storage.term(index) ?? 0)
    }
    const { term, commit, applied, lastIndex: last } = status
    const base = storage.firstIndex - 1
    this.#members.set(id, { witnessed, terms, base, last, term, commit, applied, isUp: true })
    if (before === undefined) return
    const { vote } = storage.hardState
    const given = this.#votes.get(`${id} ${term}`)
    assert.ok(given === undefined || vote === given, `${id} forgot its vote in term ${term}`)
  }

  stopped(id: RaftId): void {
    const member = this.#members.get(id)
    if (member !== undefined) member.isUp = false
  }

  /** A `Ready` is about to be carried out. */
  ready(id: RaftId, ready: Ready, status: RaftStatus): void {
    const member = this.#member(id)
    this.#checkLog(member, ready)
    this.#checkNumbers(member, ready, status)
    if (ready.softState?.role === 'leader') this.#elected(member, status.term)
    for (const entry of ready.committed) this.#checkCommitted(id, entry)
  }

  /** After each call: the configuration by which it committed is still in force. */
  watch(id: RaftId, raw: RawNode): void {
    if (raw.commit > this.commit) this.#committedNow(this.#member(id), raw.status())
  }

  #member(id: RaftId): Member {
    const member = this.#members.get(id)
    assert.ok(member !== undefined, `${id} was not started`)
    return member
  }

  /** Log matching; committed entries stay. */
  #checkLog(member: Member, { entries, snapshot }: Ready): void {
    const { witnessed } = member
    if (snapshot !== undefined) {
      assert.ok(snapshot.id.index > member.commit, `${witnessed.id}: snapshot goes backwards`)
      this.#coverage.hit('snapshot restored')
      member.terms = new Map([[snapshot.id.index, snapshot.id.term]])
      member.base = member.last = snapshot.id.index
    }
    const [first] = entries
    if (first === undefined) return
    assert.ok(first.index > member.commit, `${witnessed.id}: ${first.index} was committed`)
    assert.ok(first.index <= member.last + 1, `${witnessed.id}: a gap before ${first.index}`)
    if (first.index <= member.last) this.#coverage.hit('entries replaced')
    for (let index = first.index; index <= member.last; index++) member.terms.delete(index)
    for (const entry of entries) {
      const before = member.terms.get(entry.index - 1) ?? -1
      const key = `${entry.term}/${entry.index}`
      const known = this.#entries.get(key)
      const text = textOf(entry)
      const data = entry.kind === 'normal' ? entry.data : undefined
      if (known === undefined) this.#entries.set(key, { text, before, data })
      else {
        assert.equal(text, known.text, `${witnessed.id}: two entries ${key}`)
        assert.equal(before, known.before, `${witnessed.id}: log matching before ${key}`)
      }
      member.terms.set(entry.index, entry.term)
      member.last = entry.index
    }
  }

  #checkNumbers(member: Member, ready: Ready, status: RaftStatus): void {
    const { id, storage } = member.witnessed
    const { term, commit, applied, lastIndex } = status
    assert.ok(term >= member.term, `${id}: term ${member.term} became ${term}`)
    assert.ok(commit >= member.commit, `${id}: commit ${member.commit} became ${commit}`)
    assert.ok(applied >= member.applied, `${id}: applied ${member.applied} became ${applied}`)
    const purged = storage.firstIndex - 1
    const snapshot = storage.snapshot()?.id.index ?? 0
    const order = [purged, snapshot, applied, commit, lastIndex]
    const isOrdered = order.every((value, at) => at === 0 || value >= (order[at - 1] ?? 0))
    assert.ok(isOrdered, `${id}: purged, snapshot, applied, commit, last are ${order.join()}`)
    assert.equal(ready.entries.at(-1)?.index ?? lastIndex, lastIndex, `${id}: last index`)
    Object.assign(member, { term, commit, applied })
  }

  /** Election safety; leader completeness. */
  #elected(member: Member, term: Term): void {
    const { id } = member.witnessed
    const other = this.#leaders.get(term)
    assert.ok(other === undefined || other === id, `two leaders in term ${term}: ${other}, ${id}`)
    if (other === undefined) this.#coverage.hit('leader elected')
    this.#leaders.set(term, id)
    for (const [index, entry] of this.committed) {
      if (entry.inTerm >= term || index < member.base) continue
      const own = member.terms.get(index)
      assert.equal(own, entry.term, `leader ${id} of term ${term} lacks ${entry.term}/${index}`)
    }
  }

  /** Whoever is first to commit an entry leads, and a majority has it on its disks. */
  #committedNow(member: Member, { commit, term, membership }: RaftStatus): void {
    const { id } = member.witnessed
    for (let index = this.commit + 1; index <= commit; index++) {
      const entryTerm = member.terms.get(index)
      assert.ok(entryTerm !== undefined, `${id} commits ${index} without having it`)
      const { text = '', data } = this.#entries.get(`${entryTerm}/${index}`) ?? {}
      this.committed.set(index, { term: entryTerm, text, data, inTerm: term })
      if (entryTerm < term) this.#coverage.hit('entry of an older term committed')
      this.#checkLeaders(index, entryTerm, term)
    }
    const lastTerm = member.terms.get(commit) ?? 0
    assert.equal(lastTerm, term, `${id} commits ${lastTerm}/${commit} by counting, in term ${term}`)
    for (const voters of [membership.voters, membership.votersOutgoing]) {
      const holders = voters.filter((voter) =>
        this.#holds(voter, { term: lastTerm, index: commit }),
      )
      const isQuorum = voters.length === 0 || holders.length > voters.length / 2
      assert.ok(isQuorum, `${id} commits ${commit}: of ${voters.join()} ${holders.join()} have it`)
    }
    this.commit = commit
  }

  #holds(id: RaftId, { term, index }: { readonly term: Term; readonly index: LogIndex }): boolean {
    const storage = this.#members.get(id)?.witnessed.storage
    if (storage === undefined) return false
    return index < storage.firstIndex - 1 || storage.term(index) === term
  }

  /** Leaders that were elected before somebody older committed. */
  #checkLeaders(index: LogIndex, entryTerm: Term, inTerm: Term): void {
    for (const [term, id] of this.#leaders) {
      const member = this.#members.get(id)
      if (term <= inTerm || member?.term !== term || !member.isUp || index < member.base) continue
      assert.equal(member.terms.get(index), entryTerm, `leader ${id} of ${term} lacks ${index}`)
    }
  }

  /** State machine safety. */
  #checkCommitted(id: RaftId, entry: Entry): void {
    const known = this.committed.get(entry.index)
    assert.ok(known !== undefined, `${id} applies ${entry.index}, which nobody committed`)
    assert.equal(textOf(entry), known.text, `${id} applies something else at ${entry.index}`)
  }

  /** A message leaves. What it promises must be on the disk. */
  sent(id: RaftId, message: Message): void {
    const { storage } = this.#member(id).witnessed
    const { hardState } = storage
    const { type, term, from } = message
    if (from !== id) return // passed on
    if (type === 'vote' || (type === 'vote-response' && message.isGranted)) {
      const vote = type === 'vote' ? id : message.to
      const key = `${id} ${term}`
      const given = this.#votes.get(key)
      assert.ok(given === undefined || given === vote, `${id} votes twice in term ${term}`)
      this.#votes.set(key, vote)
      const isDurable =
        hardState.term > term || (hardState.term === term && hardState.vote === vote)
      assert.ok(isDurable, `${id} votes in term ${term} before that is durable`)
    } else if (type === 'append-response' && message.rejected === undefined) {
      const { index } = message
      // Of an older term: a later leader has replaced it meanwhile, which the disk knows.
      const isDurable = index <= storage.lastIndex || hardState.term > term
      assert.ok(isDurable, `${id} acknowledges ${index} before it is durable`)
      assert.ok(hardState.term >= term, `${id} answers in term ${term} before that is durable`)
    }
  }

  applied(id: RaftId, index: LogIndex, membership: Membership | undefined): void {
    if (membership === undefined || index <= this.#membershipIndex) return
    this.#membershipIndex = index
    this.membership = membership
    const { votersOutgoing, autoLeave } = membership
    const isJoint = votersOutgoing.length > 0
    const way = autoLeave ? 'joint, left by itself' : 'joint, left when told'
    this.#coverage.hit(isJoint ? `membership: ${way}` : 'membership: simple')
    assert.ok(membership.voters.length > 0, `${id} applied a membership without voters`)
  }

  /** The state at one index is the same at all, and in all snapshots. */
  state(id: RaftId, index: LogIndex, state: Uint8Array): void {
    const text = Buffer.from(state).toString('latin1')
    const known = this.#states.get(index)
    if (known !== undefined) assert.equal(text, known, `${id}: another state at ${index}`)
    this.#states.set(index, text)
  }
}
