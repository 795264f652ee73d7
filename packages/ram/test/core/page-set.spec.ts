import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  addDiffering,
  countDiffering,
  countPages,
  pageSetBytes,
  unite,
} from '../../src/core/page-set.ts'

const setOf = (pages: readonly number[], count: number): Uint8Array => {
  const set = new Uint8Array(pageSetBytes(count))
  for (const page of pages) set[page >> 3] = (set[page >> 3] ?? 0) | (1 << (page & 7))
  return set
}
const pagesOf = (set: Uint8Array): number[] =>
  Array.from({ length: set.length * 8 }, (_, page) => page).filter(
    (page) => ((set[page >> 3] ?? 0) & (1 << (page & 7))) !== 0,
  )
const hashesOf = (values: readonly bigint[]): Uint8Array =>
  new Uint8Array(BigUint64Array.from(values).buffer)

const PAGES = 100
const pages = fc.uniqueArray(fc.nat(PAGES - 1))

describe('sets of pages', () => {
  it('have a byte for each eight pages begun', () => {
    expect([0, 1, 8, 9, 64, 65].map(pageSetBytes)).toEqual([0, 1, 1, 2, 8, 9])
  })

  it('unite and count as sets do', () => {
    fc.assert(
      fc.property(pages, pages, (one, other) => {
        const set = setOf(one, PAGES)
        const otherSet = setOf(other, PAGES)
        unite(set, otherSet)
        const union = [...new Set([...one, ...other])].sort((a, b) => a - b)
        expect(pagesOf(set)).toEqual(union)
        expect(countPages(set)).toBe(union.length)
        expect(pagesOf(otherSet)).toEqual([...other].sort((a, b) => a - b))
      }),
    )
  })

  it('do so wherever they lie in memory', () => {
    fc.assert(
      fc.property(pages, pages, fc.nat(4), fc.nat(4), (one, other, offset, otherOffset) => {
        const placed = (set: Uint8Array, at: number): Uint8Array => {
          const memory = new Uint8Array(set.length + 8).fill(255)
          memory.set(set, at)
          return memory.subarray(at, at + set.length)
        }
        const set = placed(setOf(one, PAGES), offset)
        unite(set, placed(setOf(other, PAGES), otherOffset))
        const union = new Set([...one, ...other])
        expect(new Set(pagesOf(set))).toEqual(union)
        expect(countPages(set)).toBe(union.size)
        expect([...new Uint8Array(set.buffer, 0, offset)]).toEqual(Array(offset).fill(255))
        expect(new Uint8Array(set.buffer)[offset + set.length]).toBe(255)
      }),
    )
  })

  it('of different regions do not unite', () => {
    expect(() => unite(new Uint8Array(2), new Uint8Array(3))).toThrow(RangeError)
  })
})

describe('hashes that differ', () => {
  const hash = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })

  it('are added to the set by the numbers of their pages, and counted', () => {
    fc.assert(
      fc.property(
        fc.array(hash, { minLength: PAGES, maxLength: PAGES }),
        pages,
        pages,
        fc.nat(PAGES),
        fc.nat(7),
        (ours, changed, before, first, byte) => {
          const theirs = ours.map((value, page) =>
            changed.includes(page) ? value ^ (1n << BigInt(byte * 8)) : value,
          )
          const set = setOf(before, PAGES)
          addDiffering(set, hashesOf(ours), hashesOf(theirs.slice(first)), first)
          const found = changed.filter((page) => page >= first)
          const expected = [...new Set([...before, ...found])].sort((a, b) => a - b)
          expect(pagesOf(set)).toEqual(expected)
          expect(countDiffering(hashesOf(ours), hashesOf(theirs))).toBe(changed.length)
        },
      ),
    )
  })
})
