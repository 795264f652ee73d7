import type { NodeId } from '@mycelium/interface'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeVmRecord,
  encodeVmRecord,
  IN_SYNC_MAX,
  sameMembers,
  type VmRecord,
} from '../../src/core/vm-record.ts'
import { RecordError } from '../../src/errors.ts'

const NODE_ID_CHARS_MAX = 128

const id = fc
  .string({ unit: 'binary', maxLength: NODE_ID_CHARS_MAX })
  .filter((text) => text.length <= NODE_ID_CHARS_MAX)
  .map((text) => text as NodeId)
const record: fc.Arbitrary<VmRecord> = fc.record({
  state: fc.constantFrom('running', 'stopped'),
  inSync: fc.uniqueArray(id, { maxLength: IN_SYNC_MAX }),
})

const bytesOf = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))
const ids = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `node-${index}`)

describe('the record of a VM', () => {
  test('is decoded as it was encoded', () => {
    fc.assert(
      fc.property(record, (one) => {
        expect(decodeVmRecord(encodeVmRecord(one))).toEqual(one)
      }),
    )
  })

  test('of any bytes, or any JSON, gives a record or a RecordError', () => {
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.jsonValue().map(bytesOf),
      fc
        .record({ version: fc.constant(1), state: fc.string(), inSync: fc.jsonValue() })
        .map(bytesOf),
    )
    fc.assert(
      fc.property(noise, (bytes) => {
        try {
          const { state, inSync } = decodeVmRecord(bytes)
          expect(['running', 'stopped']).toContain(state)
          expect(inSync.length).toBeLessThanOrEqual(IN_SYNC_MAX)
        } catch (error) {
          expect(error).toBeInstanceOf(RecordError)
          expect(error).toMatchObject({ code: 'ERR_ENDOPHYTE_RECORD' })
        }
      }),
      { numRuns: 2_000 },
    )
  })

  test('holds as many ids as its bounds allow, and no more', () => {
    const valid = { version: 1, state: 'running', inSync: ids(IN_SYNC_MAX) }
    expect(decodeVmRecord(bytesOf(valid)).inSync).toEqual(valid.inSync)
    const longest = 'x'.repeat(NODE_ID_CHARS_MAX)
    expect(decodeVmRecord(bytesOf({ ...valid, inSync: [longest] })).inSync).toEqual([longest])
    for (const change of [
      { inSync: ids(IN_SYNC_MAX + 1) },
      { inSync: [`${longest}x`] },
      { inSync: ['a', 'a'] },
      { inSync: ['a', 1] },
      { inSync: 'a' },
      { state: 'asleep' },
      { version: 2 },
    ]) {
      expect(() => decodeVmRecord(bytesOf({ ...valid, ...change }))).toThrow(RecordError)
    }
  })

  test('of no lease, or with bytes that are no text, is refused', () => {
    expect(() => decodeVmRecord(new Uint8Array())).toThrow('is not readable')
    expect(() => decodeVmRecord(new Uint8Array([0x22, 0xff, 0x22]))).toThrow('is not readable')
    expect(() => decodeVmRecord(bytesOf(null))).toThrow('has another form')
  })
})

test('sets of members are the same in any order', () => {
  const unique = fc.uniqueArray(id, { maxLength: 4 })
  fc.assert(
    fc.property(unique, unique, (one, other) => {
      expect(sameMembers(one, one.toReversed())).toBe(true)
      const isSame = [...one].sort().join('\0') === [...other].sort().join('\0')
      expect(sameMembers(one, other)).toBe(isSame && one.length === other.length)
    }),
  )
})
