import type { LogStorage } from './storage.ts'
import type { LogIndex } from './types.ts'

export interface RaftInit {
  readonly storage: LogStorage
  /** What the state machine holds already. @default that of the snapshot */
  readonly appliedIndex?: LogIndex
  /** Ticks without a leader until an election: this many to twice this many. @default 10 */
  readonly electionTicks?: number
  /** Ticks between heartbeats, fewer than `electionTicks`. @default 1 */
  readonly heartbeatTicks?: number
  /** Ask before an election whether it could be won. @default true */
  readonly preVote?: boolean
  /** A leader that hears no majority for `electionTicks` steps down. @default true */
  readonly checkQuorum?: boolean
  /** `safe`: a round of heartbeats for each read. `lease`: none, as long as clocks of members run
   * equally fast; needs `checkQuorum`. @default 'safe' */
  readonly reads?: 'safe' | 'lease'
  /** Followers pass proposals on to the leader. @default true */
  readonly forwardsProposals?: boolean
  /** A leader that is no voter any more steps down when that is applied. @default true */
  readonly stepsDownOnRemoval?: boolean
  /** Bytes of entries in one append. @default 1 MiB */
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

/** @throws {RangeError} a value is out of its range */
export function resolveRaftInit(init: RaftInit): RaftConfig {
  const config: RaftConfig = {
    appliedIndex: init.storage.firstIndex - 1,
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
  for (const name of COUNTS) {
    const value = config[name]
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new RangeError(`${name} must be an integer of at least 1, got ${value}`)
    }
  }
  const { heartbeatTicks, electionTicks, reads, checkQuorum } = config
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
