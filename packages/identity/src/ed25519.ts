/**
 * The one rule by which this package verifies Ed25519 (RFC 8032, section 5.1.7), stricter than the
 * RFC where implementations differ ("Taming the many EdDSAs", Chalkias et al. 2020):
 *
 * 1. the key A and the point R are in their canonical encoding: y below 2^255 - 19, and x = 0
 *    without a sign;
 * 2. neither is one of the 8 points of small order, whose signatures hold for many messages;
 * 3. S is below the order of the group, so that nobody but the signer can make a second signature;
 * 4. the equation without cofactor holds: encode([S]B - [k]A) is R, byte for byte.
 *
 * `node:crypto` (OpenSSL) sees to 4 and to most of 3 and 1, but accepts keys of small order, so it
 * stands behind these checks. Checks inside TLS and libp2p are theirs and not by this rule.
 */
import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { KEY_BYTES, PUBLIC_KEYS_CACHED_MAX, SIGNATURE_BYTES } from './constants.ts'
import type { Signer } from './core/model.ts'

/** Little-endian. */
const fromHex = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'))

/** 2^255 - 19. */
const FIELD_PRIME = fromHex(`ed${'ff'.repeat(30)}7f`)
/** 2^252 + 27742317777372353535851937790883648493. */
const GROUP_ORDER = fromHex('edd3f55c1a631258d69cf7a2def9de14'.padEnd(62, '0') + '10')
/** The y coordinates of the 8 points of small order; x has either sign, or is 0. */
const SMALL_ORDER_Y = [
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
].map(fromHex)

function isBelow(bytes: Uint8Array, limit: Uint8Array): boolean {
  for (let index = limit.length - 1; index >= 0; index--) {
    const [digit = 0, limitDigit = 0] = [bytes[index], limit[index]]
    if (digit !== limitDigit) return digit < limitDigit
  }
  return false
}

/**
 * Whether 32 bytes may be the encoding of a public key or of R, as far as it can be told without
 * arithmetic: canonical and not of small order. (x = 0 has y = 1 or -1: both are of small order.)
 */
export function isStrictPoint(point: Uint8Array): boolean {
  if (point.byteLength !== KEY_BYTES) return false
  const y = Uint8Array.from(point)
  y[31] = (y[31] ?? 0) & 0x7f
  return (
    isBelow(y, FIELD_PRIME) &&
    !SMALL_ORDER_Y.some((small) => small.every((byte, index) => byte === y[index]))
  )
}

/** DER around a raw key: SubjectPublicKeyInfo and PKCS #8 (RFC 8410). */
const PUBLIC_DER = fromHex('302a300506032b6570032100')
const PRIVATE_DER = fromHex('302e020100300506032b657004220420')

const importPublicKey = (publicKey: Uint8Array): KeyObject =>
  createPublicKey({
    key: Buffer.concat([PUBLIC_DER, publicKey]),
    format: 'der',
    type: 'spki',
  })

/** Verifies by the strict rule, and remembers the imported keys. */
export class StrictVerifier {
  /** By the key in latin1, oldest use first. */
  readonly #keys = new Map<string, KeyObject>()

  /** Never throws: what is not a key, or not a signature, is not valid. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    if (signature.byteLength !== SIGNATURE_BYTES) return false
    if (!isBelow(signature.subarray(KEY_BYTES), GROUP_ORDER)) return false
    if (!isStrictPoint(signature.subarray(0, KEY_BYTES)) || !isStrictPoint(publicKey)) return false
    try {
      return verify(null, message, this.#imported(publicKey), signature)
    } catch {
      return false
    }
  }

  /** Imported keys at present: at most 1,024. */
  get cachedCount(): number {
    return this.#keys.size
  }

  #imported(publicKey: Uint8Array): KeyObject {
    const name = Buffer.from(publicKey).toString('latin1')
    const key = this.#keys.get(name) ?? importPublicKey(publicKey)
    this.#keys.delete(name)
    this.#keys.set(name, key)
    if (this.#keys.size > PUBLIC_KEYS_CACHED_MAX) {
      const [oldest] = this.#keys.keys()
      if (oldest !== undefined) this.#keys.delete(oldest)
    }
    return key
  }
}

/**
 * A signer in memory.
 *
 * @param seed - 32 random bytes, the private key of RFC 8032; not kept
 * @throws {RangeError} `seed` is of another length
 */
export function createSigner(seed: Uint8Array): Signer {
  if (seed.byteLength !== KEY_BYTES) {
    throw new RangeError(`seed: must be ${KEY_BYTES} bytes (got ${seed.byteLength})`)
  }
  const der = Buffer.concat([PRIVATE_DER, seed])
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  der.fill(0)
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return {
    publicKey: Uint8Array.from(spki.subarray(PUBLIC_DER.byteLength)),
    sign: (message) => Uint8Array.from(sign(null, message, privateKey)),
  }
}
