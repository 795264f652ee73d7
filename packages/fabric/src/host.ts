import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { identify, type Identify } from '@libp2p/identify'
import type { ConnectionGater, Libp2p, PeerId, ServiceMap } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { ping, type Ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import type { NodeId } from '@mycelium/interface'
import { createLibp2p, type Libp2pOptions } from 'libp2p'
import {
  ADDRESSES_MAX,
  CONNECTIONS_MAX,
  DIAL_TIMEOUT_MS,
  DIALS_MAX,
  INBOUND_PER_SECOND_MAX,
  PENDING_INBOUND_MAX,
} from './constants.ts'
import type { FabricConfig } from './config.ts'
import { safeYamux } from './muxer.ts'

/** One address that swallows packets must not take the time of the others. */
const ADDRESS_DIAL_TIMEOUT_MS = 4_000

/** Streams of ping and identify on one connection: both ends, old and new connections, at once. */
const SERVICE_STREAMS_MAX = 8

/** Reservations of a relay: as many members as may live behind one. */
const RELAY_RESERVATIONS_MAX = 128

/** Services that every fabric has. */
export interface FabricServices extends ServiceMap {
  identify: Identify
  ping: Ping
}

/** The libp2p host of a fabric, not started. */
export async function createHost(
  config: FabricConfig,
  mayConnect: (peer: NodeId) => boolean,
): Promise<Libp2p<FabricServices>> {
  const options: Libp2pOptions<FabricServices> = {
    start: false,
    privateKey: config.privateKey,
    addresses: { listen: [...config.listen], announce: [...config.announce] },
    transports: [tcp(), circuitRelayTransport()],
    connectionEncrypters: [...(config.connectionEncrypters ?? [tls()])],
    streamMuxers: [safeYamux()],
    connectionGater: createGater(mayConnect),
    connectionManager: {
      maxConnections: CONNECTIONS_MAX,
      maxParallelDials: DIALS_MAX,
      maxPeerAddrsToDial: ADDRESSES_MAX,
      dialTimeout: DIAL_TIMEOUT_MS,
      addressDialTimeout: ADDRESS_DIAL_TIMEOUT_MS,
      // The order is that of the fabric, which begins with another one at each try.
      addressSorter: () => 0,
      inboundConnectionThreshold: INBOUND_PER_SECOND_MAX,
      maxIncomingPendingConnections: PENDING_INBOUND_MAX,
    },
    // The fabric has heartbeats of its own.
    connectionMonitor: { enabled: false },
    peerDiscovery: config.mdns === undefined ? [] : [mdns(config.mdns)],
    services: {
      identify: identify({
        maxInboundStreams: SERVICE_STREAMS_MAX,
        maxOutboundStreams: SERVICE_STREAMS_MAX,
      }),
      ping: ping({
        maxInboundStreams: SERVICE_STREAMS_MAX,
        maxOutboundStreams: SERVICE_STREAMS_MAX,
      }),
      // Members relay for members without the limits that strangers would have.
      ...(config.isRelay && {
        relay: circuitRelayServer({
          reservations: { maxReservations: RELAY_RESERVATIONS_MAX, applyDefaultLimit: false },
        }),
      }),
      ...config.services,
    },
  }
  return await createLibp2p(options)
}

/** Asks at every stage: a revocation may come at any moment of a handshake. */
function createGater(mayConnect: (peer: NodeId) => boolean): ConnectionGater {
  const denies = (peer: PeerId): boolean => !mayConnect(peer.toString() as NodeId)
  return {
    denyDialPeer: denies,
    denyDialMultiaddr: () => false,
    denyOutboundConnection: denies,
    denyInboundEncryptedConnection: denies,
    denyOutboundEncryptedConnection: denies,
    denyInboundUpgradedConnection: denies,
    denyOutboundUpgradedConnection: denies,
    denyInboundRelayReservation: denies,
    denyOutboundRelayedConnection: (source, destination) => denies(source) || denies(destination),
    denyInboundRelayedConnection: (relay, remote) => denies(relay) || denies(remote),
  }
}
