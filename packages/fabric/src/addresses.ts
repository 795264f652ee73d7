import type { NodeId } from '@mycelium/interface'

const LOOPBACK = /^\/(?:ip4\/127\.|ip6\/::1\/)/

/** Each with the id of the peer at its end, so that nobody else can take the call. */
export function dialableAddresses(peer: NodeId, addresses: readonly string[]): string[] {
  return addresses.map((address) =>
    address.endsWith(`/p2p/${peer}`) ? address : `${address}/p2p/${peer}`,
  )
}

/**
 * Of the addresses that a peer tells, those that mean the peer here as well: its loopback only if
 * it came from ours.
 */
export function reachableAddresses(addresses: readonly string[], cameFrom: string): string[] {
  const isHere = LOOPBACK.test(cameFrom)
  return addresses.filter((address) => isHere || !LOOPBACK.test(address))
}
