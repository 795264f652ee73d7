import { describe, expect, it } from 'vitest'
import { createWorld, type NetworkFaults, type World } from '../src/index.ts'

const message = (value: number): Uint8Array => Uint8Array.of(value)

/** Sends 0..count-1 from a to b, one per millisecond, and returns what b got. */
async function run(
  seed: number,
  network: Partial<NetworkFaults>,
  prepare: (world: World) => void = () => {},
): Promise<{ got: number[]; world: World }> {
  const world = createWorld({ seed, network })
  const got: number[] = []
  world.start('a', ({ clock, send }) => {
    for (let value = 0; value < 200; value++) {
      clock.schedule(value, () => send('b', message(value)))
    }
    return () => {}
  })
  world.start(
    'b',
    () =>
      (_, [value = -1]) =>
        got.push(value),
  )
  prepare(world)
  await world.clock.runUntilIdle()
  return { got, world }
}

const all = Array.from({ length: 200 }, (_, value) => value)

describe('world', () => {
  it('a network without faults delivers everything in order', async () => {
    expect((await run(1, {})).got).toEqual(all)
  })

  it('loses, duplicates and reorders as told, and counts it', async () => {
    const faults = { lossPerMille: 200, duplicationPerMille: 200, reorders: true, delayMsMax: 50 }
    const { got, world } = await run(2, faults)
    const { coverage } = world.result()
    expect(new Set(got).size).toBe(200 - (coverage['message lost'] ?? 0))
    expect(got.length - new Set(got).size).toBe(coverage['message duplicated'])
    expect(coverage['message overtook another']).toBeGreaterThan(10)
    expect(got).not.toEqual([...got].sort((x, y) => x - y))
  })

  it('same seed, same trace; another seed, another trace', async () => {
    const faults = { lossPerMille: 100, reorders: true }
    const hashes = [await run(3, faults), await run(3, faults), await run(4, faults)].map(
      ({ world }) => world.result().traceHash,
    )
    expect(hashes[0]).toBe(hashes[1])
    expect(hashes[0]).not.toBe(hashes[2])
    expect(hashes[0]).toMatch(/^[0-9a-f]{16}$/)
  })

  it('cuts one way, partitions, heals; what is under way is cut too', async () => {
    const { got } = await run(5, { delayMsMin: 5, delayMsMax: 5 }, ({ clock, network }) => {
      clock.schedule(20.5, () => network.cut('a', 'b'))
      clock.schedule(40.5, () => network.mend('a', 'b'))
      clock.schedule(60.5, () => network.partition([['a'], ['b']]))
      clock.schedule(80.5, () => network.heal())
      clock.schedule(100.5, () => network.cut('b', 'a'))
    })
    const lost = all.filter((value) => !got.includes(value))
    expect(lost).toEqual([...all.slice(16, 36), ...all.slice(56, 76)])
  })

  it('a message is a copy', async () => {
    const world = createWorld({ seed: 6 })
    const got: Uint8Array[] = []
    world.start('b', () => (_, bytes) => got.push(bytes))
    const mine = message(1)
    world.network.send('a', 'b', mine)
    mine[0] = 9
    await world.clock.runUntilIdle()
    expect(got).toEqual([message(1)])
  })

  it('a crash takes timers and messages; a restart is a new life', async () => {
    const world = createWorld({ seed: 7 })
    const lives: string[] = []
    const process = world.start('p', ({ incarnation, clock, send }) => {
      lives.push(`born ${incarnation}`)
      clock.schedule(clock.now() + 10, () => lives.push(`timer ${incarnation}`))
      return (from) => {
        lives.push(`${from} to ${incarnation}`)
        send('nobody', message(0))
      }
    })
    world.network.send('x', 'p', message(1))
    process.crash()
    process.crash()
    expect(process.isRunning).toBe(false)
    await world.clock.advance(50)
    process.restart()
    expect(() => process.restart()).toThrow(/^process must be down/)
    world.network.send('x', 'p', message(1))
    await world.clock.runUntilIdle()
    expect(lives.toSorted()).toEqual(['born 1', 'born 2', 'timer 2', 'x to 2'])
    expect(world.result().coverage).toEqual({ 'message cut off': 2, 'process crashed': 1 })
  })

  it('refuses wrong faults and a second node of one name', () => {
    for (const network of [{ delayMsMin: 20 }, { lossPerMille: 1_001 }, { delayMsMin: -1 }]) {
      expect(() => createWorld({ seed: 1, network })).toThrow(RangeError)
    }
    const { network } = createWorld({ seed: 1 })
    network.attach('a', () => {})
    expect(() => network.attach('a', () => {})).toThrow(/^node must be new/)
    expect(network.nodes).toEqual(['a'])
  })
})
