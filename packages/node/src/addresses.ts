import { multiaddr } from '@multiformats/multiaddr'
import type { EffectiveConfig } from './config.ts'
import { UsageError } from './errors.ts'

const KEYS = ['listen', 'announce', 'peers'] as const
/** Of a node with an Ed25519 key, at the end. */
const PEER_ID = /\/p2p\/12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/

/**
 * Checks what a configuration says of addresses; apart from the rest, because it takes libp2p.
 *
 * @throws {UsageError} names where it stands, the key and the address
 */
export function checkConfigAddresses({ config, sources }: EffectiveConfig): void {
  for (const key of KEYS) {
    // Those of the option carry its name.
    const where = sources[key].startsWith('--') ? sources[key] : `${sources[key]}: ${key}`
    for (const address of config[key]) {
      checkAddress(address, where)
      if (key === 'peers' && !PEER_ID.test(address)) {
        throw new UsageError(`${where}: ${address} does not end with /p2p/<id of the member>`)
      }
    }
  }
}

/** @throws {UsageError} begins with `where` */
export function checkAddress(address: string, where: string): void {
  try {
    multiaddr(address)
  } catch (cause) {
    throw new UsageError(`${where}: ${address} is no multiaddr, as /ip4/192.0.2.1/tcp/7752`, {
      cause,
    })
  }
}
