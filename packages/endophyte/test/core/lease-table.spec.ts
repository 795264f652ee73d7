import assert from 'node:assert/strict'
import { describe, test } from 'vitest'
import {
  LEASE_NAMES_MAX,
  LEASE_WAITERS_MAX,
  LEASE_WATCHERS_MAX,
} from '../../src/core/lease-table.ts'
import { Grantor, TTL_MS, a, acquireOf, b, c, token } from './lease-table-kit.ts'

const claim = (holder: typeof a, number: number, epoch: bigint) =>
  ({ name: 'x', epoch, holder, token: token(number) }) as const
const refused = (why: string) => ({ kind: 'refused', why })
const granted = (epoch: bigint) => ({ kind: 'granted', epoch })

describe('grants', () => {
  test('a grant is persisted before it is told, and the persisted epoch is the told one', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    assert.deepEqual(
      grantor.effects.map((effect) => effect.type),
      ['persist', 'reply'],
    )
    assert.equal(grantor.disk.get('x')?.epoch, 1n)
    assert.deepEqual(grantor.replies.get(0), granted(1n))
  })

  test('another is refused, or waits until the time to live has passed to the moment', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    assert.deepEqual(grantor.reply(acquireOf(b, 2, { wait: false })), refused('held'))
    const waiting = grantor.ask(acquireOf(b, 3))
    grantor.elapse(TTL_MS - 1)
    assert.equal(grantor.replies.get(waiting), undefined)
    grantor.elapse(1)
    assert.deepEqual(grantor.replies.get(waiting), granted(2n))
  })

  test('who does not wait is refused until the very moment, and granted in it', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    grantor.elapse(TTL_MS - 1)
    assert.deepEqual(grantor.reply(acquireOf(b, 2, { wait: false })), refused('held'))
    grantor.elapse(1)
    assert.deepEqual(grantor.reply(acquireOf(b, 2, { wait: false })), granted(2n))
  })

  test('the time to live counts from the processing of the last renewal', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    const waiting = grantor.ask(acquireOf(b, 2))
    grantor.elapse(900)
    assert.deepEqual(grantor.reply({ op: 'renew', ...claim(a, 1, 1n) }), { kind: 'renewed' })
    grantor.elapse(TTL_MS - 1)
    assert.equal(grantor.replies.get(waiting), undefined)
    grantor.elapse(1)
    assert.deepEqual(grantor.replies.get(waiting), granted(2n))
  })

  test('who waits longest is served first, and a repeated request keeps its place', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    const first = grantor.ask(acquireOf(b, 2))
    const second = grantor.ask(acquireOf(c, 3))
    const firstAgain = grantor.ask(acquireOf(b, 2))
    grantor.elapse(TTL_MS)
    assert.deepEqual(grantor.replies.get(firstAgain), granted(2n))
    assert.equal(grantor.replies.get(first), undefined)
    assert.equal(grantor.replies.get(second), undefined)
  })

  test('who waits is served before who comes in the moment in which it runs out', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    const waiting = grantor.ask(acquireOf(b, 2))
    grantor.now = TTL_MS // the tick is late
    const late = grantor.ask(acquireOf(c, 3))
    assert.deepEqual(grantor.replies.get(waiting), granted(2n))
    assert.equal(grantor.replies.get(late), undefined)
  })

  test('a repeated request finds its grant, with the same epoch, and renews it', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    grantor.elapse(900)
    assert.deepEqual(grantor.reply(acquireOf(a, 1)), granted(1n))
    grantor.elapse(900)
    assert.deepEqual(grantor.reply(acquireOf(b, 2, { wait: false })), refused('held'))
  })

  test('a late copy of a request whose grant was released gets nothing', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    grantor.ask({ op: 'release', ...claim(a, 1, 1n) })
    assert.deepEqual(grantor.reply(acquireOf(a, 1)), refused('lost'))
    assert.deepEqual(grantor.reply(acquireOf(b, 2)), granted(2n))
  })

  test('the same node in another process waits like anybody', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    assert.deepEqual(grantor.reply(acquireOf(a, 2, { wait: false })), refused('held'))
  })

  test('a conditional acquire wins only if nothing changed, also while it waits', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    assert.deepEqual(grantor.reply(acquireOf(b, 2, { expectVersion: 0n })), refused('changed'))
    const stale = grantor.ask(acquireOf(b, 3, { expectVersion: 1n }))
    grantor.ask({ op: 'update', ...claim(a, 1, 1n), sequence: 1, record: new Uint8Array(3) })
    assert.deepEqual(grantor.replies.get(stale), refused('changed'))
    const fresh = grantor.ask(acquireOf(b, 4, { expectVersion: 2n }))
    const late = grantor.ask(acquireOf(c, 5, { expectVersion: 2n }))
    grantor.elapse(TTL_MS)
    assert.deepEqual(grantor.replies.get(fresh), granted(2n), 'running out is no change')
    assert.deepEqual(grantor.replies.get(late), refused('changed'))
  })

  test('who stopped waiting is not granted anything', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    const waiting = grantor.ask(acquireOf(b, 2))
    grantor.step({ type: 'cancel', key: waiting })
    assert.deepEqual(grantor.replies.get(waiting), refused('held'))
    assert.equal(grantor.table.nextDeadline(), undefined)
    grantor.elapse(2 * TTL_MS)
    assert.deepEqual(grantor.reply(acquireOf(c, 3)), granted(2n))
  })
})

describe('claims', () => {
  test('a renewal with a wrong epoch, holder or token, or too late, is refused', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    for (const wrong of [claim(a, 1, 2n), claim(b, 1, 1n), claim(a, 2, 1n)]) {
      assert.deepEqual(grantor.reply({ op: 'renew', ...wrong }), refused('lost'))
    }
    grantor.elapse(TTL_MS)
    assert.deepEqual(grantor.reply({ op: 'renew', ...claim(a, 1, 1n) }), refused('lost'))
  })

  test('an update replaces the record once, and a late older copy does not bring it back', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    const update = (sequence: number) =>
      ({
        op: 'update',
        ...claim(a, 1, 1n),
        sequence,
        record: new Uint8Array([sequence]),
      }) as const
    assert.deepEqual(grantor.reply(update(1)), { kind: 'updated' })
    assert.deepEqual(grantor.reply(update(2)), { kind: 'updated' })
    assert.deepEqual(grantor.reply(update(2)), { kind: 'updated' })
    assert.deepEqual(grantor.reply(update(1)), refused('changed'))
    const entry = grantor.disk.get('x')
    assert.deepEqual([entry?.version, entry?.record], [3n, new Uint8Array([2])])
  })

  test('a release needs epoch, holder and token, keeps the record, and serves who waits', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    const waiting = grantor.ask(acquireOf(b, 2))
    for (const wrong of [claim(a, 1, 2n), claim(b, 1, 1n), claim(a, 2, 1n)]) {
      assert.deepEqual(grantor.reply({ op: 'release', ...wrong }), refused('lost'))
    }
    const release = { op: 'release', ...claim(a, 1, 1n) } as const
    assert.deepEqual(grantor.reply(release), { kind: 'released' })
    assert.deepEqual(grantor.replies.get(waiting), granted(2n))
    assert.deepEqual(grantor.reply(release), refused('lost'), 'a copy cannot hurt the next')
  })

  test('a released lease shows its last record, no holder and a new version', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    const release = { op: 'release', ...claim(a, 1, 1n) } as const
    grantor.ask(release)
    assert.deepEqual(grantor.reply(release), { kind: 'released' }, 'a copy')
    assert.deepEqual(grantor.reply({ op: 'read', name: 'x' }), {
      kind: 'view',
      view: { name: 'x', epoch: 1n, version: 2n, record: new Uint8Array([1]) },
    })
  })
})

describe('hand-over', () => {
  test('the target claims the epoch that the source was told; a third waits', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    const third = grantor.ask(acquireOf(c, 3))
    const transfer = { op: 'transfer', ...claim(a, 1, 1n), to: b } as const
    assert.deepEqual(grantor.reply(transfer), { kind: 'transferred', epoch: 2n })
    assert.deepEqual(grantor.reply(transfer), { kind: 'transferred', epoch: 2n }, 'a copy')
    assert.deepEqual(grantor.reply({ op: 'renew', ...claim(a, 1, 1n) }), refused('lost'))
    assert.deepEqual(grantor.reply(acquireOf(c, 4, { wait: false })), refused('held'))
    assert.deepEqual(grantor.reply(acquireOf(b, 2)), granted(2n))
    assert.deepEqual(grantor.reply(transfer), { kind: 'transferred', epoch: 2n }, 'a late copy')
    assert.equal(grantor.replies.get(third), undefined)
  })

  test('a target that waits already is granted at once, before those who came first', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    const third = grantor.ask(acquireOf(c, 3))
    const target = grantor.ask(acquireOf(b, 2))
    grantor.ask({ op: 'transfer', ...claim(a, 1, 1n), to: b })
    assert.deepEqual(grantor.replies.get(target), granted(2n))
    assert.equal(grantor.replies.get(third), undefined)
  })

  test('an unclaimed hand-over runs out like any lease', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    grantor.ask({ op: 'transfer', ...claim(a, 1, 1n), to: b })
    const third = grantor.ask(acquireOf(c, 3))
    grantor.elapse(TTL_MS)
    assert.deepEqual(grantor.replies.get(third), granted(3n))
  })
})

describe('restart and failed writes', () => {
  test('after a restart each lease counts as renewed, and epochs go on', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    grantor.elapse(10 * TTL_MS)
    grantor.restart()
    const waiting = grantor.ask(acquireOf(b, 2))
    grantor.elapse(TTL_MS - 1)
    assert.equal(grantor.replies.get(waiting), undefined)
    assert.deepEqual(grantor.reply({ op: 'renew', ...claim(a, 1, 1n) }), { kind: 'renewed' })
    grantor.elapse(TTL_MS)
    assert.deepEqual(grantor.replies.get(waiting), granted(2n))
  })

  test('a change that was not written is undone, and its epoch is used for another', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    grantor.step({ type: 'not-durable', names: ['x'], durable: [], doubt: false })
    assert.deepEqual(grantor.reply(acquireOf(b, 2)), granted(1n))
  })

  test('an update that was not written leaves its holder, who counts as renewed', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    const durable = [...grantor.disk.values()]
    grantor.elapse(900)
    grantor.ask({ op: 'update', ...claim(a, 1, 1n), sequence: 1, record: new Uint8Array(1) })
    grantor.step({ type: 'not-durable', names: ['x'], durable, doubt: false })
    grantor.elapse(900)
    assert.deepEqual(grantor.reply({ op: 'renew', ...claim(a, 1, 1n) }), { kind: 'renewed' })
  })

  test('of a lease in doubt nothing is told any more; others go on', () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 1))
    grantor.ask(acquireOf(a, 1, { name: 'y' }))
    const waiting = grantor.ask(acquireOf(b, 2))
    grantor.step({ type: 'not-durable', names: ['x'], durable: [], doubt: true })
    assert.deepEqual(grantor.replies.get(waiting), refused('unavailable'))
    for (const op of ['read', 'watch'] as const) {
      assert.deepEqual(grantor.reply({ op, name: 'x' }), refused('unavailable'))
    }
    const renewed = grantor.reply({ op: 'renew', ...claim(a, 1, 1n), name: 'y' })
    assert.deepEqual(renewed, { kind: 'renewed' })
  })

  test('a watch that began while a change was not yet written sees what is durable', () => {
    const grantor = new Grantor()
    grantor.ask({ op: 'watch', name: 'x' })
    grantor.ask(acquireOf(a, 1))
    grantor.step({ type: 'not-durable', names: ['x'], durable: [], doubt: false })
    assert.deepEqual(grantor.views, [0n, 1n, 0n])
  })
})

describe('watches and bounds', () => {
  test('a watch sees the present and each change, in order, until it is cancelled', () => {
    const grantor = new Grantor()
    const watch = grantor.ask({ op: 'watch', name: 'x' })
    grantor.ask(acquireOf(a, 1))
    grantor.ask({ op: 'update', ...claim(a, 1, 1n), sequence: 1, record: new Uint8Array(1) })
    grantor.step({ type: 'cancel', key: watch })
    grantor.ask({ op: 'release', ...claim(a, 1, 1n) })
    assert.deepEqual(grantor.views, [0n, 1n, 2n])
    assert.deepEqual(grantor.replies.get(watch), refused('lost'))
  })

  test(`${LEASE_WAITERS_MAX} may wait for a lease, one more is refused`, () => {
    const grantor = new Grantor()
    grantor.ask(acquireOf(a, 255))
    for (let i = 0; i < LEASE_WAITERS_MAX; i++) {
      assert.equal(grantor.reply(acquireOf(b, i)), undefined)
    }
    assert.deepEqual(grantor.reply(acquireOf(b, 254)), refused('full'))
  })

  test(`${LEASE_WATCHERS_MAX} may watch a lease, one more is refused`, () => {
    const grantor = new Grantor()
    for (let i = 0; i < LEASE_WATCHERS_MAX; i++) {
      assert.equal(grantor.reply({ op: 'watch', name: 'x' }), undefined)
    }
    assert.deepEqual(grantor.reply({ op: 'watch', name: 'x' }), refused('full'))
  })

  test(`${LEASE_NAMES_MAX} names fit, one more does not; reading takes no place`, () => {
    const grantor = new Grantor()
    for (let i = 0; i < LEASE_NAMES_MAX; i++) {
      grantor.ask({ op: 'read', name: `read-${i}` })
      assert.deepEqual(grantor.reply(acquireOf(a, 1, { name: `n-${i}` })), granted(1n))
    }
    assert.deepEqual(grantor.reply(acquireOf(a, 1, { name: 'more' })), refused('full'))
    assert.deepEqual(grantor.reply(acquireOf(b, 2, { name: 'n-0', wait: false })), refused('held'))
  })
})
