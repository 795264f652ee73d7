import { describe, expect, it } from 'vitest'
import { medianOf, renderNetworkReport } from '../../src/drill/report.ts'

const KEPT = {
  ok: true,
  nodes: 5,
  formationMs: 2_000,
  refused: ['token-unknown', 'wrong-network'],
  revokedDroppedMs: 100,
  healedMs: 1_500,
  rssBytesMedian: 90 * 2 ** 20,
}

describe('the report of a drill of a network', () => {
  it('for people', () => {
    expect(renderNetworkReport(KEPT)).toEqual([
      'nodes      5',
      'formed     2000 ms after the last start',
      'refused    token-unknown, wrong-network',
      'revoked    dropped everywhere after 100 ms',
      'healed     1500 ms after a restart',
      'memory     90 MiB (median)',
      'ok',
    ])
  })

  it('with what it did not come to, and why', () => {
    const nothing = { formationMs: null, refused: [], revokedDroppedMs: null, healedMs: null }
    const report = { ok: false, nodes: 5, ...nothing, rssBytesMedian: null, problem: 'too slow' }
    expect(renderNetworkReport(report)).toEqual([
      'nodes      5',
      'formed     - after the last start',
      'refused    -',
      'revoked    dropped everywhere after -',
      'healed     - after a restart',
      'memory     - (median)',
      'FAILED     too slow',
    ])
  })
})

it.each([
  [[], null],
  [[3], 3],
  [[5, 1, 3], 3],
])('median of %j', (values, median) => {
  expect(medianOf(values)).toBe(median)
})
