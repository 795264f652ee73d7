import type { EpochReport } from '@mycelium/endophyte'
import type { NodeId } from '@mycelium/interface'
import { describe, expect, it } from 'vitest'
import { describeKill, LiveView } from '../../src/demo/view.ts'

const HOST = { id: 'node-1' as NodeId, lastTick: { tick: 5, at: 0 } }
const CLEAR = '\r\x1b[2K'

const epoch = (startedAt: number): EpochReport => ({
  name: '1.5',
  startedAt,
  pauseMs: 1.25,
  dirtyPages: 2000,
  tailPages: 3,
  bytes: 10_240,
  lagMs: 7,
  acknowledgedBy: [],
  isHashed: false,
})

function view(isLive: boolean) {
  const lines: string[] = []
  const written: string[] = []
  const made = new LiveView(
    { isLive, progress: (line) => void lines.push(line) },
    (text) => written.push(text),
    () => 200,
  )
  return { made, lines, written }
}

describe('without a terminal', () => {
  it('a line of figures comes every two seconds, with what happened since', () => {
    const { made, lines, written } = view(false)
    for (let at = 0; at <= 2000; at += 100) made.epoch(HOST, epoch(at))
    made.note('something happened')
    made.end()
    const figures = 'pause 1.3 ms  lag 7.0 ms  2000 pages  10 KiB  counter 5'
    expect(lines).toEqual([
      `node-1  epoch 1.5  0.0/s  ${figures}`,
      `node-1  epoch 1.5  10.0/s  ${figures}`,
      'something happened',
    ])
    expect(written).toEqual([])
  })
})

describe('on a terminal', () => {
  it('one line is redrawn, and gives way to lines that stay', () => {
    const { made, lines, written } = view(true)
    for (const at of [0, 50, 100]) made.epoch({ id: HOST.id, lastTick: undefined }, epoch(at))
    expect(written).toHaveLength(2)
    for (const text of written) expect(text).toMatch(/^\r\x1b\[2Knode-1 .* counter -$/)
    made.note('something happened')
    expect(written.at(-1)).toBe(CLEAR)
    expect(lines).toEqual(['something happened'])
    made.end()
    expect(written).toHaveLength(3)
  })
})

it('a line is never wider than the terminal', () => {
  const written: string[] = []
  const context = { isLive: true, progress: () => {} }
  const made = new LiveView(
    context,
    (text) => written.push(text),
    () => 40,
  )
  made.epoch(HOST, epoch(0))
  expect(written).toEqual([`${CLEAR}node-1  epoch 1.5  0.0/s  pause 1.3 ms `])
})

it('a kill is a timeline', () => {
  const kill = {
    detectMs: 1,
    leaseMs: 20,
    loadMs: 300,
    firstOutputMs: 4,
    totalMs: 325,
    ticksLost: 5,
  }
  const takeover = {
    epoch: '1.9',
    fencing: 2n,
    missedAt: 0,
    grantedAt: 0,
    loadedAt: 0,
    mismatchPages: 0,
  }
  expect(describeKill(kill, takeover, 50, 45)).toEqual([
    '     0 ms  killed, the last counter it printed was 50',
    '     1 ms  death detected',
    '    21 ms  lease 2 granted',
    '   321 ms  epoch 1.9 loaded',
    '   325 ms  first output of the guest: counter 45; since the checkpoint the dead copy had ' +
      'counted 6, which is done again',
  ])
  expect(describeKill(kill, takeover, undefined, 45)[0]).toMatch(/was none$/)
})
