import { readFileSync } from 'node:fs'
import { ed25519 } from '@noble/curves/ed25519.js'
import { describe, expect, it } from 'vitest'
import { createCrypto, createSigner } from '../src/crypto.ts'
import { isStrictPoint, StrictVerifier } from '../src/ed25519.ts'
import { PUBLIC_KEYS_CACHED_MAX } from '../src/constants.ts'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))

interface Case {
  readonly seed?: string
  readonly isValid?: boolean
  readonly why?: string
  readonly publicKey: string
  readonly message: string
  readonly signature: string
}

function casesOf(name: string): readonly Case[] {
  const text = readFileSync(new URL(`vectors/${name}.json`, import.meta.url), 'utf8')
  return (JSON.parse(text) as { readonly cases: readonly Case[] }).cases
}

const { verify } = createCrypto()

describe('the vectors of RFC 8032', () => {
  const cases = casesOf('ed25519-rfc8032')

  it.each(cases)('are signed and verified: $publicKey', ({ seed = '', ...rest }) => {
    const signer = createSigner(hex(seed))
    const [message, signature] = [hex(rest.message), hex(rest.signature)]
    expect(signer.publicKey).toEqual(hex(rest.publicKey))
    expect(signer.sign(message)).toEqual(signature)
    expect(verify(signer.publicKey, message, signature)).toBe(true)
  })

  it.each(cases)('hold for nothing else: $publicKey', ({ publicKey, message, signature }) => {
    const parts = [publicKey, signature].map(hex)
    const text = Uint8Array.from([...hex(message), 0])
    const [key = text, valid = text] = parts
    expect(verify(key, text, valid)).toBe(false)
    for (const part of [key, valid]) {
      for (let bit = 0; bit < part.byteLength * 8; bit++) {
        const flip = (): void => {
          part[bit >> 3] = (part[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        }
        flip()
        expect(verify(key, hex(message), valid), `bit ${bit}`).toBe(false)
        flip()
      }
    }
  })
})

describe('the cases on which implementations differ', () => {
  it.each(casesOf('ed25519-speccheck'))('$why: $isValid', (one) => {
    const { isValid, publicKey, message, signature } = one
    expect(verify(hex(publicKey), hex(message), hex(signature))).toBe(isValid)
  })
})

describe('points', () => {
  const { Point } = ed25519
  const torsion = Array.from({ length: 8 }, (_, index) =>
    Point.fromHex(
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    ).multiplyUnsafe(BigInt(index)),
  )

  it('of small order are refused, all 8', () => {
    const encodings = torsion.map((point) => Buffer.from(point.toBytes()).toString('hex'))
    expect(new Set(encodings).size).toBe(8)
    for (const encoding of encodings) expect(isStrictPoint(hex(encoding)), encoding).toBe(false)
  })

  it('of small order with another sign, or with y not below the prime, are refused', () => {
    const prime = 2n ** 255n - 19n
    for (let y = prime; y < 2n ** 255n; y++) {
      for (const sign of [0n, 1n]) {
        const number = y + (sign << 255n)
        const bytes = hex(number.toString(16).padStart(64, '0')).reverse()
        expect(isStrictPoint(bytes), number.toString(16)).toBe(false)
      }
    }
    for (const y of [1n, prime - 1n]) {
      const bytes = hex((y + (1n << 255n)).toString(16).padStart(64, '0')).reverse()
      expect(isStrictPoint(bytes)).toBe(false)
    }
  })

  it('next to those are not refused for their form', () => {
    for (const y of [2n, 3n, 2n ** 255n - 21n]) {
      const bytes = hex(y.toString(16).padStart(64, '0')).reverse()
      expect(isStrictPoint(bytes)).toBe(true)
    }
    expect(isStrictPoint(Point.BASE.toBytes())).toBe(true)
  })

  it('of other lengths are refused', () => {
    for (const length of [0, 31, 33]) expect(isStrictPoint(new Uint8Array(length))).toBe(false)
  })
})

describe('verify', () => {
  const signer = createSigner(new Uint8Array(32).fill(1))
  const message = Uint8Array.of(1, 2, 3)
  const signature = signer.sign(message)

  it('refuses the second signature that anybody can make: S + L', () => {
    const order = 2n ** 252n + 27742317777372353535851937790883648493n
    const s = BigInt(`0x${Buffer.from(signature.slice(32).reverse()).toString('hex')}`)
    const malleated = Uint8Array.from(signature)
    malleated.set(hex((s + order).toString(16).padStart(64, '0')).reverse(), 32)
    expect(verify(signer.publicKey, message, signature)).toBe(true)
    expect(verify(signer.publicKey, message, malleated)).toBe(false)
    malleated.set(hex(order.toString(16).padStart(64, '0')).reverse(), 32)
    expect(verify(signer.publicKey, message, malleated)).toBe(false)
  })

  it('refuses lengths that are not a key and a signature, and points off the curve', () => {
    const none = new Uint8Array()
    for (const bytes of [none, signature.slice(0, 63), Uint8Array.from([...signature, 0])]) {
      expect(verify(signer.publicKey, message, bytes)).toBe(false)
    }
    for (const key of [none, signer.publicKey.slice(0, 31), new Uint8Array(33).fill(7)]) {
      expect(verify(key, message, signature)).toBe(false)
    }
    const offCurve = new Uint8Array(32)
    offCurve[0] = 2
    expect(verify(offCurve, message, signature)).toBe(false)
  })

  it('verifies right when more keys were used than it remembers', () => {
    const verifier = new StrictVerifier()
    for (let index = 0; index < PUBLIC_KEYS_CACHED_MAX + 2; index++) {
      const key = ed25519.Point.BASE.multiply(BigInt(index + 1)).toBytes()
      verifier.verify(key, message, signature)
    }
    expect(verifier.verify(signer.publicKey, message, signature)).toBe(true)
    expect(verifier.cachedCount).toBe(PUBLIC_KEYS_CACHED_MAX)
  })
})

describe('createSigner', () => {
  it('says what is wrong with a seed', () => {
    expect(() => createSigner(new Uint8Array(31))).toThrow(
      new RangeError('seed: must be 32 bytes (got 31)'),
    )
  })

  it('does not depend on its seed later', () => {
    const seed = new Uint8Array(32).fill(9)
    const signer = createSigner(seed)
    const before = signer.sign(Uint8Array.of(1))
    seed.fill(0)
    expect(signer.sign(Uint8Array.of(1))).toEqual(before)
  })
})
