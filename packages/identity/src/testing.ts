/**
 * For tests of what implements or uses the contracts of this package: a store in memory whose disk
 * can fail, hold and crash, and the compliance suite of stores, free of any test runner.
 *
 * @packageDocumentation
 */
export { identityStoreCases } from './testing/identity-store-cases.ts'
export type { IdentityStoreSetup } from './testing/identity-store-cases.ts'
export { createMemoryDisk, createMemoryStore } from './testing/memory-store.ts'
export type { MemoryDisk, MemoryStore } from './testing/memory-store.ts'
