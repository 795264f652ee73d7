import { describe, expect, it } from 'vitest'
import { createSeededRandom } from '../src/index.ts'

describe('seeded random', () => {
  it('same seed and name, same numbers; else others', () => {
    const draw = (seed: number, name?: string): string =>
      Buffer.from(createSeededRandom(seed, name).bytes(16)).toString('hex')
    expect(draw(1)).toBe(draw(1))
    expect(new Set([draw(1), draw(2), draw(1, 'a'), draw(2 ** 53 - 1)]).size).toBe(4)
  })

  it('a fork depends on its name only, not on what its parent has given', () => {
    const fresh = createSeededRandom(7)
    const used = createSeededRandom(7)
    used.bytes(1_000)
    expect(used.fork('x').bytes(8)).toEqual(fresh.fork('x').bytes(8))
    expect(fresh.fork('x').bytes(8)).not.toEqual(fresh.fork('y').bytes(8))
    expect(fresh.fork('x').fork('y').bytes(8)).toEqual(used.fork('x').fork('y').bytes(8))
  })

  it('below is uniform and within its bound', () => {
    const random = createSeededRandom(3)
    const counts = new Array<number>(6).fill(0)
    for (let draw = 0; draw < 60_000; draw++) {
      const value = random.below(6)
      counts[value] = (counts[value] ?? 0) + 1
    }
    // 6 standard deviations of a fair die; the seed is fixed, so this cannot flicker.
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(550)
    expect(random.below(1)).toBe(0)
    expect(random.below(2 ** 32)).toBeLessThan(2 ** 32)
  })

  it('the bits of its bytes are balanced', () => {
    let ones = 0
    for (const byte of createSeededRandom(4).bytes(100_000)) {
      for (let bit = byte; bit > 0; bit >>= 1) ones += bit & 1
    }
    expect(Math.abs(ones - 400_000)).toBeLessThan(2_700)
  })

  it('refuses wrong bounds and seeds', () => {
    for (const bound of [0, -1, 1.5, 2 ** 32 + 1, NaN]) {
      expect(() => createSeededRandom(1).below(bound)).toThrow(/^bound must be/)
    }
    for (const seed of [-1, 0.5, 2 ** 53]) {
      expect(() => createSeededRandom(seed)).toThrow(/^seed must be/)
    }
  })
})
