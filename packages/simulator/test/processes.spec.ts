import { describe, expect, it } from 'vitest'
import { chooseSwarm, createCoverage, createSeededRandom, createWorld } from '../src/index.ts'

const FAST = { delayMsMin: 1, delayMsMax: 1 }

describe('processes', () => {
  it('frozen, one sees its timers and messages late, in order; a crash forgets them', () => {
    const world = createWorld({ seed: 1, network: FAST })
    const seen: string[] = []
    const process = world.start('a', ({ clock }) => {
      clock.schedule(10, () => {
        seen.push('timer')
        cancel()
      })
      const cancel = clock.schedule(11, () => seen.push('cancelled'))
      return (_, [value]) => seen.push(`message ${value}`)
    })
    world.start('b', ({ clock, send }) => {
      clock.schedule(4, () => send('a', Uint8Array.of(1)))
      clock.schedule(20, () => send('a', Uint8Array.of(2)))
      return () => {}
    })
    process.pause()
    process.pause()
    world.clock.advanceSync(15)
    expect([seen, process.isPaused]).toEqual([[], true])
    process.resume()
    expect(seen).toEqual(['message 1', 'timer'])
    process.pause()
    world.clock.advanceSync(15)
    process.crash()
    process.resume()
    expect([seen.length, process.isPaused]).toEqual([2, false])
    process.pause()
    expect(process.isPaused).toBe(false)
    expect(world.coverage.counts['process paused']).toBe(2)
  })

  it('clocks run as fast as they are told, leap, and are set', () => {
    const world = createWorld({ seed: 1 })
    const fired: number[] = []
    let now = (): number => 0
    let unixMs = (): number => 0
    const process = world.start('a', ({ clock }) => {
      for (const at of [100, 200, 1_000, 2_000]) {
        clock.schedule(at, () => fired.push(world.clock.now()))
      }
      clock.schedule(300, () => fired.push(-1))()
      now = () => clock.now()
      unixMs = () => clock.unixMs()
      return () => {}
    })
    world.clock.advanceSync(100)
    process.setClockRate(500)
    world.clock.advanceSync(200)
    expect([now(), fired]).toEqual([200, [100, 300]])
    process.leapClock(700)
    expect(now()).toBe(900)
    process.setClockRate(2_000)
    world.clock.advanceSync(50)
    expect([now(), fired]).toEqual([1_000, [100, 300, 350]])
    process.setWallClock(-3_600_000)
    expect(unixMs()).toBe(1_700_000_000_000 + 1_000 - 3_600_000)
    world.clock.advanceSync(500)
    expect(fired).toEqual([100, 300, 350, 850])
    expect(() => process.setClockRate(0)).toThrow('perMille must be an integer in 1..1000000')
    expect(() => process.leapClock(-1)).toThrow('ms must be 0 or more')
  })
})

describe('network', () => {
  const run = (prepare: (world: ReturnType<typeof createWorld>) => void) => {
    const world = createWorld({ seed: 1, network: FAST })
    const got: string[] = []
    world.start('a', ({ clock, send }) => {
      for (let value = 1; value <= 3; value++) {
        clock.schedule(10 * value, () => send('b', Uint8Array.of(value)))
      }
      return () => {}
    })
    world.start(
      'b',
      ({ clock }) =>
        (_, [value]) =>
          got.push(`${value} at ${clock.now()}`),
    )
    prepare(world)
    world.clock.advanceSync(100)
    return { got, world }
  }

  it('holds back what is clogged, then lets all of it through', () => {
    const { got, world } = run(({ network }) => network.clog('a', 'b', 25))
    expect(got).toEqual(['1 at 25', '2 at 25', '3 at 31'])
    expect(world.coverage.counts['message clogged']).toBe(2)
  })

  it('lets a liar change what it sends, until it is honest again', () => {
    const { got } = run(({ network, clock }) => {
      network.tamper('a', (_, [value = 0]) => {
        return value === 1 ? [] : [Uint8Array.of(value + 10), Uint8Array.of(value + 20)]
      })
      clock.schedule(25, () => network.tamper('a', undefined))
    })
    expect(got).toEqual(['12 at 21', '22 at 21', '3 at 31'])
  })
})

describe('swarm', () => {
  it('chooses each by itself, the same for the same seed', () => {
    const names = ['one', 'two', 'three'] as const
    const coverage = createCoverage()
    const choose = (seed: number, of: readonly string[] = names) => {
      return [...chooseSwarm({ random: createSeededRandom(seed), coverage }, of)].join()
    }
    const all = Array.from({ length: 100 }, (_, seed) => choose(seed))
    expect(new Set(all).size).toBe(8)
    expect(choose(5)).toBe(choose(5))
    expect(choose(5, [...names, 'four']).replace(/,?four/, '')).toBe(choose(5))
    for (const name of names) {
      expect(coverage.counts[`swarm: ${name}`]).toBeGreaterThan(30)
      expect(coverage.counts[`swarm: ${name}`]).toBeLessThan(75)
    }
  })
})
