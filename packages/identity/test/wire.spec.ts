import { describe, expect, it } from 'vitest'
import { CBOR_DEPTH_MAX } from '../src/constants.ts'
import { DocumentError } from '../src/errors.ts'
import {
  bytesOfText,
  decodeCanonical,
  encodeCanonical,
  textOf,
  type CborValue,
} from '../src/wire.ts'

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'))
const limits = { bytesMax: 1_000 }

describe('canonical CBOR', () => {
  // RFC 8949, appendix A.
  it.each([
    ['00', 0],
    ['17', 23],
    ['1818', 24],
    ['1903e8', 1_000],
    ['1a000f4240', 1_000_000],
    ['1b000000e8d4a51000', 1_000_000_000_000],
    ['20', -1],
    ['3903e7', -1_000],
    ['f4', false],
    ['f5', true],
    ['f6', null],
    ['4401020304', hex('01020304')],
    ['60', ''],
    ['62c3bc', '\u00fc'],
    ['64f0908591', '\u{10151}'],
    ['83010203', [1, 2, 3]],
    ['8301820203820405', [1, [2, 3], [4, 5]]],
    ['a26161016162820203', { a: 1, b: [2, 3] }],
    ['a26161016262620 2'.replace(' ', ''), { bb: 2, a: 1 }],
  ] satisfies readonly (readonly [string, CborValue])[])('%s', (text, value) => {
    expect(encodeCanonical(value)).toEqual(hex(text))
    expect(decodeCanonical(hex(text), limits)).toEqual(value)
  })

  it.each([
    ['nothing', ''],
    ['an integer that is too long', '1817'],
    ['a length that is too long', '580101'],
    ['an integer beyond 2^53', '1b0020000000000000'],
    ['a half float', 'f93c00'],
    ['a double', 'fb3ff199999999999a'],
    ['infinity', 'f97c00'],
    ['undefined', 'f7'],
    ['a simple value', 'f818'],
    ['a tag', 'c100'],
    ['a bignum', 'c249010000000000000000'],
    ['an indefinite array', '9f01ff'],
    ['an indefinite map', 'bf616101ff'],
    ['indefinite text', '7f6161ff'],
    ['indefinite bytes', '5f4101ff'],
    ['a break', 'ff'],
    ['a map with a number as key', 'a10102'],
    ['a map with bytes as key', 'a1410102'],
    ['a key twice', 'a2616101616102'],
    ['keys in another order', 'a2616201616102'],
    ['a long key before a short one', 'a262626202616101'],
    ['text that is not UTF-8', '61ff'],
    ['half of a surrogate pair', '63eda080'],
    ['a byte order mark', '64efbbbf61'],
    ['bytes after the end', '0000'],
    ['an array that is cut', '8201'],
    ['text that is cut', '6261'],
    ['a length beyond memory', '5b7fffffffffffffff'],
    ['an array of 2^32 items', '9affffffff00'],
    ['a reserved length', '1c'],
  ])('refuses %s', (_, text) => {
    expect(() => decodeCanonical(hex(text), limits)).toThrow(DocumentError)
  })

  it('keeps fields with names that mean something to JavaScript', () => {
    const value = JSON.parse('{"__proto__": 1, "constructor": 2}') as CborValue
    const decoded = decodeCanonical(encodeCanonical(value), limits)
    expect(Object.entries(decoded as object).sort()).toEqual([
      ['__proto__', 1],
      ['constructor', 2],
    ])
  })

  it('reads levels up to the bound and none beyond, however many', () => {
    const nested = (levels: number): Uint8Array =>
      Uint8Array.from([...new Array<number>(levels).fill(0x81), 0])
    expect(decodeCanonical(nested(CBOR_DEPTH_MAX), limits)).toBeDefined()
    for (const levels of [CBOR_DEPTH_MAX + 1, 999, 15_000]) {
      expect(() => decodeCanonical(nested(levels), { bytesMax: 16_384 })).toThrow(
        `CBOR deeper than ${CBOR_DEPTH_MAX}`,
      )
    }
    let value: CborValue = 0
    for (let level = 0; level < CBOR_DEPTH_MAX; level++) value = [value]
    expect(encodeCanonical(value)).toEqual(nested(CBOR_DEPTH_MAX))
    const deeper = [value]
    expect(() => encodeCanonical(deeper)).toThrow(TypeError)
  })

  it('does not count what lies beside as levels', () => {
    const wide = new Array<CborValue>(50).fill([[1], { a: [] }])
    expect(decodeCanonical(encodeCanonical(wide), limits)).toEqual(wide)
  })

  it('reads input up to the bound', () => {
    const bytes = encodeCanonical(new Uint8Array(100))
    const { byteLength } = bytes
    expect(decodeCanonical(bytes, { bytesMax: byteLength })).toEqual(new Uint8Array(100))
    expect(() => decodeCanonical(bytes, { bytesMax: byteLength - 1 })).toThrow(
      `${byteLength} bytes, ${byteLength - 1} are allowed`,
    )
  })

  it.each([
    ['an array', (bytes: Uint8Array): Uint8Array => bytes],
    ['a buffer', (bytes: Uint8Array): Uint8Array => Buffer.from(bytes)],
  ])('gives copies of byte strings in %s', (_, from) => {
    const bytes = from(encodeCanonical(Uint8Array.of(1, 2)))
    const value = decodeCanonical(bytes, limits)
    bytes.fill(0)
    expect(value).toEqual(Uint8Array.of(1, 2))
  })

  it.each([
    1.5,
    2 ** 53,
    -0,
    NaN,
    Infinity,
    '\ud800',
    '\ufeffa',
    undefined as unknown as CborValue,
    1n as unknown as CborValue,
    [undefined as unknown as CborValue],
    { a: undefined as unknown as CborValue },
    { '\ud800': 1 },
    (() => 1) as unknown as CborValue,
  ])('does not encode %s', (value) => {
    expect(() => encodeCanonical(value)).toThrow(TypeError)
  })
})

describe('texts of bytes', () => {
  it('come back, and no other text is taken for them', () => {
    const bytes = Uint8Array.of(0, 0, 1, 255)
    for (const base of ['base58btc', 'base64url', 'hex'] as const) {
      expect(bytesOfText(textOf(bytes, base), base, 100)).toEqual(bytes)
    }
    expect(textOf(bytes, 'base64url')).toBe('AAAB_w')
    expect(textOf(bytes, 'base58btc')).toBe('119p')
    for (const text of ['AAAB_x', 'AAAB_w=', 'AAAB/w', 'AAAB_', ' AAAB_w', 'A']) {
      expect(bytesOfText(text, 'base64url', 100), text).toBeUndefined()
    }
    for (const text of ['0', 'l', 'O', '11 9p', 'FF', 'fF']) {
      expect(bytesOfText(text, text.length === 2 ? 'hex' : 'base58btc', 100), text).toBeUndefined()
    }
    expect(bytesOfText('AAAB_w', 'base64url', 6)).toEqual(bytes)
    expect(bytesOfText('AAAB_w', 'base64url', 5)).toBeUndefined()
  })
})
