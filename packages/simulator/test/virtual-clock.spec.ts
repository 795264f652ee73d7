import { describe, expect, it } from 'vitest'
import { createVirtualClock } from '../src/index.ts'

describe('virtual clock', () => {
  it('runs in order of time, then of scheduling, each at its own time', async () => {
    const clock = createVirtualClock({ startMs: 100 })
    const seen: [string, number][] = []
    for (const [name, at] of [
      ['c', 103],
      ['a', 101],
      ['b', 101],
      ['past', 5],
      ['later', 111],
    ] as const) {
      clock.schedule(at, () => seen.push([name, clock.now()]))
    }
    await clock.advance(10)
    expect(seen).toEqual([
      ['past', 100],
      ['a', 101],
      ['b', 101],
      ['c', 103],
    ])
    expect(clock.now()).toBe(110)
    expect(clock.pendingCount).toBe(1)
  })

  it('agrees with sorting for many times, with cancelled ones in between', () => {
    const clock = createVirtualClock()
    const seen: number[] = []
    const expected: { at: number; id: number }[] = []
    for (let id = 0; id < 2_000; id++) {
      const at = (id * 7_919) % 503
      const cancel = clock.schedule(at, () => seen.push(id))
      if (id % 5 === 0) {
        cancel()
        cancel()
      } else expected.push({ at, id })
    }
    expect(clock.pendingCount).toBe(1_600)
    clock.advanceSync(503)
    expected.sort((a, b) => a.at - b.at || a.id - b.id)
    expect(seen).toEqual(expected.map(({ id }) => id))
    expect(clock.pendingCount).toBe(0)
  })

  it('lets promises settle before the next callback', async () => {
    const clock = createVirtualClock()
    const seen: string[] = []
    clock.schedule(1, () => {
      void (async () => {
        for (let step = 0; step < 5; step++) await Promise.resolve()
        seen.push('promise')
      })()
    })
    clock.schedule(1, () => seen.push('next'))
    await clock.runUntilIdle()
    expect(seen).toEqual(['promise', 'next'])
  })

  it('runUntil stops when the condition holds, and says when it cannot', async () => {
    const clock = createVirtualClock()
    let count = 0
    for (let at = 1; at <= 5; at++) clock.schedule(at, () => count++)
    await clock.runUntil(() => count === 3)
    expect(clock.now()).toBe(3)
    await expect(clock.runUntil(() => count === 9)).rejects.toMatchObject({
      code: 'ERR_SIMULATION_STUCK',
      at: 5,
    })
  })

  it('turns a livelock into an error, at the bound', async () => {
    const clock = createVirtualClock()
    const again = (): void => {
      clock.schedule(clock.now(), again)
    }
    again()
    const stuck = { code: 'ERR_SIMULATION_STUCK' }
    await expect(clock.runUntilIdle({ stepsMax: 50 })).rejects.toMatchObject(stuck)
    await expect(clock.advance(1, { stepsMax: 50 })).rejects.toMatchObject(stuck)
    expect(() => clock.advanceSync(1, { stepsMax: 50 })).toThrow(/more than 50 callbacks/)
    const finite = createVirtualClock()
    for (let at = 0; at < 50; at++) finite.schedule(at, () => {})
    await finite.runUntilIdle({ stepsMax: 50 })
  })

  it('refuses wrong times', async () => {
    const clock = createVirtualClock()
    await expect(clock.advance(-1)).rejects.toThrow(/^ms must be/)
    expect(() => clock.advanceSync(NaN)).toThrow(/^ms must be/)
    expect(() => clock.schedule(NaN, () => {})).toThrow(/^at must be/)
  })

  it('tells the time of day', async () => {
    const clock = createVirtualClock({ startUnixMs: 5_000 })
    await clock.advance(7)
    expect(clock.unixMs()).toBe(5_007)
  })
})
