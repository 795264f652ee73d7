/**
 * The strict rule against the same rule in the arithmetic of another library: over signatures as
 * they should be, with parts of small order in key and R, mutated, and over special encodings.
 */
import { createHash } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createCrypto } from '../src/crypto.ts'

const RUNS = 1_500
const { Point } = ed25519
type EdwardsPoint = ReturnType<typeof Point.fromHex>
const ORDER = Point.Fn.ORDER
const TORSION = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a')
const { verify } = createCrypto()

const numberOf = (bytes: Uint8Array): bigint =>
  BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
const bytesOf = (number: bigint): Uint8Array =>
  Uint8Array.from(Buffer.from(number.toString(16).padStart(64, '0'), 'hex').reverse())
const challenge = (...parts: readonly Uint8Array[]): bigint =>
  numberOf(createHash('sha512').update(Buffer.concat(parts)).digest()) % ORDER
const times = (point: EdwardsPoint, scalar: bigint): EdwardsPoint =>
  point.multiplyUnsafe(scalar % ORDER)

/** The rule, word by word, with the points of noble. */
function isValidByTheRule(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const [r, s] = [signature.slice(0, 32), numberOf(signature.slice(32))]
  if (s >= ORDER) return false
  try {
    const A = Point.fromBytes(key, false)
    const R = Point.fromBytes(r, false)
    if (A.isSmallOrder() || R.isSmallOrder()) return false
    const k = challenge(r, key, message)
    const found = times(Point.BASE, s).subtract(times(A, k))
    return Buffer.from(found.toBytes()).equals(r)
  } catch {
    return false
  }
}

interface Signed {
  readonly key: Uint8Array
  readonly message: Uint8Array
  readonly signature: Uint8Array
}

const scalar = fc.bigInt({ min: 1n, max: ORDER - 1n })
const eighth = fc.oneof(fc.constant(0n), fc.bigInt({ min: 0n, max: 7n }))

/** Key and R with parts of small order of one's choice. */
const signed: fc.Arbitrary<Signed & { readonly isPlain: boolean }> = fc
  .record({ a: scalar, r: scalar, t: eighth, u: eighth, message: fc.uint8Array({ maxLength: 40 }) })
  .map(({ a, r, t, u, message }) => {
    const key = times(Point.BASE, a).add(times(TORSION, t)).toBytes()
    const R = times(Point.BASE, r).add(times(TORSION, u)).toBytes()
    const S = (r + challenge(R, key, message) * a) % ORDER
    const signature = Uint8Array.from([...R, ...bytesOf(S)])
    return { key, message, signature, isPlain: t === 0n && u === 0n }
  })

const prime = 2n ** 255n - 19n
const special: fc.Arbitrary<Uint8Array> = fc
  .record({
    y: fc.oneof(
      fc.bigInt({ min: 0n, max: 8n }),
      fc.bigInt({ min: prime - 8n, max: 2n ** 255n - 1n }),
      fc.constantFrom(...[1n, 2n, 3n, 4n].map((n) => numberOf(times(TORSION, n).toBytes()))),
    ),
    sign: fc.boolean(),
  })
  .map(({ y, sign }) => bytesOf((y % 2n ** 255n) + (sign ? 2n ** 255n : 0n)))

const bytes32 = fc.oneof(special, fc.uint8Array({ minLength: 32, maxLength: 32 }))

const mutated: fc.Arbitrary<Signed> = fc
  .record({
    signed,
    how: fc.constantFrom<'bit' | 'key' | 'R' | 'S' | 'S + L' | 'message'>(
      'bit',
      'key',
      'R',
      'S',
      'S + L',
      'message',
    ),
    bit: fc.nat(511),
    other: bytes32,
  })
  .map(({ signed: { key, message, signature }, how, bit, other }) => {
    const changed = Uint8Array.from(signature)
    switch (how) {
      case 'bit':
        changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        return { key, message, signature: changed }
      case 'key':
        return { key: other, message, signature }
      case 'R':
        changed.set(other)
        return { key, message, signature: changed }
      case 'S':
        changed.set(other, 32)
        return { key, message, signature: changed }
      case 'S + L':
        changed.set(bytesOf(numberOf(signature.slice(32)) + ORDER), 32)
        return { key, message, signature: changed }
      case 'message':
        return { key, message: Uint8Array.from([...message, 0]), signature }
    }
  })

/** Of small order on purpose: S = 0 and such hold for many messages by the equation alone. */
const degenerate: fc.Arbitrary<Signed> = fc.record({
  key: special,
  message: fc.uint8Array({ maxLength: 4 }),
  signature: fc
    .tuple(special, fc.constantFrom(0n, 1n, ORDER - 1n, ORDER))
    .map(([R, s]) => Uint8Array.from([...R, ...bytesOf(s)])),
})

describe('verify', () => {
  it('is the rule', () => {
    const verdicts = { valid: 0, invalid: 0 }
    fc.assert(
      fc.property(fc.oneof(signed, mutated, degenerate), ({ key, message, signature }) => {
        const isValid = isValidByTheRule(key, message, signature)
        verdicts[isValid ? 'valid' : 'invalid']++
        expect(verify(key, message, signature)).toBe(isValid)
      }),
      { numRuns: RUNS },
    )
    expect(Math.min(verdicts.valid, verdicts.invalid)).toBeGreaterThan(RUNS / 10)
  })

  it('is what noble says without ZIP 215, but for what only holds with the cofactor', () => {
    let differences = 0
    fc.assert(
      fc.property(signed, ({ key, message, signature, isPlain }) => {
        const noble = ed25519.verify(signature, message, key, { zip215: false })
        const ours = verify(key, message, signature)
        if (ours || isPlain) expect(noble).toBe(ours)
        else if (noble) differences++
      }),
      { numRuns: RUNS },
    )
    // Noble's equation has the cofactor in either mode.
    expect(differences).toBeGreaterThan(0)
  })
})
