import { expect, it } from 'vitest'
import { formatName, sameName, sameVersion, type Version } from '../../src/core/epoch.ts'

const version = (fencing: bigint, counter: number, root: bigint): Version => ({
  name: { fencing, counter },
  root,
})

it('names an epoch by fencing epoch and counter', () => {
  expect(formatName({ fencing: 7n, counter: 123 })).toBe('7.123')
})

it('tells names apart by both numbers', () => {
  const name = { fencing: 1n, counter: 2 }
  expect(sameName(name, { fencing: 1n, counter: 2 })).toBe(true)
  expect(sameName(name, { fencing: 2n, counter: 2 })).toBe(false)
  expect(sameName(name, { fencing: 1n, counter: 3 })).toBe(false)
})

it('tells versions apart by name and content, and none from any', () => {
  const one = version(1n, 2, 3n)
  expect(sameVersion(one, version(1n, 2, 3n))).toBe(true)
  expect(sameVersion(one, version(1n, 2, 4n))).toBe(false)
  expect(sameVersion(one, version(2n, 2, 3n))).toBe(false)
  expect(sameVersion(one, version(1n, 1, 3n))).toBe(false)
  expect(sameVersion(one, undefined)).toBe(false)
  expect(sameVersion(undefined, one)).toBe(false)
  expect(sameVersion(undefined, undefined)).toBe(true)
})
