import type { PrivateKey } from '@libp2p/interface'
import type { MulticastDNSInit } from '@libp2p/mdns'
import { multiaddr } from '@multiformats/multiaddr'
import type { NodeType } from '@mycelium/identity'
import type { NodeId } from '@mycelium/interface'
import type { Libp2pInit } from 'libp2p'
import {
  ADDRESS_CHARS_MAX,
  ADDRESSES_MAX,
  CONNECTIONS_PER_PEER_MAX,
  DELAY_MS_MIN,
  DIALS_MAX,
  DISCOVERED_DELAY_MS_MAX,
  DISCOVERED_MAX,
  LINGER_MS,
  MISSES_MAX,
  PEERS_MAX,
  PING_TIMEOUT_MS,
  ROUND_TRIPS_MAX,
  STABLE_MS,
} from './constants.ts'
import type { ConnectionTableConfig } from './connection-table.ts'
import type { ReconnectConfig } from './core/reconnect.ts'
import { NODE_PRESETS } from './node-type.ts'

/** A peer and its addresses: multiaddrs as text, with or without `/p2p/<its id>` at the end. */
export interface KnownPeer {
  readonly peer: NodeId
  readonly addresses: readonly string[]
}

export interface FabricInit {
  /** Of the node: its id follows from it. Ed25519. */
  readonly privateKey: PrivateKey
  /** What the node is; gives the defaults below. @default 'sclerotium-dedicated' */
  readonly nodeType?: NodeType
  /**
   * What proves the peer on a new connection, before any protocol exists. @default [tls()], which
   * proves its id and no membership
   */
  readonly connectionEncrypters?: Libp2pInit['connectionEncrypters']
  /** Multiaddrs. @default any IPv4 and IPv6 address, a free port; none for a hypha */
  readonly listen?: readonly string[]
  /** What peers are told instead of the addresses listened on: behind NAT, in containers. */
  readonly announce?: readonly string[]
  /** Known from the start. */
  readonly peers?: readonly KnownPeer[]
  /**
   * The gate: asked for each peer at each stage of a connection, and synchronously. Members that
   * are not revoked. @default everybody whom the encrypter lets in
   */
  readonly mayConnect?: (peer: NodeId) => boolean
  /** Find peers of the local network. True for libp2p's usual port and name. @default false */
  readonly mdns?: boolean | MulticastDNSInit
  /** Relay connections between members. @default by node type */
  readonly relay?: boolean
  /** Further libp2p services, by name. */
  readonly services?: NonNullable<Libp2pInit['services']>
  /** Between heartbeats of one peer, 100..600_000 ms. @default by node type */
  readonly heartbeatMs?: number
  /** A heartbeat without answer for so long has failed, 100..600_000 ms. @default 5_000 */
  readonly pingTimeoutMs?: number
  /** Longest delay between dials of a peer, 250..3_600_000 ms. @default by node type */
  readonly dialDelayMsMax?: number
}

/** What a fabric runs with. */
export interface FabricConfig {
  readonly privateKey: PrivateKey
  readonly nodeType: NodeType
  readonly connectionEncrypters: Libp2pInit['connectionEncrypters']
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  readonly peers: readonly KnownPeer[]
  readonly mayConnect: (peer: NodeId) => boolean
  readonly mdns: MulticastDNSInit | undefined
  readonly isRelay: boolean
  readonly services: NonNullable<Libp2pInit['services']>
  readonly reconnect: ReconnectConfig
  readonly links: ConnectionTableConfig
}

/** @throws {RangeError} a value out of bounds. @throws {TypeError} an address that is none */
export function resolveConfig(init: FabricInit): FabricConfig {
  if (init.privateKey.type !== 'Ed25519') {
    throw new TypeError(`privateKey must be Ed25519, got ${init.privateKey.type}`)
  }
  const nodeType = init.nodeType ?? 'sclerotium-dedicated'
  const preset = NODE_PRESETS[nodeType]
  const heartbeatMs = init.heartbeatMs ?? preset.heartbeatMs
  const pingTimeoutMs = init.pingTimeoutMs ?? PING_TIMEOUT_MS
  const delayMsMax = init.dialDelayMsMax ?? preset.dialDelayMsMax
  checkRange('heartbeatMs', heartbeatMs, 100, 600_000)
  checkRange('pingTimeoutMs', pingTimeoutMs, 100, 600_000)
  checkRange('dialDelayMsMax', delayMsMax, DELAY_MS_MIN, 3_600_000)
  const listen = init.listen ?? preset.listen
  const announce = init.announce ?? []
  checkAddresses('listen', listen)
  checkAddresses('announce', announce)
  for (const { addresses } of init.peers ?? []) checkAddresses('peers', addresses)
  const { mdns = false } = init
  return Object.freeze({
    privateKey: init.privateKey,
    nodeType,
    connectionEncrypters: init.connectionEncrypters,
    listen,
    announce,
    peers: init.peers ?? [],
    mayConnect: init.mayConnect ?? ((): boolean => true),
    mdns: mdns === false ? undefined : mdns === true ? {} : mdns,
    isRelay: init.relay ?? preset.isRelay,
    services: init.services ?? {},
    reconnect: {
      peersMax: PEERS_MAX,
      discoveredMax: DISCOVERED_MAX,
      addressesMax: ADDRESSES_MAX,
      dialsMax: DIALS_MAX,
      delayMsMin: DELAY_MS_MIN,
      delayMsMax,
      discoveredDelayMsMax: Math.max(DISCOVERED_DELAY_MS_MAX, delayMsMax),
      stableMs: STABLE_MS,
    },
    links: {
      heartbeatMs,
      pingTimeoutMs,
      missesMax: MISSES_MAX,
      roundTripsMax: ROUND_TRIPS_MAX,
      lingerMs: LINGER_MS,
      connectionsPerPeerMax: CONNECTIONS_PER_PEER_MAX,
    },
  })
}

/** Of addresses that a peer told, those that are some. */
export function properAddresses(addresses: readonly string[]): string[] {
  return addresses.filter(isAddress).slice(0, ADDRESSES_MAX)
}

export function checkAddresses(name: string, addresses: readonly string[]): void {
  if (addresses.length > ADDRESSES_MAX) {
    throw new RangeError(
      `${name} must have at most ${ADDRESSES_MAX} addresses, got ${addresses.length}`,
    )
  }
  for (const address of addresses) {
    if (!isAddress(address)) throw new TypeError(`${name} must be multiaddrs, got ${address}`)
  }
}

function isAddress(address: string): boolean {
  if (address.length === 0 || address.length > ADDRESS_CHARS_MAX) return false
  try {
    multiaddr(address)
    return true
  } catch {
    return false
  }
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return
  throw new RangeError(`${name} must be an integer in ${min}..${max}, got ${value}`)
}
