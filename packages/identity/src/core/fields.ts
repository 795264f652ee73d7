/** Reads the fields of a map of canonical CBOR, each within its bounds, and no field besides. */
import { DocumentError } from '../errors.ts'
import { areEqual, decodeCanonical, type CborMap, type CborValue } from '../wire.ts'

export interface Bounds {
  readonly min?: number
  readonly max: number
}

export class Fields {
  readonly #what: string
  readonly #map: CborMap
  readonly #read = new Set<string>()

  /** @param what - names the document in errors */
  constructor(what: string, value: CborValue) {
    this.#what = what
    if (typeof value !== 'object' || value === null || isList(value)) throw this.#error('no map')
    if (value instanceof Uint8Array) throw this.#error('no map')
    this.#map = value
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#map, key)
  }

  value(key: string): CborValue {
    this.#read.add(key)
    const value = this.has(key) ? this.#map[key] : undefined
    if (value === undefined) throw this.#error(`"${key}" is missing`)
    return value
  }

  /** An integer, from 0 on if not said otherwise. */
  integer(key: string, { min = 0, max }: Bounds): number {
    const value = this.value(key)
    if (typeof value !== 'number' || value < min || value > max) {
      throw this.#error(`"${key}" is not an integer from ${min} to ${max}`)
    }
    return value
  }

  /** Length in bytes; a number: exactly so many. */
  bytes(key: string, length: number | Bounds): Uint8Array {
    return this.#bytes(key, this.value(key), length)
  }

  /** Length in characters (UTF-16 units). */
  text(key: string, length: Bounds): string {
    return this.#text(key, this.value(key), length)
  }

  oneOf<const Name extends string>(key: string, names: readonly Name[]): Name {
    const value = this.value(key)
    const name = names.find((one) => one === value)
    if (name === undefined) throw this.#error(`"${key}" is none of ${names.join(', ')}`)
    return name
  }

  list(key: string, { min = 0, max }: Bounds): readonly CborValue[] {
    const value = this.value(key)
    if (!isList(value)) throw this.#error(`"${key}" is no list`)
    if (value.length < min || value.length > max) {
      throw this.#error(`"${key}" has ${value.length} items, not ${min} to ${max}`)
    }
    return value
  }

  /** Texts, ascending by UTF-16 units, none twice. */
  texts(key: string, count: Bounds, length: Bounds): readonly string[] {
    const texts = this.list(key, count).map((item) => this.#text(key, item, length))
    if (!isAscending(texts, (one, other) => one < other)) throw this.#unordered(key)
    return texts
  }

  /** Byte strings of one length, ascending, none twice. */
  byteStrings(key: string, count: Bounds, length: number): readonly Uint8Array[] {
    const list = this.list(key, count).map((item) => this.#bytes(key, item, length))
    if (!isAscending(list, (one, other) => compareBytes(one, other) < 0)) throw this.#unordered(key)
    return list
  }

  /** A map inside; its fields are read by the function, and no others may be there. */
  map<T>(key: string, read: (fields: Fields) => T): T {
    return readFields(`${this.#what}, ${key}`, this.value(key), read)
  }

  /** @throws {DocumentError} there are fields that nobody read */
  end(): void {
    const unknown = Object.keys(this.#map).find((key) => !this.#read.has(key))
    if (unknown !== undefined) {
      throw this.#error(`unknown field ${JSON.stringify(unknown.slice(0, 32))}`)
    }
  }

  #bytes(key: string, value: CborValue, length: number | Bounds): Uint8Array {
    const { min = 0, max } = typeof length === 'number' ? { min: length, max: length } : length
    if (!(value instanceof Uint8Array) || value.byteLength < min || value.byteLength > max) {
      throw this.#error(`"${key}" is not a byte string of ${min} to ${max} bytes`)
    }
    return value
  }

  #text(key: string, value: CborValue, { min = 0, max }: Bounds): string {
    if (typeof value !== 'string' || value.length < min || value.length > max) {
      throw this.#error(`"${key}" is not a text of ${min} to ${max} characters`)
    }
    return value
  }

  #unordered(key: string): DocumentError {
    return this.#error(`"${key}" is not in ascending order, or has an item twice`)
  }

  #error(why: string): DocumentError {
    return new DocumentError(`${this.#what}: ${why}`)
  }
}

const isList = (value: CborValue): value is readonly CborValue[] => Array.isArray(value)

/** Reads a map: the function has to ask for every field that may be there. */
export function readFields<T>(what: string, value: CborValue, read: (fields: Fields) => T): T {
  const fields = new Fields(what, value)
  const result = read(fields)
  fields.end()
  return result
}

/**
 * Decodes canonical CBOR and reads its fields.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`
 */
export function readDocument<T>(
  what: string,
  { bytes, bytesMax }: { readonly bytes: Uint8Array; readonly bytesMax: number },
  read: (fields: Fields) => T,
): T {
  let value: CborValue
  try {
    value = decodeCanonical(bytes, { bytesMax })
  } catch (cause) {
    if (!(cause instanceof DocumentError)) throw cause
    throw new DocumentError(`${what}: ${cause.message}`, { cause })
  }
  return readFields(what, value, read)
}

function isAscending<T>(list: readonly T[], isBelow: (one: T, other: T) => boolean): boolean {
  return list.every((item, index) => {
    const before = list[index - 1]
    return index === 0 || (before !== undefined && isBelow(before, item))
  })
}

/** Negative, 0 or positive: by bytes, the shorter first if it begins the longer. */
export function compareBytes(one: Uint8Array, other: Uint8Array): number {
  const length = Math.min(one.byteLength, other.byteLength)
  for (let index = 0; index < length; index++) {
    const difference = (one[index] ?? 0) - (other[index] ?? 0)
    if (difference !== 0) return difference
  }
  return one.byteLength - other.byteLength
}

/** Sorted copy without doubles. */
export function sortedBytes(list: readonly Uint8Array[]): readonly Uint8Array[] {
  return list
    .toSorted(compareBytes)
    .filter((item, index, all) => index === 0 || !areEqual(item, all[index - 1] ?? item))
}
