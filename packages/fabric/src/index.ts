/**
 * Member nodes connected by libp2p: reconnects, round-trip times, messages between members.
 *
 * @packageDocumentation
 */
export { createFabric } from './fabric.ts'
export type { Fabric, FabricDeps, FabricEvents, PeerView } from './fabric.ts'
export type { FabricInit, KnownPeer } from './config.ts'
export type { FabricTransport } from './transport.ts'
export type { TransportInit } from './transport-config.ts'
export { measureCapabilities, parseCapabilities } from './capabilities.ts'
export type { CapabilityRecord, MeasureInit } from './capabilities.ts'
export { NODE_PRESETS } from './node-type.ts'
export type { NodePreset } from './node-type.ts'
export { createSystemClock, createSystemRandom } from '@mycelium/identity'
export {
  FabricCapabilitiesError,
  FabricFrameError,
  FabricListenError,
  FabricStoppedError,
} from './errors.ts'
