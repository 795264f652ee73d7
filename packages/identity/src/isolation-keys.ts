import type { Crypto } from './core/model.ts'
import type { Libp2pMembershipService } from './membership-service.ts'
import { areEqual } from './wire.ts'

/**
 * Asks connected members for isolation keys by their hashes, one member after the other. What none
 * of them gives is asked for again by the next call.
 */
export async function fetchIsolationKeys(
  { service, crypto }: { readonly service: Libp2pMembershipService; readonly crypto: Crypto },
  hashes: readonly Uint8Array[],
  keep: (key: Uint8Array) => Promise<void>,
): Promise<void> {
  for (const hash of hashes) {
    for (const { node } of service.connected()) {
      const answer = await service
        .request(node, { kind: 'ask-isolation-key', hash }, 'isolation-key')
        .catch(() => undefined)
      if (answer === undefined || !areEqual(crypto.sha256(answer.key), hash)) continue
      await keep(answer.key)
      break
    }
  }
}
