import type { Random } from '@mycelium/interface'
import { InvariantError, ProposalDroppedError } from '../errors.ts'
import type { RaftConfig } from './config.ts'
import { handleAppend, handleHeartbeat, handleSnapshot } from './follower.ts'
import {
  appendProposals,
  broadcastAppends,
  broadcastHeartbeats,
  checkQuorum,
  proposeAsLeader,
  stepLeader,
} from './leader.ts'
import { RaftLog } from './log.ts'
import { type Config, configOf, membersOf, votersOf } from './membership.ts'
import { Inflights, Progress } from './progress.ts'
import { type VoteResult, voteResult } from './quorum.ts'
import { ReadQueue, Rounds } from './reads.ts'
import type {
  EntryId,
  HardState,
  LogIndex,
  Message,
  MessageOf,
  Proposal,
  RaftId,
  ReadState,
  Role,
  SoftState,
  Term,
} from './types.ts'

/** Why a node stands for election. `transfer`: the leader asked it to. */
export type Campaign = 'pre-election' | 'election' | 'transfer'

type Distribute<T> = T extends Message ? Omit<T, 'from' | 'term'> & { readonly term?: Term } : never
/** A message without its sender; without a term it gets the present one. */
export type Outgoing = Distribute<Message>

/**
 * One member of a group: its role, its term, and what it knows of the others. What leaders and
 * followers do with the log stands in `leader.ts` and `follower.ts`; both work on this object.
 */
export class Raft {
  readonly id: RaftId
  readonly config: RaftConfig
  readonly log: RaftLog
  readonly #random: Random
  term: Term
  vote: RaftId | undefined
  role: Role = 'follower'
  leader: RaftId | undefined
  membership: Config
  progress: Map<RaftId, Progress> = new Map<RaftId, Progress>()
  /** As candidate: who has answered. */
  #votes = new Map<RaftId, boolean>()
  messages: Message[] = []
  /** Leave only when what came before them is durable. */
  afterPersist: Message[] = []
  readStates: ReadState[] = []
  reads: ReadQueue = new ReadQueue()
  rounds: Rounds
  /** As leader: reads that came before an entry of this term was committed. */
  earlyReads: MessageOf<'read-index'>[] = []
  transferee: RaftId | undefined
  /** As leader: somebody was told to campaign at once, whatever leases say. */
  hasHandedOver = false
  /** As leader: no change of membership may be proposed until this index is applied. */
  pendingChangeIndex: LogIndex = 0
  /** As leader: bytes proposed and not committed. */
  uncommittedBytes = 0
  /** Since this object was made. */
  ticks = 0
  electionElapsed = 0
  heartbeatElapsed = 0
  #electionTimeout = 0

  constructor(id: RaftId, config: RaftConfig, random: Random) {
    this.id = id
    this.config = config
    this.rounds = new Rounds(config.electionTicks)
    this.#random = random
    const { storage, appliedIndex, applyingBytesMax } = config
    this.log = new RaftLog({ storage, applied: appliedIndex, applyingBytesMax })
    const { term, vote, commit } = storage.hardState
    this.term = term
    this.vote = vote
    this.log.commitTo(Math.max(commit, this.log.committed))
    this.membership = configOf(config.membership)
    this.#resetProgress()
    this.becomeFollower(term, undefined)
  }

  get softState(): SoftState {
    return { role: this.role, leader: this.leader }
  }

  get hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.committed }
  }

  get isLearner(): boolean {
    return this.progress.get(this.id)?.isLearner ?? false
  }

  /** May it stand for election? */
  get isPromotable(): boolean {
    const own = this.progress.get(this.id)
    return own !== undefined && !own.isLearner && this.log.unstable.snapshot === undefined
  }

  // ---- sending

  send(message: Outgoing): void {
    this.messages.push(this.#addressed(message))
  }

  /** For answers that promise something: only once that is durable. */
  sendAfterPersist(message: Outgoing): void {
    this.afterPersist.push(this.#addressed(message))
  }

  #addressed(message: Outgoing): Message {
    return { ...message, from: this.id, term: message.term ?? this.term } as Message
  }

  // ---- time

  tick(): void {
    this.ticks++
    this.electionElapsed++
    if (this.role !== 'leader') {
      if (this.isPromotable && this.electionElapsed >= this.#electionTimeout) {
        this.electionElapsed = 0
        this.campaign(this.config.preVote ? 'pre-election' : 'election')
      }
      return
    }
    this.heartbeatElapsed++
    if (this.electionElapsed >= this.config.electionTicks) {
      this.electionElapsed = 0
      if (this.config.checkQuorum) checkQuorum(this)
      this.transferee = undefined // it took too long
    }
    if (this.isLeader() && this.heartbeatElapsed >= this.config.heartbeatTicks) {
      this.heartbeatElapsed = 0
      broadcastHeartbeats(this)
    }
  }

  /** Not a comparison in place: roles change within calls. */
  isLeader(): boolean {
    return this.role === 'leader'
  }

  // ---- roles

  becomeFollower(term: Term, leader: RaftId | undefined): void {
    this.#reset(term)
    this.leader = leader
    this.role = 'follower'
  }

  #becomeCandidate(): void {
    if (this.role === 'leader') throw new InvariantError('a leader does not stand for election')
    this.#reset(this.term + 1)
    this.vote = this.id
    this.role = 'candidate'
  }

  /** Changes neither term nor vote: nobody is disturbed by who could not win. */
  #becomePreCandidate(): void {
    if (this.role === 'leader') throw new InvariantError('a leader does not stand for election')
    this.#votes = new Map()
    this.leader = undefined
    this.role = 'pre-candidate'
  }

  #becomeLeader(): void {
    if (this.role === 'follower') throw new InvariantError('a follower does not become leader')
    this.#reset(this.term)
    this.leader = this.id
    this.role = 'leader'
    const own = this.progress.get(this.id)
    own?.becomeReplicate()
    if (own !== undefined) own.isActive = true
    // Entries of earlier terms may hold a change that is not applied: assume so.
    this.pendingChangeIndex = this.log.lastIndex
    // Commits what earlier leaders left, which counting alone must not do (section 3.6.2).
    appendProposals(this, [{ kind: 'normal', data: new Uint8Array() }])
  }

  #reset(term: Term): void {
    if (term !== this.term) {
      this.term = term
      this.vote = undefined
    }
    this.leader = undefined
    this.electionElapsed = 0
    this.heartbeatElapsed = 0
    const { electionTicks } = this.config
    this.#electionTimeout = electionTicks + this.#random.below(electionTicks)
    this.transferee = undefined
    this.#votes = new Map()
    this.pendingChangeIndex = 0
    this.uncommittedBytes = 0
    this.reads = new ReadQueue()
    this.rounds = new Rounds(electionTicks)
    this.hasHandedOver = false
    this.earlyReads = []
    this.#resetProgress()
  }

  #resetProgress(): void {
    this.progress = new Map()
    for (const id of membersOf(this.membership)) {
      const isLearner = this.membership.learners.has(id)
      const progress = this.newProgress(isLearner)
      if (id === this.id) progress.match = this.log.lastIndex
      this.progress.set(id, progress)
    }
  }

  newProgress(isLearner: boolean): Progress {
    const { inflightCountMax: countMax, inflightBytesMax: bytesMax } = this.config
    const inflights = new Inflights({ countMax, bytesMax })
    return new Progress({ next: this.log.lastIndex + 1, isLearner, inflights })
  }

  // ---- elections (section 3.4; pre-vote 9.6)

  campaign(kind: Campaign): void {
    if (this.role === 'leader' || !this.isPromotable) return
    // A change that is committed but not applied could make the wrong majority count.
    if (this.#hasUnappliedChange()) return
    this.#standFor(kind)
  }

  #standFor(kind: Campaign): void {
    const isPre = kind === 'pre-election'
    if (isPre) this.#becomePreCandidate()
    else this.#becomeCandidate()
    const term = isPre ? this.term + 1 : this.term
    const type = isPre ? 'pre-vote' : 'vote'
    for (const to of [...votersOf(this.membership)].sort()) {
      if (to === this.id) {
        // Its own vote counts once it is durable, like any other.
        const { commit } = this.log
        this.sendAfterPersist({ type: `${type}-response`, to, term, isGranted: true, commit })
      } else {
        const request = { to, term, last: this.log.last, isTransfer: kind === 'transfer' }
        if (isPre) this.send({ type: 'pre-vote', ...request })
        // A candidate that forgot its term would ask again in the same one, with another log, and
        // count the votes that the first one was given.
        else this.sendAfterPersist({ type: 'vote', ...request })
      }
    }
  }

  #hasUnappliedChange(): boolean {
    const { log } = this
    const { scanBytesMax } = this.config
    for (let from = Math.max(log.applied + 1, log.firstIndex); from <= log.committed;) {
      const entries = log.entries(from, log.committed + 1, scanBytesMax)
      if (entries.some(({ kind }) => kind === 'change')) return true
      from += entries.length
    }
    return false
  }

  #count(from: RaftId, isGranted: boolean): VoteResult {
    if (!this.#votes.has(from)) this.#votes.set(from, isGranted)
    return voteResult(this.membership, this.#votes)
  }

  #answerVote(message: MessageOf<'vote' | 'pre-vote'>): void {
    const { type, from, term, last } = message
    const mayVote =
      this.vote === from ||
      (this.vote === undefined && this.leader === undefined) ||
      (type === 'pre-vote' && term > this.term)
    // A learner votes too: it may have been promoted without knowing yet (section 4.2.2).
    const isGranted = mayVote && this.log.isUpToDate(last)
    if (isGranted && type === 'vote') {
      this.electionElapsed = 0
      this.vote = from
    }
    // To a pre-candidate the term that it asked for; a refusal tells ours.
    const answered = isGranted ? term : this.term
    const answer = { to: from, term: answered, isGranted, commit: this.log.commit }
    this.sendAfterPersist({ type: `${type}-response`, ...answer })
  }

  // ---- messages

  /** Must it help nobody else to be elected? */
  get hearsLeader(): boolean {
    const { checkQuorum: checks, electionTicks, reads } = this.config
    // Before a restart it may have answered a leader whose lease counts on that.
    if (reads === 'lease' && this.ticks < electionTicks) return true
    return checks && this.leader !== undefined && this.electionElapsed < electionTicks
  }

  step(message: Message): void {
    if (message.term > this.term && !this.#followTerm(message)) return
    if (message.term < this.term && !isTermless(message)) return this.#answerOldTerm(message)
    if (message.type === 'vote' || message.type === 'pre-vote') return this.#answerVote(message)
    switch (this.role) {
      case 'leader':
        return stepLeader(this, message)
      case 'follower':
        return this.#stepFollower(message)
      case 'candidate':
      case 'pre-candidate':
        return this.#stepCandidate(message)
    }
  }

  /** A newer term. False: the message is ignored. */
  #followTerm(message: Message): boolean {
    const { type, term, from } = message
    if (type === 'vote' || type === 'pre-vote') {
      // Whoever hears of a leader helps nobody to replace it (section 4.2.3).
      if (this.hearsLeader && !message.isTransfer) return false
      if (type === 'pre-vote') return true
    }
    // Our own future term, granted.
    if (type === 'pre-vote-response' && message.isGranted) return true
    const isFromLeader = type === 'append' || type === 'heartbeat' || type === 'snapshot'
    this.becomeFollower(term, isFromLeader ? from : undefined)
    return true
  }

  /** So that who was cut off and is alone in an older or newer term comes to know. */
  #answerOldTerm({ type, from }: Message): void {
    const { checkQuorum: checks, preVote } = this.config
    if ((checks || preVote) && (type === 'heartbeat' || type === 'append')) {
      this.sendAfterPersist({ type: 'append-response', to: from, index: 0 })
    } else if (type === 'pre-vote') {
      const { commit } = this.log
      this.sendAfterPersist({ type: 'pre-vote-response', to: from, isGranted: false, commit })
    }
  }

  #stepCandidate(message: Message): void {
    switch (message.type) {
      case 'append':
      case 'heartbeat':
      case 'snapshot':
        this.becomeFollower(message.term, message.from) // of this term: it won
        return this.#stepFollower(message)
      case 'vote-response':
      case 'pre-vote-response': {
        const expected = this.role === 'candidate' ? 'vote-response' : 'pre-vote-response'
        if (message.type !== expected || this.#learnedCommit(message)) return
        return this.#decide(this.#count(message.from, message.isGranted))
      }
      case 'append-response':
      case 'heartbeat-response':
      case 'vote':
      case 'pre-vote':
      case 'propose':
      case 'read-index':
      case 'read-index-response':
      case 'timeout-now':
      case 'transfer-leader':
        return // there is no leader
    }
  }

  /**
   * A leader that removes itself is gone once that is committed. Who has not heard of it may need
   * the vote of just that node, which refuses it for the entries that came after, while it cannot
   * lead itself any more. So voters tell what is committed. True: the configuration has changed,
   * and the election counts the wrong votes.
   */
  #learnedCommit({ commit }: { readonly commit: EntryId }): boolean {
    if (!this.log.maybeCommit(commit) || !this.#hasUnappliedChange()) return false
    this.becomeFollower(this.term, undefined)
    return true
  }

  #decide(result: VoteResult): void {
    if (result === 'lost') {
      this.becomeFollower(this.term, undefined)
    } else if (result === 'won') {
      // Meanwhile it may have been removed.
      if (!this.isPromotable) return this.becomeFollower(this.term, undefined)
      if (this.role === 'pre-candidate') return this.#standFor('election')
      this.#becomeLeader()
      broadcastAppends(this)
    }
  }

  #stepFollower(message: Message): void {
    switch (message.type) {
      case 'append':
        this.#heard(message.from)
        return handleAppend(this, message)
      case 'heartbeat':
        this.#heard(message.from)
        return handleHeartbeat(this, message)
      case 'snapshot':
        this.#heard(message.from)
        return handleSnapshot(this, message)
      case 'timeout-now':
        return this.campaign('transfer')
      case 'transfer-leader':
        if (this.leader !== undefined) this.send({ ...message, to: this.leader })
        return
      case 'propose':
        if (this.leader !== undefined && this.config.forwardsProposals) {
          this.messages.push({ ...message, to: this.leader })
        }
        return
      case 'read-index':
        if (this.leader !== undefined) this.messages.push({ ...message, to: this.leader })
        return
      case 'read-index-response':
        this.readStates.push({ index: message.index, context: message.context })
        return
      case 'append-response':
      case 'heartbeat-response':
      case 'vote':
      case 'vote-response':
      case 'pre-vote':
      case 'pre-vote-response':
        return // of a time when it was leader or candidate
    }
  }

  #heard(leader: RaftId): void {
    this.electionElapsed = 0
    this.leader = leader
  }

  // ---- what the user of this node asks

  /** @throws {ProposalDroppedError} it is in no log */
  propose(proposals: readonly Proposal[]): void {
    if (this.role === 'leader') return proposeAsLeader(this, proposals)
    if (this.leader === undefined) throw new ProposalDroppedError('no-leader')
    if (!this.config.forwardsProposals) throw new ProposalDroppedError('not-leader')
    const { id: from, leader: to } = this
    this.messages.push({ type: 'propose', from, to, term: 0, proposals })
  }

  /** Of no effect without a leader: ask again. */
  readIndex(context: Uint8Array): void {
    this.step({ type: 'read-index', from: this.id, to: this.id, term: 0, context })
  }

  transferLeadership(transferee: RaftId): void {
    const { id, term } = this
    this.step({ type: 'transfer-leader', from: id, to: id, term, transferee })
  }

  /** Lets others campaign at once: whoever cuts this node off from its leader knows it is gone. */
  forgetLeader(): void {
    // With leases a vote given too early could let two leaders answer reads.
    if (this.role === 'follower' && this.config.reads !== 'lease') this.leader = undefined
  }
}

/** Passed on by a follower, whose term does not matter. */
function isTermless({ type, term }: Message): boolean {
  return term === 0 && (type === 'propose' || type === 'read-index')
}
