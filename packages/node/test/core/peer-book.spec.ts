import type { NodeId } from '@mycelium/interface'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  ADDRESSES_MAX,
  AHEAD_MS_MAX,
  type Announcement,
  ANNOUNCEMENTS_MAX,
  PeerBook,
  type PeerBookEffect,
  PEERS_MAX,
  REPEAT_MS,
} from '../../src/core/peer-book.ts'

const id = (name: string): NodeId => name as NodeId
const time = { now: 0, unixMs: 1_000 }
const addresses = ['/ip4/10.0.0.1/tcp/1']
const of = (node: string, version: number): Announcement => ({
  node: id(node),
  version,
  addresses: [`/ip4/10.0.0.1/tcp/${version}`],
})

const told = (by: string, ...announcements: Announcement[]) =>
  ({ type: 'told', by: id(by), announcements }) as const

const tells = (effects: readonly PeerBookEffect[]) =>
  effects.flatMap((effect) => (effect.type === 'tell' ? [effect] : []))

describe('peer book', () => {
  it('announces its addresses when they change, and all it knows to who comes', () => {
    const book = new PeerBook(id('a'))
    expect(book.step({ type: 'self', addresses }, time)).toEqual([{ type: 'changed' }])
    expect(book.step({ type: 'self', addresses }, time)).toEqual([])
    const announcements = [{ node: 'a', version: 1_000, addresses }]
    expect(book.step({ type: 'up', peer: id('b') }, time)).toEqual([
      { type: 'tell', to: 'b', announcements },
    ])
    const effects = book.step({ type: 'self', addresses: ['/ip4/10.0.0.2/tcp/1'] }, time)
    expect(tells(effects)).toMatchObject([{ to: 'b', announcements: [{ version: 1_001 }] }])
  })

  it('passes on what is newer, to everybody but who told it', () => {
    const book = new PeerBook(id('a'))
    for (const peer of ['b', 'c']) book.step({ type: 'up', peer: id(peer) }, time)
    expect(book.step(told('b', of('d', 7)), time)).toEqual([
      { type: 'changed' },
      { type: 'learn', node: 'd', addresses: ['/ip4/10.0.0.1/tcp/7'] },
      { type: 'tell', to: 'c', announcements: [of('d', 7)] },
    ])
    expect(book.step(told('c', of('d', 7)), time)).toEqual([])
    expect(book.step(told('c', of('d', 6)), time)).toEqual([])
    expect(book.addressesOf(id('d'))).toEqual(['/ip4/10.0.0.1/tcp/7'])
  })

  it('outdoes what others remember of an earlier life', () => {
    const book = new PeerBook(id('a'))
    book.step({ type: 'self', addresses }, time)
    book.step({ type: 'up', peer: id('b') }, time)
    const effects = book.step(told('b', of('a', 5_000)), time)
    expect(tells(effects)).toMatchObject([
      { to: 'b', announcements: [{ node: 'a', version: 5_001, addresses }] },
    ])
    expect(book.step(told('b', of('a', 5_001)), time)).toEqual([])
  })

  it('bounds what it is told', () => {
    const book = new PeerBook(id('a'))
    expect(book.step(told('b', of('c', time.unixMs + AHEAD_MS_MAX + 1)), time)).toEqual([])
    const many = Array.from({ length: PEERS_MAX + 1 }, (_, at) => of(`n${at}`, 1))
    for (let at = 0; at < many.length; at += ANNOUNCEMENTS_MAX) {
      book.step(told('b', ...many.slice(at, at + ANNOUNCEMENTS_MAX)), time)
    }
    expect(book.announcements).toHaveLength(PEERS_MAX)
    expect(book.step(told('b', of('n0', 2)), time)).not.toEqual([]) // known ones may change
    const long = Array.from({ length: ADDRESSES_MAX + 1 }, (_, at) => `/ip4/10.0.0.1/tcp/${at}`)
    book.step(told('b', { node: id('n1'), version: 9, addresses: ['no address', ...long] }), time)
    expect(book.addressesOf(id('n1'))).toEqual(long.slice(0, ADDRESSES_MAX))
    const calls = tells(book.step({ type: 'up', peer: id('c') }, time))
    expect(calls.every(({ announcements }) => announcements.length <= ANNOUNCEMENTS_MAX)).toBe(true)
  })

  it('tells everything again, to one peer after the other', () => {
    const book = new PeerBook(id('a'))
    book.step({ type: 'self', addresses }, time)
    for (const peer of ['b', 'c']) book.step({ type: 'up', peer: id(peer) }, time)
    const turns: NodeId[] = []
    for (let turn = 1; turn <= 4; turn++) {
      const at = { ...time, now: book.nextDeadline() ?? 0 }
      expect(at.now).toBe(turn * REPEAT_MS)
      turns.push(...tells(book.step({ type: 'tick' }, at)).map(({ to }) => to))
    }
    expect(turns).toEqual(['b', 'c', 'b', 'c'])
    for (const peer of ['b', 'c']) book.step({ type: 'down', peer: id(peer) }, time)
    expect(book.nextDeadline()).toBeUndefined()
  })

  it('starts from what was kept', () => {
    const book = new PeerBook(id('a'), [of('a', 9_000), of('b', 1)])
    expect(book.addressesOf(id('b'))).toEqual(of('b', 1).addresses)
    book.step({ type: 'self', addresses }, time)
    expect(book.announcements).toEqual([{ node: 'a', version: 1_000, addresses }, of('b', 1)])
    expect(book.others).toEqual([of('b', 1)])
  })
})

it('all know all in the end, over any connected graph, though messages are lost', () => {
  const graph = fc
    .integer({ min: 2, max: 12 })
    .chain((size) =>
      fc.tuple(
        fc.tuple(...Array.from({ length: size - 1 }, (_, at) => fc.nat(at))),
        fc.array(fc.tuple(fc.nat(size - 1), fc.nat(size - 1))),
        fc.infiniteStream(fc.boolean()),
      ),
    )
  fc.assert(
    fc.property(graph, ([parents, extra, losses]) => {
      const size = parents.length + 1
      const tree = parents.map((parent, at) => [parent, at + 1] as const)
      const edges = [...tree, ...extra.filter(([one, other]) => one !== other)]
      const books = Array.from({ length: size }, (_, at) => new PeerBook(id(`n${at}`)))
      const queue: { readonly from: number; readonly effect: PeerBookEffect }[] = []
      let now = 0
      const step = (at: number, input: Parameters<PeerBook['step']>[0]): void => {
        const effects = books[at]?.step(input, { now, unixMs: 1_000 + now }) ?? []
        queue.push(...effects.map((effect) => ({ from: at, effect })))
      }
      const deliver = (isLossy: boolean): void => {
        for (let count = 0; queue.length > 0; count++) {
          expect(count, 'messages').toBeLessThan(20_000)
          const { from, effect } = queue.shift() ?? {}
          if (effect?.type !== 'tell' || (isLossy && losses.next().value)) continue
          const by = id(`n${from}`)
          step(Number(effect.to.slice(1)), {
            type: 'told',
            by,
            announcements: effect.announcements,
          })
        }
      }
      for (let at = 0; at < size; at++) {
        step(at, { type: 'self', addresses: [`/ip4/10.0.0.${at}/tcp/1`] })
      }
      for (const [one, other] of edges) {
        step(one, { type: 'up', peer: id(`n${other}`) })
        step(other, { type: 'up', peer: id(`n${one}`) })
      }
      deliver(true)
      for (let round = 0; round < size * size; round++) {
        now += REPEAT_MS
        for (let at = 0; at < size; at++) step(at, { type: 'tick' })
        deliver(false)
      }
      for (const book of books) expect(book.announcements).toHaveLength(size)
    }),
  )
})
