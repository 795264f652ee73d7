/**
 * Canonical CBOR (RFC 8949, section 4.2.1), of which we use a part: integers that JavaScript holds
 * exactly, byte strings, text, arrays, maps with text keys, booleans and null; no floats, no tags,
 * no indefinite lengths. One value has one encoding, so that a signature and a hash mean a value.
 * Also the texts made of bytes: base58btc and base64url.
 */
import { decode, encode, rfc8949EncodeOptions, Tokenizer, Type, type Token } from 'cborg'
import { equals } from 'uint8arrays/equals'
import { fromString } from 'uint8arrays/from-string'
import { toString } from 'uint8arrays/to-string'
import { CBOR_DEPTH_MAX } from './constants.ts'
import { DocumentError } from './errors.ts'

export type CborMap = { readonly [key: string]: CborValue }
export type CborValue =
  number | string | boolean | null | Uint8Array | readonly CborValue[] | CborMap

/**
 * The one encoding of a value.
 *
 * @throws {TypeError} the value holds something else than {@link CborValue} names
 */
export function encodeCanonical(value: CborValue): Uint8Array {
  checkEncodable(value, 0)
  return plain(encode(value, rfc8949EncodeOptions))
}

function checkEncodable(value: CborValue | undefined, depth: number): void {
  const type: string = typeof value
  switch (typeof value) {
    case 'boolean':
      return
    case 'number':
      if (Number.isSafeInteger(value) && !Object.is(value, -0)) return
      throw new TypeError(`value: not an integer (got ${value})`)
    case 'string':
      // A decoder may drop a byte order mark, and half a surrogate pair has no UTF-8.
      if (value.isWellFormed() && !value.startsWith('\ufeff')) return
      throw new TypeError('value: text that UTF-8 cannot carry')
    case 'object':
      if (value === null || value instanceof Uint8Array) return
      if (depth >= CBOR_DEPTH_MAX) throw new TypeError(`value: deeper than ${CBOR_DEPTH_MAX}`)
      if (Array.isArray(value)) {
        for (const item of value as readonly CborValue[]) checkEncodable(item, depth + 1)
        return
      }
      for (const [key, item] of Object.entries(value)) {
        checkEncodable(key, depth + 1)
        checkEncodable(item, depth + 1)
      }
      return
    case 'bigint':
    case 'function':
    case 'symbol':
    case 'undefined':
      throw new TypeError(`value: cannot be encoded (got ${type})`)
  }
}

export interface DecodeLimits {
  /** Longer input is refused before it is read. */
  readonly bytesMax: number
}

/**
 * Reads a value. Byte strings are copies.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`: anything but the one encoding of a value
 */
export function decodeCanonical(input: Uint8Array, { bytesMax }: DecodeLimits): CborValue {
  if (input.byteLength > bytesMax) {
    throw new DocumentError(`${input.byteLength} bytes, ${bytesMax} are allowed`)
  }
  const bytes = plain(input)
  let value: CborValue
  let again: Uint8Array
  try {
    const tokenizer = new BoundedTokenizer(bytes)
    value = decode(bytes, { ...STRICT, tokenizer }) as CborValue
    again = encodeCanonical(value)
  } catch (cause) {
    if (cause instanceof DocumentError) throw cause
    throw new DocumentError(`not canonical CBOR: ${(cause as Error).message}`, { cause })
  }
  // Finds what the decoder bears: other orders of keys, text that is not UTF-8.
  if (!equals(again, bytes)) throw new DocumentError('CBOR that is not canonical')
  return value
}

/** A view that is no `Buffer`, whose `slice` would give views where others give copies. */
const plain = (bytes: Uint8Array): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const STRICT = {
  strict: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowBigInt: false,
  allowInfinity: false,
  allowNaN: false,
  rejectDuplicateMapKeys: true,
} as const

/** Refuses what we never write before a decoder follows it down. */
class BoundedTokenizer extends Tokenizer {
  /** Items that each open array or map still lacks, outermost first. */
  readonly #lacking: number[] = []

  constructor(bytes: Uint8Array) {
    super(bytes, STRICT)
  }

  override next(): Token {
    const token = super.next()
    const { type } = token
    if (Type.equals(type, Type.float) || Type.equals(type, Type.tag)) {
      throw new DocumentError(`CBOR with a ${type.name}`)
    }
    const last = this.#lacking.length - 1
    if (last >= 0) this.#lacking[last] = (this.#lacking[last] ?? 0) - 1
    const isMap = Type.equals(type, Type.map)
    if (isMap || Type.equals(type, Type.array)) {
      this.#lacking.push(token.value * (isMap ? 2 : 1))
      if (this.#lacking.length > CBOR_DEPTH_MAX) {
        throw new DocumentError(`CBOR deeper than ${CBOR_DEPTH_MAX}`)
      }
    }
    while (this.#lacking.at(-1) === 0) this.#lacking.pop()
    return token
  }
}

export type TextBase = 'base58btc' | 'base64url' | 'hex'

/** Bytes as text, without padding and without the prefix of multibase. */
export function textOf(bytes: Uint8Array, base: TextBase): string {
  return toString(bytes, base)
}

/**
 * The bytes of a text that {@link textOf} would write; `undefined` for any other.
 *
 * @param charsMax - longer text is refused before it is read: base58 takes quadratic time
 */
export function bytesOfText(
  text: string,
  base: TextBase,
  charsMax: number,
): Uint8Array | undefined {
  if (text.length > charsMax) return undefined
  try {
    const bytes = plain(fromString(text, base))
    return textOf(bytes, base) === text ? bytes : undefined
  } catch {
    return undefined
  }
}

/** Whether bytes are equal. Not in constant time: for what is public. */
export const areEqual: (one: Uint8Array, other: Uint8Array) => boolean = equals
