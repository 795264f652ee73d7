import { expect, it } from 'vitest'
import { median, quantile, round } from '../../src/demo/statistics.ts'

it('a quantile is the smallest value that its share of all does not exceed', () => {
  for (let count = 1; count <= 400; count++) {
    // 1 to `count`, mixed: 401 is a prime above any count.
    const values = Array.from({ length: count }, (_, index) => ((index * 401) % count) + 1)
    for (const share of [0.5, 0.99]) {
      const found = quantile(values, share)
      const atMost = (bound: number): number => values.filter((value) => value <= bound).length
      expect(values).toContain(found)
      expect(atMost(found)).toBeGreaterThanOrEqual(count * share)
      expect(atMost(found - 1)).toBeLessThan(count * share)
    }
  }
})

it('the median is the lower of two, whatever the order', () => {
  expect(median([4, 1, 3, 2])).toBe(2)
  expect(median([3, 1, 2])).toBe(2)
  expect(median([])).toBeNaN()
})

it('figures have three places', () => {
  expect(round(1.23456)).toBe(1.235)
  expect(round(2)).toBe(2)
})
