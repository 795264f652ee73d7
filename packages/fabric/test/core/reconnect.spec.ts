import type { NodeId } from '@mycelium/interface'
import { createSeededRandom } from '@mycelium/simulator'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { backoffMs } from '../../src/core/backoff.ts'
import { median } from '../../src/core/median.ts'
import {
  createReconnect,
  type Reconnect,
  type ReconnectConfig,
  type ReconnectEffect,
} from '../../src/core/reconnect.ts'

const CONFIG: ReconnectConfig = {
  peersMax: 4,
  discoveredMax: 2,
  addressesMax: 3,
  dialsMax: 2,
  delayMsMin: 100,
  delayMsMax: 10_000,
  discoveredDelayMsMax: 100_000,
  stableMs: 5_000,
}

const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'] as NodeId[] as [
  NodeId,
  NodeId,
  NodeId,
  NodeId,
  NodeId,
]

function create(config: Partial<ReconnectConfig> = {}): Reconnect {
  return createReconnect({ random: createSeededRandom(1) }, { ...CONFIG, ...config })
}

function learn(core: Reconnect, peers: readonly NodeId[], now = 0): ReconnectEffect[] {
  return peers.flatMap((peer) => core.step({ type: 'learn', peer, addresses: [`at ${peer}`] }, now))
}

/** Ticks at the deadlines until something is dialled. */
function untilDial(core: Reconnect): { readonly at: number; readonly effects: ReconnectEffect[] } {
  for (;;) {
    const at = core.nextDeadline()
    if (at === undefined) throw new Error('nothing will be dialled')
    const effects = core.step({ type: 'tick' }, at)
    if (effects.length > 0) return { at, effects }
  }
}

describe('a known peer', () => {
  it('is dialled within the first range, once', () => {
    const core = create()
    expect(learn(core, [a])).toEqual([])
    const { at, effects } = untilDial(core)
    expect(at).toBeLessThanOrEqual(CONFIG.delayMsMin)
    expect(effects).toEqual([{ type: 'dial', peer: a, addresses: ['at a'] }])
    expect(core.step({ type: 'tick' }, at + 60_000)).toEqual([])
    expect(core.nextDeadline()).toBeUndefined()
  })

  it('is dialled for ever, within the range of its failures', () => {
    const core = create()
    learn(core, [a])
    let last = untilDial(core).at
    const delays: number[] = []
    for (let failure = 1; failure <= 200; failure++) {
      core.step({ type: 'dialled', peer: a }, last)
      const { at } = untilDial(core)
      const range = Math.min(CONFIG.delayMsMax, CONFIG.delayMsMin * 2 ** failure)
      expect(at - last).toBeGreaterThan(0)
      expect(at - last).toBeLessThanOrEqual(range)
      delays.push((at - last) / range)
      last = at
    }
    // Full jitter: uniform, so the mean is about the half and both ends are near.
    expect(delays.reduce((sum, share) => sum + share) / delays.length).toBeCloseTo(0.5, 0)
    expect(Math.min(...delays)).toBeLessThan(0.1)
    expect(Math.max(...delays)).toBeGreaterThan(0.9)
  })

  it('begins with another address at each try', () => {
    const core = create()
    core.step({ type: 'learn', peer: a, addresses: ['x', 'y', 'x', 'z', 'past the bound'] }, 0)
    const firsts: string[] = []
    for (let round = 0; round < 4; round++) {
      const { at, effects } = untilDial(core)
      const [dial] = effects
      if (dial?.type === 'dial') firsts.push(dial.addresses.join(''))
      core.step({ type: 'dialled', peer: a }, at)
    }
    expect(firsts).toEqual(['xyz', 'yzx', 'zxy', 'xyz'])
  })

  it('is left alone while it is up, whoever dialled', () => {
    const core = create()
    core.step({ type: 'up', peer: a }, 0)
    learn(core, [a])
    expect(core.nextDeadline()).toBeUndefined()
    core.step({ type: 'down', peer: a }, 6_000)
    const at = core.nextDeadline()
    expect(at).toBeGreaterThan(6_000)
    expect(at).toBeLessThanOrEqual(6_000 + CONFIG.delayMsMin)
  })

  it('that goes before it was stable counts as a failure; after, as none', () => {
    for (const [lastsMs, failures] of [
      [CONFIG.stableMs - 1, 5],
      [CONFIG.stableMs, 0],
    ] as const) {
      const delays: number[] = []
      for (let seed = 0; seed < 50; seed++) {
        const core = createReconnect({ random: createSeededRandom(seed) }, CONFIG)
        learn(core, [a])
        let now = untilDial(core).at
        for (let failure = 0; failure < 4; failure++) {
          core.step({ type: 'dialled', peer: a }, now)
          now = untilDial(core).at
        }
        core.step({ type: 'up', peer: a }, now)
        core.step({ type: 'dialled', peer: a }, now)
        now += lastsMs
        core.step({ type: 'down', peer: a }, now)
        delays.push((core.nextDeadline() ?? 0) - now)
      }
      const range = CONFIG.delayMsMin * 2 ** failures
      expect(Math.max(...delays)).toBeLessThanOrEqual(range)
      expect(Math.max(...delays)).toBeGreaterThan(range / 2)
    }
  })

  it('with new addresses is tried soon; with the old ones not', () => {
    const core = create()
    learn(core, [a])
    let now = untilDial(core).at
    for (let failure = 0; failure < 12; failure++) {
      core.step({ type: 'dialled', peer: a }, now)
      now = untilDial(core).at
    }
    core.step({ type: 'dialled', peer: a }, now)
    const due = core.nextDeadline() ?? 0
    learn(core, [a], now)
    expect(core.nextDeadline()).toBe(due)
    core.step({ type: 'learn', peer: a, addresses: ['elsewhere'] }, now)
    expect(core.nextDeadline()).toBeLessThanOrEqual(now + CONFIG.delayMsMin)
    expect(core.known).toEqual([{ peer: a, addresses: ['elsewhere'] }])
  })

  it('hurry: all are tried soon', () => {
    const core = create({ dialsMax: 4 })
    learn(core, [a, b])
    core.step({ type: 'tick' }, 1_000)
    for (const peer of [a, b]) core.step({ type: 'dialled', peer }, 1_000)
    core.step({ type: 'hurry' }, 1_000)
    const effects = core.step({ type: 'tick' }, 1_000 + CONFIG.delayMsMin)
    expect(effects.map(({ type }) => type)).toEqual(['dial', 'dial'])
  })

  it('forgotten: not dialled, and a dial under way is cancelled', () => {
    const core = create()
    learn(core, [a])
    const { at } = untilDial(core)
    expect(core.step({ type: 'forget', peer: a }, at)).toEqual([{ type: 'cancel', peer: a }])
    expect(core.step({ type: 'dialled', peer: a }, at)).toEqual([])
    expect(core.nextDeadline()).toBeUndefined()
    expect(core.known).toEqual([])
  })
})

describe('bounds', () => {
  it('dials at once, and who comes first', () => {
    const core = create({ dialsMax: 2 })
    learn(core, [a, b, c, d])
    const dials = core.step({ type: 'tick' }, 1_000)
    expect(dials).toHaveLength(2)
    expect(core.nextDeadline()).toBeUndefined()
    const [first] = dials
    if (first === undefined) throw new Error('no dial')
    const [next] = core.step({ type: 'dialled', peer: first.peer }, 1_000)
    expect(next).toMatchObject({ type: 'dial' })
    expect(dials.map(({ peer }) => peer)).not.toContain(next?.peer)
  })

  it('a peer that failed less goes before those that are gone', () => {
    const core = create({ dialsMax: 1 })
    learn(core, [a, b])
    let now = 1_000
    let [dial] = core.step({ type: 'tick' }, now)
    // Both fail in turns; one is being dialled, the other is due, at every moment.
    for (let round = 0; round < 10; round++) {
      now += 20_000
      ;[dial] = core.step({ type: 'dialled', peer: dial?.peer ?? e }, now)
    }
    now += 15_000
    learn(core, [c], now)
    now += 1_000
    const next = core.step({ type: 'dialled', peer: dial?.peer ?? e }, now)
    expect(next).toEqual([{ type: 'dial', peer: c, addresses: ['at c'] }])
  })

  it('known peers: one more is refused, a known one not', () => {
    const core = create()
    expect(learn(core, [a, b, c, d])).toEqual([])
    expect(learn(core, [e])).toEqual([{ type: 'full', peer: e }])
    expect(learn(core, [d])).toEqual([])
    expect(core.known).toHaveLength(4)
    core.step({ type: 'forget', peer: a }, 0)
    expect(learn(core, [e])).toEqual([])
  })
})

describe('a discovered peer', () => {
  const discover = (core: Reconnect, peer: NodeId, now = 0): ReconnectEffect[] =>
    core.step({ type: 'discover', peer, addresses: [`near ${peer}`] }, now)

  it('is dialled, and is not known', () => {
    const core = create()
    discover(core, a)
    expect(untilDial(core).effects).toEqual([{ type: 'dial', peer: a, addresses: ['near a'] }])
    expect(core.known).toEqual([])
  })

  it('one more takes the place of the one that failed most', () => {
    const core = create()
    discover(core, a)
    discover(core, b)
    for (let round = 0; round < 3; round++) {
      core.step({ type: 'tick' }, 100_000 * (round + 1))
      core.step({ type: 'dialled', peer: a }, 100_000 * (round + 1))
    }
    core.step({ type: 'dialled', peer: b }, 300_000)
    discover(core, c, 300_000)
    const dialled = core.step({ type: 'tick' }, 900_000).map(({ peer }) => peer)
    expect(dialled.toSorted()).toEqual([b, c])
  })

  it('adds to the addresses of a known one, and replaces none', () => {
    const core = create()
    learn(core, [a])
    discover(core, a)
    expect(core.known).toEqual([{ peer: a, addresses: ['at a'] }])
    expect(untilDial(core).effects).toEqual([
      { type: 'dial', peer: a, addresses: ['at a', 'near a'] },
    ])
  })
})

it('backoff: in 1..range, whatever the failures', () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(10_000), (seed, failures) => {
      const range = { delayMsMin: 250, delayMsMax: 30_000 }
      const delay = backoffMs(createSeededRandom(seed), failures, range)
      expect(Number.isInteger(delay)).toBe(true)
      expect(delay).toBeGreaterThanOrEqual(1)
      expect(delay).toBeLessThanOrEqual(Math.min(30_000, 250 * 2 ** failures))
    }),
  )
})

it('median: the middle one', () => {
  expect([[], [3], [1, 9], [9, 1, 5], [4, 1, 3, 2]].map(median)).toEqual([undefined, 3, 5, 5, 2.5])
})
