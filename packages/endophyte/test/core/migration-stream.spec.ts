import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  cutHead,
  HEAD_BYTES_MAX,
  joinStream,
  STATE_BYTES_MAX,
} from '../../src/core/migration-stream.ts'
import { MigrationStreamError } from '../../src/errors.ts'

const HEADER = [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3]
const FOOTER = [0x7e, 0, 0, 0, 1]
/** FULL section 0 "timer", instance 0, version 2. */
const TIMER = [4, 0, 0, 0, 0, 5, ...Buffer.from('timer'), 0, 0, 0, 0, 0, 0, 0, 2]

function bytes(...parts: (readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flat())
}

const ram = [1, 0, 0, 0, 2, 3, 0x72, 0x61, 0x6d, 9, 9, 9]
const state = bytes(HEADER, TIMER, [1, 2, 3], [0x7e, 0, 0, 0, 0], [0])
const migration = bytes(HEADER, ram, FOOTER, TIMER, [7, 7, 7], [0x7e, 0, 0, 0, 0], [0])
const head = bytes(HEADER, ram, FOOTER)

test('cuts the head in front of the first device section', () => {
  expect(cutHead(migration, state)).toEqual(head)
})

test('head and a later state make a stream', () => {
  expect(joinStream(head, state)).toEqual(
    bytes([...head], TIMER, [1, 2, 3], [0x7e, 0, 0, 0, 0], [0]),
  )
})

test('a page that looks like the section does not count: no section ends in front of it', () => {
  const disguised = bytes(HEADER, ram, TIMER, [0], FOOTER, TIMER, [7], [0x7e, 0, 0, 0, 0], [0])
  expect(cutHead(disguised, state)).toHaveLength(HEADER.length + ram.length + TIMER.length + 6)
})

test.each([
  ['two places fit', bytes(HEADER, FOOTER, TIMER, FOOTER, TIMER, [0]), state, /several places/],
  ['no place fits', bytes(HEADER, ram, FOOTER, [0]), state, /no section that begins/],
  [
    'another machine',
    migration,
    bytes(HEADER, TIMER.with(-1, 3), FOOTER, [0]),
    /no section that begins/,
  ],
  ['no migration', bytes([1, 2, 3, 4, 5, 6, 7, 8, 9]), state, /does not begin with 'QEVM'/],
  ['cut off', migration.subarray(0, 7), state, /migration is cut off/],
  ['other version', bytes(HEADER.with(7, 2), FOOTER, TIMER), state, /has version 2, not 3/],
  ['state cut off', migration, state.subarray(0, -1), /state is cut off/],
  ['state empty', migration, bytes(HEADER), /state is cut off/],
  ['state without sections', migration, bytes(HEADER, FOOTER, [0]), /does not begin with a device/],
  [
    'name past the end',
    migration,
    bytes(HEADER, [4, 0, 0, 0, 0, 200, 0], FOOTER, [0]),
    /does not begin with a device/,
  ],
])('refuses to cut: %s', (_name, stream, deviceState, message) => {
  expect(() => cutHead(stream, deviceState)).toThrow(MigrationStreamError)
  expect(() => cutHead(stream, deviceState)).toThrow(message)
})

test.each([
  ['a head without footer', head.subarray(0, -1), state, /footer/],
  ['a head that is none', bytes([0]), state, /head is cut off/],
  ['a state that is none', head, bytes([...Array(9).keys()]), /state does not begin/],
])('refuses to join %s', (_name, first, second, message) => {
  expect(() => joinStream(first, second)).toThrow(message)
})

test('sizes at the bound and one past it', () => {
  const long = (start: Uint8Array, end: readonly number[], length: number): Uint8Array => {
    const stream = new Uint8Array(length)
    stream.set(start)
    stream.set(end, length - end.length)
    return stream
  }
  const atHead = long(bytes(HEADER), FOOTER, HEAD_BYTES_MAX)
  const atState = long(bytes(HEADER, TIMER), [...FOOTER, 0], STATE_BYTES_MAX)
  expect(joinStream(atHead, atState)).toHaveLength(HEAD_BYTES_MAX + STATE_BYTES_MAX - 8)
  expect(() => joinStream(long(bytes(HEADER), FOOTER, HEAD_BYTES_MAX + 1), state)).toThrow()
  expect(() =>
    joinStream(head, long(bytes(HEADER, TIMER), [...FOOTER, 0], STATE_BYTES_MAX + 1)),
  ).toThrow(/more than/)
  expect(() => cutHead(long(bytes(HEADER), FOOTER, HEAD_BYTES_MAX + 1), state)).toThrow(
    /guest memory must be in it/,
  )
})

test('any bytes give a head or ERR_ENDOPHYTE_STREAM', () => {
  const part = fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.constantFrom(HEADER, FOOTER, TIMER, [...FOOTER, 0], [0]).map((one) => Uint8Array.from(one)),
  )
  const stream = fc
    .array(part, { maxLength: 8 })
    .map((parts) => bytes(HEADER, ...parts.map((one) => [...one])))
  fc.assert(
    fc.property(stream, stream, (first, second) => {
      try {
        const found = cutHead(first, second)
        expect(first.subarray(0, found.length)).toEqual(found)
        expect(joinStream(found, second).subarray(found.length)).toEqual(second.subarray(8))
      } catch (error) {
        expect(error).toBeInstanceOf(MigrationStreamError)
      }
    }),
    { numRuns: 20_000 },
  )
})
