import { describe, expect, it } from 'vitest'
import { ADMISSION_THRESHOLD, SCORE_WEIGHTS } from '../../src/constants.ts'
import { ACCESS_LEVELS, accessLevelOf, isAccessAtLeast } from '../../src/core/access.ts'
import { isAdmitted, scoreOf, type Factors } from '../../src/core/authentication.ts'

describe('the access level', () => {
  it.each([
    [1_000, 'full'],
    [900, 'full'],
    [899, 'standard'],
    [700, 'standard'],
    [699, 'limited'],
    [500, 'limited'],
    [499, 'read-only'],
    [300, 'read-only'],
    [299, 'restricted'],
    [100, 'restricted'],
    [99, 'none'],
    [0, 'none'],
  ] as const)('of trust %i is %s', (trust, level) => {
    expect(accessLevelOf(trust)).toBe(level)
  })

  it.each([-1, 1_001, 0.5, NaN, Infinity])('of trust %d is an error', (trust) => {
    expect(() => accessLevelOf(trust)).toThrow(RangeError)
  })

  it('allows what a lower one allows', () => {
    const levels = ACCESS_LEVELS.map(({ level }) => level)
    levels.forEach((level, index) => {
      levels.forEach((needed, other) => {
        expect(isAccessAtLeast(level, needed)).toBe(index <= other)
      })
    })
  })
})

describe('the score', () => {
  const proven: Factors = { crypto: true, network: true, history: undefined, consensus: undefined }
  const admitted = (factors: Factors): boolean => isAdmitted(factors, ADMISSION_THRESHOLD)

  it('is the sum of its weights, an unknown factor counting half', () => {
    expect(Object.values(SCORE_WEIGHTS).reduce((sum, weight) => sum + weight, 0)).toBe(1_000)
    expect(scoreOf({ ...proven, history: 1_000, consensus: 1_000 })).toBe(1_000)
    expect(scoreOf(proven)).toBe(850)
    expect(scoreOf({ ...proven, crypto: false })).toBe(300)
    expect(scoreOf({ ...proven, network: false })).toBe(700)
    expect(scoreOf({ ...proven, history: 333, consensus: 333 })).toBe(799)
  })

  it('admits a new node, and one with a past that is not proven bad', () => {
    expect(admitted(proven)).toBe(true)
    expect(admitted({ ...proven, history: 1, consensus: 20 })).toBe(true)
  })

  it('refuses proven misbehaviour, whatever part it takes in decisions', () => {
    for (const consensus of [undefined, 0, 500, 1_000]) {
      expect(admitted({ ...proven, history: 0, consensus })).toBe(false)
    }
  })

  it('makes up for no proof', () => {
    const best = { ...proven, history: 1_000, consensus: 1_000 }
    for (const missing of [{ crypto: false }, { network: false }]) {
      expect(isAdmitted({ ...best, ...missing }, 0)).toBe(false)
    }
  })

  it.each([-1, 1_001, 0.5, NaN])('is an error with a factor of %d', (value) => {
    expect(() => scoreOf({ ...proven, history: value })).toThrow(/^history: /)
    expect(() => scoreOf({ ...proven, consensus: value })).toThrow(RangeError)
  })
})
