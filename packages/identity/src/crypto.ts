import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { Crypto } from './core/model.ts'
import { StrictVerifier } from './ed25519.ts'

export { createSigner } from './ed25519.ts'

/** What cores need of cryptography, by `node:crypto`. */
export function createCrypto(): Crypto {
  const verifier = new StrictVerifier()
  return {
    sha256: (bytes) => Uint8Array.from(createHash('sha256').update(bytes).digest()),
    hmacSha256: (key, bytes) => Uint8Array.from(createHmac('sha256', key).update(bytes).digest()),
    verify: (publicKey, message, signature) => verifier.verify(publicKey, message, signature),
    equal: (one, other) => one.byteLength === other.byteLength && timingSafeEqual(one, other),
  }
}
