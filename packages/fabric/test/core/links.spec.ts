import type { NodeId } from '@mycelium/interface'
import { createSeededRandom } from '@mycelium/simulator'
import { describe, expect, it } from 'vitest'
import { createLinks, type Links, type LinksConfig, type LinksInput } from '../../src/core/links.ts'

const CONFIG: LinksConfig = {
  heartbeatMs: 4_000,
  missesMax: 2,
  roundTripsMax: 3,
  lingerMs: 1_000,
  connectionsPerPeerMax: 3,
}

const [a, m, z] = ['a', 'm', 'z'] as NodeId[] as [NodeId, NodeId, NodeId]

function create(self: NodeId = m): Links {
  return createLinks({ self, random: createSeededRandom(1) }, CONFIG)
}

function open(
  peer: NodeId,
  connection: number,
  kind: { readonly isOutbound?: boolean; readonly isRelayed?: boolean } = {},
): LinksInput {
  return { type: 'opened', peer, connection, isOutbound: true, isRelayed: false, ...kind }
}

const pong = (connection: number, roundTripMs = 1): LinksInput => ({
  type: 'pong',
  connection,
  roundTripMs,
})

describe('one connection', () => {
  it('up, pinged at once, then about every heartbeat; down', () => {
    const links = create()
    expect(links.step(open(z, 1), 0)).toEqual([
      { type: 'up', peer: z, connection: 1 },
      { type: 'ping', connection: 1 },
    ])
    expect(links.used(z)).toBe(1)
    expect(links.nextDeadline()).toBeUndefined()
    links.step(pong(1), 10)
    const at = links.nextDeadline() ?? 0
    expect(at).toBeGreaterThanOrEqual(10 + 3_000)
    expect(at).toBeLessThanOrEqual(10 + 5_000)
    expect(links.step({ type: 'tick' }, at - 1)).toEqual([])
    expect(links.step({ type: 'tick' }, at)).toEqual([{ type: 'ping', connection: 1 }])
    const closed = links.step({ type: 'closed', connection: 1 }, at)
    expect(closed).toEqual([{ type: 'down', peer: z }])
    expect(links.step({ type: 'closed', connection: 1 }, at)).toEqual([])
    expect(links.peers).toEqual([])
  })

  it('silent once: asked again; twice: cut', () => {
    const links = create()
    links.step(open(z, 1), 0)
    expect(links.step({ type: 'silence', connection: 1 }, 5_000)).toEqual([])
    expect(links.nextDeadline()).toBe(6_000)
    expect(links.step({ type: 'tick' }, 6_000)).toEqual([{ type: 'ping', connection: 1 }])
    expect(links.step({ type: 'silence', connection: 1 }, 11_000)).toEqual([
      { type: 'cut', connection: 1, why: 'silent' },
      { type: 'down', peer: z },
    ])
  })

  it('an answer forgives a silence', () => {
    const links = create()
    links.step(open(z, 1), 0)
    for (let round = 0; round < 5; round++) {
      expect(links.step({ type: 'silence', connection: 1 }, round)).toEqual([])
      links.step(pong(1), round)
    }
  })

  it('round trip: the median of the last ones', () => {
    const links = create()
    links.step(open(z, 1), 0)
    expect(links.roundTripMs(z)).toBeUndefined()
    for (const ms of [900, 10, 30, 20]) links.step(pong(1, ms), 0)
    expect(links.roundTripMs(z)).toBe(20)
    expect(links.roundTripMs(a)).toBeUndefined()
  })

  it('dropped: cut at once, and what it still says is nothing', () => {
    const links = create()
    links.step(open(z, 1), 0)
    links.step(open(z, 2), 0)
    links.step(pong(1), 0)
    expect(links.step({ type: 'drop', peer: z }, 0)).toEqual([
      { type: 'cut', connection: 1, why: 'dropped' },
      { type: 'cut', connection: 2, why: 'dropped' },
      { type: 'down', peer: z },
    ])
    expect(links.step(pong(1), 1)).toEqual([])
    expect(links.step({ type: 'silence', connection: 2 }, 1)).toEqual([])
    expect(links.step({ type: 'drop', peer: z }, 1)).toEqual([])
    expect(links.nextDeadline()).toBeUndefined()
  })
})

describe('two connections', () => {
  it('dialled by both: the one that the smaller id dialled, once it answers', () => {
    const links = create(m)
    links.step(open(z, 1, { isOutbound: false }), 0)
    links.step(pong(1), 0)
    expect(links.step(open(z, 2, { isOutbound: true }), 10)).toEqual([
      { type: 'ping', connection: 1 },
      { type: 'ping', connection: 2 },
    ])
    expect(links.used(z)).toBe(1)
    expect(links.step(pong(1), 20)).toEqual([])
    expect(links.step(pong(2), 30)).toEqual([{ type: 'use', peer: z, connection: 2 }])
    // Answers under way on the old one arrive meanwhile.
    expect(links.step({ type: 'tick' }, 1_029)).toEqual([])
    expect(links.step({ type: 'tick' }, 1_030)).toEqual([{ type: 'close', connection: 1 }])
    expect(links.used(z)).toBe(2)
  })

  it('the one that the smaller id dialled stays when the other comes later', () => {
    const links = create(m)
    links.step(open(z, 1, { isOutbound: true }), 0)
    links.step(open(z, 2, { isOutbound: false }), 10)
    expect(links.step(pong(1), 20)).toEqual([])
    expect(links.step(pong(2), 20)).toEqual([])
    expect(links.used(z)).toBe(1)
    expect(links.step({ type: 'tick' }, 1_020)).toEqual([{ type: 'close', connection: 2 }])
  })

  it('the greater id comes to the same, and closes nothing', () => {
    const links = create(m)
    links.step(open(a, 1, { isOutbound: true }), 0)
    links.step(pong(1), 0)
    links.step(open(a, 2, { isOutbound: false }), 10)
    expect(links.step(pong(2), 20)).toEqual([{ type: 'use', peer: a, connection: 2 }])
    links.step(pong(1), 20)
    expect(links.step({ type: 'tick' }, 2_000)).toEqual([])
    expect(links.step({ type: 'closed', connection: 1 }, 2_000)).toEqual([])
    expect(links.used(a)).toBe(2)
  })

  it('the used one is dead: the other, as soon as it answers', () => {
    const links = create(m)
    links.step(open(z, 1, { isOutbound: true }), 0)
    links.step(pong(1), 0)
    links.step({ type: 'tick' }, 5_000)
    links.step(open(z, 2, { isOutbound: false }), 5_000)
    expect(links.step(pong(2), 10)).toEqual([{ type: 'use', peer: z, connection: 2 }])
    expect(links.step({ type: 'silence', connection: 1 }, 20)).toEqual([
      { type: 'cut', connection: 1, why: 'silent' },
    ])
  })

  it('a direct one goes before a relayed one', () => {
    const links = create(m)
    links.step(open(z, 1, { isRelayed: true }), 0)
    links.step(open(z, 2, { isOutbound: false }), 0)
    links.step(pong(1), 0)
    expect(links.step(pong(2), 0)).toEqual([{ type: 'use', peer: z, connection: 2 }])
  })

  it('of one dialler, the newer', () => {
    const links = create(m)
    links.step(open(z, 1), 0)
    links.step(pong(1), 0)
    links.step(open(z, 2), 0)
    expect(links.step(pong(2), 0)).toEqual([{ type: 'use', peer: z, connection: 2 }])
  })

  it('one that lingers and is needed again stays', () => {
    const links = create(m)
    links.step(open(z, 1, { isOutbound: false }), 0)
    links.step(open(z, 2), 0)
    links.step(pong(1), 0)
    links.step(pong(2), 0)
    const closed = links.step({ type: 'closed', connection: 2 }, 500)
    expect(closed).toEqual([{ type: 'use', peer: z, connection: 1 }])
    const later = links.step({ type: 'tick' }, 1_500)
    expect(later.map(({ type }) => type)).not.toContain('close')
    expect(links.used(z)).toBe(1)
  })

  it('past the bound: cut, and nothing else changes', () => {
    const links = create()
    for (const connection of [1, 2, 3]) links.step(open(z, connection), 0)
    expect(links.step(open(z, 4), 0)).toEqual([{ type: 'cut', connection: 4, why: 'too-many' }])
    expect(links.step({ type: 'closed', connection: 4 }, 0)).toEqual([])
    expect(links.used(z)).toBe(1)
  })
})
