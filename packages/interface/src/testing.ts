/**
 * For tests of what implements or uses the contracts: an in-process channel and the compliance
 * suites, free of any test runner.
 *
 * @packageDocumentation
 */
export type { BulkChannelSetup } from './testing/bulk-channel-setup.ts'
export { bulkChannelCases } from './testing/bulk-channel-cases.ts'
export type { FencingLeasesSetup } from './testing/fencing-leases-setup.ts'
export { fencingLeasesCases } from './testing/fencing-leases-cases.ts'
export { createMemoryChannelPair } from './testing/memory-channel-pair.ts'
export type { MemoryChannelPair, MemoryChannelPairInit } from './testing/memory-channel-pair.ts'
export { messageTransportCases } from './testing/message-transport-cases.ts'
export type { MessageTransportSetup } from './testing/message-transport-setup.ts'
export { createMemoryTransports } from './testing/message-transport-memory.ts'
export type {
  MemoryTransports,
  MemoryTransportsDeps,
  MemoryTransportsInit,
} from './testing/message-transport-memory.ts'
