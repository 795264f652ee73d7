import { ENTRIES_MAX } from '../wire.ts'
import { ENTRY_OVERHEAD_BYTES, type LogStorage } from './storage.ts'
import type { LogIndex, Membership } from './types.ts'

export interface RaftInit {
  readonly storage: LogStorage
  /** What the state machine holds already. @default the index of the snapshot */
  readonly appliedIndex?: LogIndex
  /** In force at `appliedIndex`. @default that of the snapshot */
  readonly membership?: Membership
  /** Ticks without a leader until an election: this many to twice this many. @default 10 */
  readonly electionTicks?: number
  /** Ticks between heartbeats, fewer than `electionTicks`. @default 1 */
  readonly heartbeatTicks?: number
  /** Ask before an election whether it could be won. @default true */
  readonly preVote?: boolean
  /** A leader that hears no majority for `electionTicks` steps down. @default true */
  readonly checkQuorum?: boolean
  /**
   * `safe`: a round of heartbeats for each read. `lease`: none if a majority has answered lately.
   * Needs `checkQuorum`, the same setting at all members, clocks whose speeds differ by less than a
   * tenth, and a shell that gives the ticks it missed (a frozen process) before anything else. A
   * member that has just started elects nobody for `electionTicks`. @default 'safe'
   */
  readonly reads?: 'safe' | 'lease'
  /** Followers pass proposals on to the leader. @default true */
  readonly forwardsProposals?: boolean
  /** A leader that is no voter any more steps down when that is applied. @default true */
  readonly stepsDownOnRemoval?: boolean
  /** Bytes of entries in one append, 16 MiB at most. @default 1 MiB */
  readonly appendBytesMax?: number
  /** Bytes of committed entries given out and not applied. @default 16 MiB */
  readonly applyingBytesMax?: number
  /** Bytes of entries proposed and not committed; above, proposals are dropped. @default 64 MiB */
  readonly uncommittedBytesMax?: number
  /** Appends on their way to one follower. @default 256 */
  readonly inflightCountMax?: number
  /** Their bytes. @default 16 MiB */
  readonly inflightBytesMax?: number
  /** Is what is durable told by `persisted` and what is applied by `applied`, with several `ready`
   * under way? Otherwise `advance` tells both. @default false */
  readonly isAsync?: boolean
}

export type RaftConfig = Required<RaftInit> & {
  /** Bytes of entries that are looked through at once. */
  readonly scanBytesMax: number
}

const MIB = 2 ** 20
/** So that no append has more entries than a message may have. */
const APPEND_BYTES_MAX = ENTRIES_MAX * ENTRY_OVERHEAD_BYTES

/** @throws {RangeError} a value is out of its range */
export function resolveRaftInit(init: RaftInit): RaftConfig {
  const config: RaftConfig = {
    appliedIndex: Math.max(init.storage.snapshot()?.id.index ?? 0, init.storage.firstIndex - 1),
    membership: init.storage.membership,
    electionTicks: 10,
    heartbeatTicks: 1,
    preVote: true,
    checkQuorum: true,
    reads: 'safe',
    forwardsProposals: true,
    stepsDownOnRemoval: true,
    appendBytesMax: MIB,
    applyingBytesMax: 16 * MIB,
    uncommittedBytesMax: 64 * MIB,
    inflightCountMax: 256,
    inflightBytesMax: 16 * MIB,
    isAsync: false,
    ...init,
    scanBytesMax: 4 * MIB,
  }
  if (config.appendBytesMax > APPEND_BYTES_MAX) {
    throw new RangeError(`appendBytesMax must be at most 16 MiB, got ${config.appendBytesMax}`)
  }
  for (const name of COUNTS) {
    const value = config[name]
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new RangeError(`${name} must be an integer of at least 1, got ${value}`)
    }
  }
  const { heartbeatTicks, electionTicks, reads, checkQuorum, storage, appliedIndex } = config
  const [first, last] = [storage.firstIndex - 1, storage.lastIndex]
  if (!Number.isSafeInteger(appliedIndex) || appliedIndex < first || appliedIndex > last) {
    throw new RangeError(`appliedIndex must be in ${first}..${last}, got ${appliedIndex}`)
  }
  if (electionTicks <= heartbeatTicks) {
    throw new RangeError(`electionTicks must be above ${heartbeatTicks}, got ${electionTicks}`)
  }
  if (reads === 'lease' && !checkQuorum) {
    throw new RangeError('reads must be safe without checkQuorum, got lease')
  }
  return Object.freeze(config)
}

const COUNTS = [
  'electionTicks',
  'heartbeatTicks',
  'appendBytesMax',
  'applyingBytesMax',
  'uncommittedBytesMax',
  'inflightCountMax',
  'inflightBytesMax',
] as const
