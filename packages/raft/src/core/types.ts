/** Words of the Raft dissertation (Ongaro 2014) as types. Terms and log indexes: safe integers. */

/** Name of a node; a `NodeId` fits. Compared and ordered as a string. */
export type RaftId = string

/** 0: none yet. */
export type Term = number
/** 0: before the first entry. */
export type LogIndex = number

/** A position in a log: what an entry is known by. */
export interface EntryId {
  readonly term: Term
  readonly index: LogIndex
}

export type Entry = EntryId &
  (
    | { readonly kind: 'normal'; readonly data: Uint8Array }
    | { readonly kind: 'change'; readonly change: MembershipChange }
  )

/** What a proposal becomes an entry from. */
export type Proposal =
  | { readonly kind: 'normal'; readonly data: Uint8Array }
  | { readonly kind: 'change'; readonly change: MembershipChange }

/**
 * Changes that happen at once (section 4.3). More than one voter changes through a joint
 * configuration, which `implicit` leaves by itself and `explicit` when an empty change is applied;
 * `auto` uses a joint configuration only if it must, and then leaves it by itself. No changes with
 * `auto`: leave the joint configuration.
 */
export interface MembershipChange {
  readonly transition: 'auto' | 'implicit' | 'explicit'
  readonly changes: readonly SingleChange[]
  /** The proposer's own, returned with the applied entry. */
  readonly context?: Uint8Array
}

export interface SingleChange {
  /** `add-learner` demotes a voter. */
  readonly type: 'add-voter' | 'add-learner' | 'remove'
  readonly id: RaftId
}

/** Who is a member. Lists are ascending. */
export interface Membership {
  readonly voters: readonly RaftId[]
  /** In a joint configuration: the voters of the old one; otherwise empty. */
  readonly votersOutgoing: readonly RaftId[]
  readonly learners: readonly RaftId[]
  /** Voters of the old configuration only, learners when it is left. */
  readonly learnersNext: readonly RaftId[]
  /** The joint configuration is left without anybody asking for it. */
  readonly autoLeave: boolean
}

/** What must be durable before messages that depend on it are sent. */
export interface HardState {
  readonly term: Term
  readonly vote: RaftId | undefined
  /** Only a hint: what is lost of it comes again from the leader. */
  readonly commit: LogIndex
}

/** What is true only now. */
export interface SoftState {
  readonly role: Role
  readonly leader: RaftId | undefined
}

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

export interface Snapshot {
  /** The last entry that it stands for. */
  readonly id: EntryId
  readonly membership: Membership
  /** Of the state machine; the core never looks at it. */
  readonly data: Uint8Array
}

/** Whose message it is, and of which term. */
export interface Addressed {
  readonly from: RaftId
  readonly to: RaftId
  readonly term: Term
}

export type Message = Addressed &
  (
    | {
        readonly type: 'append'
        readonly previous: EntryId
        readonly entries: readonly Entry[]
        readonly commit: LogIndex
      }
    | {
        readonly type: 'append-response'
        /** Accepted: the last index that matches. Rejected: the `previous.index` that did not. */
        readonly index: LogIndex
        /** The follower's best guess of where the logs still agree. */
        readonly rejected?: EntryId
      }
    | {
        readonly type: 'heartbeat'
        readonly commit: LogIndex
        /** 1, 2, 3 ... in each term: an answer proves who led when this was sent. */
        readonly round: number
      }
    | { readonly type: 'heartbeat-response'; readonly round: number }
    | {
        readonly type: 'vote' | 'pre-vote'
        readonly last: EntryId
        /** The leader asked for it (leadership transfer): leases do not count. */
        readonly isTransfer: boolean
      }
    | {
        readonly type: 'vote-response' | 'pre-vote-response'
        readonly isGranted: boolean
        /** The last entry that is known to be committed there. */
        readonly commit: EntryId
      }
    | { readonly type: 'snapshot'; readonly snapshot: Snapshot }
    | { readonly type: 'timeout-now' }
    | { readonly type: 'transfer-leader'; readonly transferee: RaftId }
    | { readonly type: 'propose'; readonly proposals: readonly Proposal[] }
    | { readonly type: 'read-index'; readonly context: Uint8Array }
    | {
        readonly type: 'read-index-response'
        readonly context: Uint8Array
        readonly index: LogIndex
      }
  )

export type MessageType = Message['type']
export type MessageOf<Type extends MessageType> = Extract<Message, { readonly type: Type }>

/** A read that may be answered once `index` is applied: it saw every write acknowledged before. */
export interface ReadState {
  readonly index: LogIndex
  readonly context: Uint8Array
}

/**
 * What is to be done now. In this order: make `hardState`, `snapshot` and `entries` durable
 * (`mustSync` false: need not be synchronised), then send `afterPersist`; `messages` may leave at
 * any time; apply `snapshot` and `committed`.
 *
 * What one `Ready` makes durable is kept as a whole or lost as a whole, and nothing of a later one
 * without all of the earlier ones: an entry that outlives the commit index that came with it lets
 * a member vote by a configuration that is two changes old.
 */
export interface Ready {
  /** 1, 2, 3 ...: names it in `persisted`. */
  readonly number: number
  /** If it changed. */
  readonly softState?: SoftState
  /** If it changed. */
  readonly hardState?: HardState
  /** To be appended; entries from the first index on are replaced. */
  readonly entries: readonly Entry[]
  /** Replaces the log and the state machine. */
  readonly snapshot?: Snapshot
  readonly committed: readonly Entry[]
  readonly messages: readonly Message[]
  /** Only when everything of this and of earlier ones is durable. */
  readonly afterPersist: readonly Message[]
  readonly readStates: readonly ReadState[]
  readonly mustSync: boolean
}
