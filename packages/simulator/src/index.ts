/**
 * A deterministic world for tests: time, chance, a network and processes that depend on a seed and
 * on nothing else.
 *
 * @example
 *
 * ```ts
 * const world = createWorld({ seed: 1, network: { lossPerMille: 100 } })
 * world.start('a', ({ send }) => {
 *   send('b', Uint8Array.of(1))
 *   return () => {}
 * })
 * world.start('b', ({ clock }) => (from, message) => {
 *   console.info(clock.now(), from, message)
 * })
 * await world.clock.runUntilIdle()
 * ```
 *
 * @packageDocumentation
 */
export { createCoverage, sumCounts } from './coverage.ts'
export type { Coverage } from './coverage.ts'
export { createDisk } from './disk.ts'
export type { DiskDeps, SimulatedDisk } from './disk.ts'
export { DiskFullError, SimulationFailedError, SimulationStuckError } from './errors.ts'
export { findViolation } from './linearizability.ts'
export type {
  LinearizabilityInit,
  Operation,
  SequentialModel,
  Violation,
} from './linearizability.ts'
export { createNetwork, RELIABLE_NETWORK } from './network.ts'
export type { Network, NetworkDeps, NetworkFaults, Tamper } from './network.ts'
export { runSeeds } from './run-seeds.ts'
export type { RunSeedsInit, RunSeedsResult, Simulation, SimulationResult } from './run-seeds.ts'
export { createSeededRandom } from './seeded-random.ts'
export { chooseSwarm } from './swarm.ts'
export { createTrace } from './trace.ts'
export type { Trace, TraceInit } from './trace.ts'
export { createVirtualClock, STEPS_MAX } from './virtual-clock.ts'
export type { RunInit, VirtualClock, VirtualClockInit } from './virtual-clock.ts'
export { createWorld } from './world.ts'
export type { Boot, Host, SimulatedProcess, World, WorldInit } from './world.ts'
