import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32c, frameRecord, readRecords } from '../src/core/log-records.ts'
import { LogCorruptError } from '../src/index.ts'

function fileOf(contents: readonly Uint8Array[]): Uint8Array {
  const parts: number[] = []
  let sum = 0
  for (const content of contents) {
    const framed = frameRecord(content, sum)
    sum = framed.sum
    for (const byte of framed.bytes) parts.push(byte)
  }
  return Uint8Array.from(parts)
}
const contents = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 })

describe('records in a file', () => {
  it('CRC-32C of the examples of RFC 3720, B.4', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa)
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43)
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, at) => at))).toBe(0x46dd794e)
  })

  it('come back as they were, wherever the file is cut off; what is cut is told', () => {
    fc.assert(
      fc.property(contents, fc.nat(), (list, cut) => {
        const whole = fileOf(list)
        const file = whole.subarray(0, cut % (whole.length + 1))
        const { records, length, sum } = readRecords(file)
        expect(records).toEqual(list.slice(0, records.length))
        expect(length).toBe(fileOf(records).length)
        // And another one fits behind.
        const more = frameRecord(Uint8Array.of(7), sum)
        const longer = Uint8Array.from([...file.subarray(0, length), ...more.bytes])
        expect(readRecords(longer).records).toHaveLength(records.length + 1)
      }),
      { numRuns: 1_000 },
    )
  })

  it('a bit that turned is damage, or in what may be torn; it is never read', () => {
    fc.assert(
      fc.property(contents, fc.nat(), fc.nat(7), (list, where, bit) => {
        const file = fileOf([...list, Uint8Array.of(1)])
        const at = where % file.length
        file[at] = (file[at] ?? 0) ^ (1 << bit)
        expect(() => readRecords(file)).toThrow(LogCorruptError)
      }),
      { numRuns: 1_000 },
    )
  })

  it('sectors that were never written are torn; what was written and differs is damage', () => {
    const list = [new Uint8Array(600).fill(1), new Uint8Array(1_200).fill(2)]
    const file = fileOf(list)
    const torn = file.slice()
    torn.fill(0, 1_024, 1_536)
    expect(readRecords(torn)).toMatchObject({ length: 612, records: [list[0]] })
    const zeros = Uint8Array.from([...file, ...new Uint8Array(100)])
    expect(readRecords(zeros).length).toBe(file.length)
    const damaged = file.slice()
    damaged.fill(0, 1_100, 1_300)
    expect(() => readRecords(damaged)).toThrow('the log is damaged at byte 612')
  })

  it('a record that is missing is noticed', () => {
    const [one, two, three] = [1, 2, 3].map((byte) => new Uint8Array(9).fill(byte))
    const all = fileOf([one, two, three] as Uint8Array[])
    const without = Uint8Array.from([...all.subarray(0, 21), ...all.subarray(42)])
    expect(() => readRecords(without)).toThrow(LogCorruptError)
  })
})
