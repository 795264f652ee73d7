/**
 * Raft as a pure core: a replicated log without threads, clocks or sockets.
 *
 * @packageDocumentation
 */
export type { RaftInit } from './core/config.ts'
export {
  describeChange,
  describeData,
  describeEntry,
  describeHardState,
  describeId,
  describeMembership,
  describeMessage,
  describeProposal,
  describeReady,
  describeSnapshot,
  describeSoftState,
} from './core/describe.ts'
export { MemoryStorage } from './core/memory-storage.ts'
export type { ProgressState } from './core/progress.ts'
export { type MemberProgress, type RaftStatus, RawNode } from './core/raw-node.ts'
export type { LogStorage } from './core/storage.ts'
export type {
  Addressed,
  Entry,
  EntryId,
  HardState,
  LogIndex,
  Membership,
  MembershipChange,
  Message,
  MessageOf,
  MessageType,
  Proposal,
  RaftId,
  ReadState,
  Ready,
  Role,
  SingleChange,
  Snapshot,
  SoftState,
  Term,
} from './core/types.ts'
export {
  InvariantError,
  LogCorruptError,
  MembershipChangeError,
  ProposalDroppedError,
  WireError,
} from './errors.ts'
export {
  CONTEXT_BYTES_MAX,
  decodeMessage,
  decodeRecord,
  encodeMessage,
  encodeRecord,
  ENTRIES_MAX,
  ID_BYTES_MAX,
  type LogRecord,
  MEMBERS_MAX,
  WIRE_BYTES_MAX,
} from './wire.ts'
