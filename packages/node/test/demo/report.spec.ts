import { describe, expect, it } from 'vitest'
import {
  type DemoFindings,
  describeReport,
  type EpochSample,
  makeReport,
} from '../../src/demo/report.ts'

const epoch = (pauseMs: number, isHashed = false): EpochSample => ({
  pauseMs,
  lagMs: 2 * pauseMs,
  bytes: 1024 * pauseMs,
  dirtyPages: 10 * pauseMs,
  isHashed,
})
const kill = {
  detectMs: 1,
  leaseMs: 2,
  loadMs: 3,
  firstOutputMs: 4,
  totalMs: 10,
  ticksLost: 5,
}

const FINDINGS: DemoFindings = {
  accel: 'tcg',
  tracker: 'async',
  guestMemoryBytes: 2 ** 28,
  intervalMs: 100,
  seed: 7,
  protectedMs: 500,
  protectedEpochs: 4,
  epochs: [epoch(1), epoch(2), epoch(3), epoch(400, true)],
  kills: [kill],
  killsWanted: 1,
  guestErrors: 0,
  ramMismatchPages: 0,
  secondCopies: 0,
  failures: [],
}

describe('the report of the demo', () => {
  it('has every figure, and is ok when nothing is wrong', () => {
    expect(makeReport(FINDINGS)).toEqual({
      schema: 'mycelium.demo/1',
      ok: true,
      accel: 'tcg',
      tracker: 'async',
      guestMemoryBytes: 2 ** 28,
      intervalMs: 100,
      seed: 7,
      epochs: 4,
      epochsPerSecond: 8,
      // Those in which the whole memory was hashed are no measure of a pause.
      pauseMsMedian: 2,
      pauseMsP99: 3,
      lagMsMedian: 4,
      dirtyPagesMedian: 20,
      bytesPerEpochMedian: 2048,
      kills: [kill],
      guestErrors: 0,
      ramMismatchPages: 0,
      secondCopies: 0,
      failures: [],
    })
  })

  it.each([
    [{ guestErrors: 3 }, 'the guest found 3 errors in its memory'],
    [{ ramMismatchPages: 2 }, '2 pages differed on a backup'],
    [{ secondCopies: 1 }, 'a second copy of the guest was running'],
    [{ killsWanted: 2 }, '1 of 2 kills survived'],
    [{ failures: ['something else'] }, 'something else'],
  ])('%j makes it fail', (change, failure) => {
    const report = makeReport({ ...FINDINGS, ...change })
    expect(report.ok).toBe(false)
    expect(report.failures).toEqual([failure])
    expect(describeReport(report).at(-1)).toBe(`FAILED: ${failure}`)
  })

  it('fits a person', () => {
    expect(describeReport(makeReport(FINDINGS))).toEqual([
      '4 epochs acknowledged, 8 per second; pause median 2 ms, 99 % below 3 ms; ' +
        'lag until backups hold it 4 ms; 2 KiB each',
      '1 death survived, guest silent for 10 ms (median), longest 10 ms',
      'guest errors 0, pages that differed 0, second copies 0',
      'ok: the guest outlived its hosts',
    ])
  })

  it('of a run without kills or epochs is made all the same', () => {
    const report = makeReport({
      ...FINDINGS,
      epochs: [],
      kills: [],
      killsWanted: 0,
      protectedMs: 0,
      protectedEpochs: 0,
    })
    expect(report.epochsPerSecond).toBe(0)
    expect(describeReport(report)).toHaveLength(3)
  })
})
