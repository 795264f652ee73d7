import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  decodeMessage,
  decodeRecord,
  describeMessage,
  encodeMessage,
  encodeRecord,
  WireError,
} from '../src/index.ts'
import { message, record } from './arbitrary.ts'

const RUNS = 1_000

/** Accepted bytes are those that the encoder writes; all others are a {@link WireError}. */
function isCanonical<T>(
  bytes: Uint8Array,
  { decode, encode }: { decode: (bytes: Uint8Array) => T; encode: (value: T) => Uint8Array },
): void {
  let value: T
  try {
    value = decode(bytes)
  } catch (error) {
    expect(error).toBeInstanceOf(WireError)
    return
  }
  expect(encode(value)).toEqual(bytes)
}
const messages = { decode: decodeMessage, encode: encodeMessage }
const records = { decode: decodeRecord, encode: encodeRecord }

it('every message comes back as it was, and has a description', () => {
  fc.assert(
    fc.property(message, (one) => {
      expect(decodeMessage(encodeMessage(one))).toEqual(one)
      expect(describeMessage(one)).toMatch(/->/)
    }),
    { numRuns: RUNS },
  )
})

it('every record comes back as it was', () => {
  fc.assert(
    fc.property(record, (one) => {
      expect(decodeRecord(encodeRecord(one))).toEqual(one)
    }),
    { numRuns: RUNS },
  )
})

it('bytes that were changed are refused, or stand for something else in the only way', () => {
  const changed = fc.tuple(fc.nat(), fc.nat(255), fc.nat(3))
  fc.assert(
    fc.property(
      message,
      record,
      fc.array(changed, { minLength: 1, maxLength: 3 }),
      (a, b, list) => {
        for (const [original, codec] of [
          [encodeMessage(a), messages],
          [encodeRecord(b), records],
        ] as const) {
          let bytes = original
          for (const [where, value, way] of list) {
            const at = where % (bytes.length + 1)
            const rest = bytes.subarray(way === 0 ? at : at + 1)
            bytes = Uint8Array.from([
              ...bytes.subarray(0, at),
              ...(way < 3 ? [value] : []),
              ...rest,
            ])
          }
          isCanonical<never>(bytes, codec as never)
        }
      },
    ),
    { numRuns: RUNS },
  )
})

it('any bytes are refused or canonical', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      isCanonical(bytes, messages)
      isCanonical(bytes, records)
    }),
    { numRuns: 5 * RUNS },
  )
})
