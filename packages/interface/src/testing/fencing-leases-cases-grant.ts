import assert from 'node:assert/strict'
import type { ComplianceCase } from '../base.ts'
import type { LeaseView } from '../fencing-leases.ts'
import {
  atOnce,
  codeOf,
  leaseCase,
  lostOf,
  NAME,
  record,
  rejectsWithCode,
  textOf,
  waiting,
} from './fencing-leases-kit.ts'
import type { FencingLeasesSetup } from './fencing-leases-setup.ts'

const granting = [
  leaseCase('a name that nobody asked for is free, with epoch 0', async ({ a, setup }) => {
    const view = await a.read(NAME)
    assert.equal(view.name, NAME)
    assert.equal(view.epoch, 0n)
    assert.equal(view.holder, undefined)
    assert.equal(view.record.byteLength, 0)
    assert.ok(setup.clients.length >= 3)
  }),
  leaseCase('a grant is seen by everybody, with holder, epoch and record', async (cast) => {
    const { a, b, setup, ttlMs } = cast
    const before = setup.clock.now()
    const lease = await a.acquire(NAME, atOnce(cast, 'hello'))
    assert.equal(lease.name, NAME)
    assert.ok(lease.epoch >= 1n)
    assert.ok(lease.validUntil > before)
    assert.ok(lease.validUntil <= setup.clock.now() + ttlMs)
    assert.equal(lease.lost.aborted, false)
    for (const view of [await a.read(NAME), await b.read(NAME)]) {
      assert.equal(view.epoch, lease.epoch)
      assert.equal(view.holder, setup.clients[0]?.self)
      assert.equal(textOf(view), 'hello')
    }
  }),
  leaseCase('held by another and wait: false gives ERR_LEASE_HELD', async (cast) => {
    await cast.a.acquire(NAME, atOnce(cast))
    await rejectsWithCode(cast.b.acquire(NAME, atOnce(cast)), 'ERR_LEASE_HELD')
    await rejectsWithCode(cast.c.acquire(NAME, atOnce(cast)), 'ERR_LEASE_HELD')
  }),
  leaseCase('names do not hinder each other', async (cast) => {
    const leases = [
      await cast.a.acquire('vm/one', atOnce(cast)),
      await cast.b.acquire('vm/two', atOnce(cast)),
      await cast.a.acquire('vm/three', atOnce(cast)),
    ]
    assert.deepEqual(
      leases.map(({ name }) => name),
      ['vm/one', 'vm/two', 'vm/three'],
    )
    assert.ok(leases.every(({ lost }) => !lost.aborted))
  }),
  leaseCase('release frees at once; epochs strictly grow across holders', async (cast) => {
    const epochs: bigint[] = []
    for (const node of [cast.a, cast.b, cast.c, cast.a]) {
      const lease = await node.acquire(NAME, atOnce(cast))
      epochs.push(lease.epoch)
      await lease.release()
      assert.equal((await cast.b.read(NAME)).holder, undefined)
    }
    assert.deepEqual(epochs, [...new Set(epochs)].sort(ascending))
    assert.equal((await cast.a.read(NAME)).epoch, epochs.at(-1))
  }),
  leaseCase('release is the end of the lease: lost aborts', async (cast) => {
    const lease = await cast.a.acquire(NAME, atOnce(cast))
    await lease.release()
    assert.equal(codeOf(await lostOf(lease)), 'ERR_LEASE_LOST')
    await assert.rejects(lease.update(record('late')))
  }),
  leaseCase('acquire waits for the release of another', async (cast) => {
    const held = await cast.a.acquire(NAME, atOnce(cast))
    const waited = cast.b.acquire(NAME, waiting(cast, 'b'))
    await cast.b.read(NAME)
    await held.release()
    const lease = await waited
    assert.ok(lease.epoch > held.epoch)
    assert.equal(textOf(await cast.a.read(NAME)), 'b')
  }),
  leaseCase('abort of a waiting acquire: signal.reason, and no lease later', async (cast) => {
    const held = await cast.a.acquire(NAME, atOnce(cast))
    const controller = new AbortController()
    const reason = new Error('never mind')
    const waited = cast.b.acquire(NAME, waiting(cast), { signal: controller.signal })
    await cast.b.read(NAME)
    controller.abort(reason)
    await assert.rejects(waited, reason)
    const signal = AbortSignal.abort(reason)
    await assert.rejects(cast.b.acquire(NAME, atOnce(cast), { signal }), reason)
    await cast.b.read(NAME) // what b said before has arrived
    await held.release()
    await cast.c.acquire(NAME, atOnce(cast))
  }),
  leaseCase('limits are checked: time to live, record', async ({ a, ttlMs }) => {
    const none = record('')
    for (const wrong of [0, 99, 60_001, NaN]) {
      await assert.rejects(a.acquire(NAME, { ttlMs: wrong, record: none }), RangeError)
    }
    const longest = new Uint8Array(4_096)
    await assert.rejects(a.acquire(NAME, { ttlMs, record: new Uint8Array(4_097) }), RangeError)
    const lease = await a.acquire(NAME, { ttlMs, record: longest })
    await assert.rejects(lease.update(new Uint8Array(4_097)), RangeError)
    assert.equal((await a.read(NAME)).record.byteLength, 4_096)
  }),
]

function ascending(a: bigint, b: bigint): number {
  return a < b ? -1 : Number(a > b)
}

const conditions = [
  leaseCase('expectVersion: granted when nothing changed', async (cast) => {
    const { version } = await cast.b.read(NAME)
    await cast.b.acquire(NAME, { ...atOnce(cast), expectVersion: version })
  }),
  leaseCase('expectVersion: ERR_LEASE_CHANGED after any change', async (cast) => {
    const { version } = await cast.b.read(NAME)
    const lease = await cast.a.acquire(NAME, atOnce(cast))
    const granted = await cast.b.read(NAME)
    await lease.update(record('other'))
    const updated = await cast.b.read(NAME)
    await lease.release()
    const released = await cast.b.read(NAME)
    const versions = [version, granted.version, updated.version, released.version]
    assert.deepEqual(versions, [...new Set(versions)].sort(ascending))
    for (const old of versions.slice(0, 3)) {
      const init = { ...atOnce(cast), expectVersion: old }
      await rejectsWithCode(cast.b.acquire(NAME, init), 'ERR_LEASE_CHANGED')
    }
    await cast.b.acquire(NAME, { ...atOnce(cast), expectVersion: released.version })
  }),
  leaseCase('expectVersion: of two candidates one wins', async (cast) => {
    const { version } = await cast.a.read(NAME)
    const init = { ...atOnce(cast), expectVersion: version }
    const outcomes = await Promise.allSettled(
      [cast.a, cast.b, cast.c].map(async (node) => await node.acquire(NAME, init)),
    )
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') assert.equal(codeOf(outcome.reason), 'ERR_LEASE_CHANGED')
    }
  }),
]

const updating = [
  leaseCase('an update is seen by every later read and acquire', async (cast) => {
    const lease = await cast.a.acquire(NAME, atOnce(cast, 'first'))
    const before = await cast.b.read(NAME)
    await lease.update(record('second'))
    const after = await cast.b.read(NAME)
    assert.equal(textOf(after), 'second')
    assert.equal(after.epoch, lease.epoch)
    assert.ok(after.version > before.version)
    const init = { ...atOnce(cast), expectVersion: before.version }
    await rejectsWithCode(cast.b.acquire(NAME, init), 'ERR_LEASE_CHANGED')
  }),
  leaseCase('a record survives the release until the next holder', async (cast) => {
    const lease = await cast.a.acquire(NAME, atOnce(cast, 'kept'))
    await lease.release()
    assert.equal(textOf(await cast.b.read(NAME)), 'kept')
    await cast.b.acquire(NAME, atOnce(cast, 'new'))
    assert.equal(textOf(await cast.a.read(NAME)), 'new')
  }),
  leaseCase('the record belongs to the caller again after the call', async (cast) => {
    const bytes = record('mine')
    const lease = await cast.a.acquire(NAME, { ...atOnce(cast), record: bytes })
    bytes.fill(0)
    const next = record('next')
    const updated = lease.update(next)
    await updated
    next.fill(0)
    assert.equal(textOf(await cast.b.read(NAME)), 'next')
  }),
]

const watching = [
  leaseCase('watch gives views in order and reaches the newest', async (cast) => {
    const controller = new AbortController()
    const views: LeaseView[] = []
    const reached = (async () => {
      for await (const view of cast.c.watch(NAME, { signal: controller.signal })) {
        views.push(view)
        if (view.holder === undefined && view.epoch === 2n) return
      }
    })()
    const first = await cast.a.acquire(NAME, atOnce(cast, '0'))
    for (let index = 1; index <= 5; index++) await first.update(record(String(index)))
    await first.release()
    const second = await cast.b.acquire(NAME, atOnce(cast, 'b'))
    assert.equal(second.epoch, 2n, 'an epoch is the one before + 1 when nothing was lost')
    await second.release()
    await reached
    const versions = views.map(({ version }) => version)
    assert.deepEqual(versions, [...new Set(versions)].sort(ascending))
    assert.equal(views.at(-1)?.version, (await cast.a.read(NAME)).version)
  }),
  leaseCase('a watch ends with signal.reason', async (cast) => {
    const controller = new AbortController()
    const reason = new Error('seen enough')
    const watched = (async () => {
      for await (const { name } of cast.b.watch(NAME, { signal: controller.signal })) {
        assert.equal(name, NAME)
      }
    })()
    await cast.b.read(NAME)
    controller.abort(reason)
    await assert.rejects(watched, reason)
  }),
]

export const grantCases: readonly ComplianceCase<FencingLeasesSetup>[] = [
  ...granting,
  ...conditions,
  ...updating,
  ...watching,
]
