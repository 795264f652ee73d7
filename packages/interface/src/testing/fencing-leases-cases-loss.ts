import assert from 'node:assert/strict'
import type { ComplianceCase } from '../base.ts'
import {
  atOnce,
  codeOf,
  elapseUntil,
  leaseCase,
  lostOf,
  NAME,
  record,
  rejectsWithCode,
  textOf,
  waiting,
} from './fencing-leases-kit.ts'
import type { FencingLeasesSetup } from './fencing-leases-setup.ts'

const time = [
  leaseCase('a lease renews itself: many times to live, one holder', async (cast) => {
    const { setup, ttlMs } = cast
    const lease = await cast.a.acquire(NAME, atOnce(cast))
    const first = lease.validUntil
    let last = first
    for (let step = 0; step < 40; step++) {
      await setup.elapse(ttlMs / 10)
      assert.ok(lease.validUntil >= last, 'validUntil went back')
      last = lease.validUntil
    }
    assert.ok(last > first)
    assert.equal(lease.lost.aborted, false)
    await rejectsWithCode(cast.b.acquire(NAME, atOnce(cast)), 'ERR_LEASE_HELD')
  }),
  leaseCase('a holder that is cut off loses; nobody is granted before', async (cast) => {
    const { setup } = cast
    const lease = await cast.a.acquire(NAME, atOnce(cast))
    let losses = 0
    lease.lost.addEventListener('abort', () => {
      losses++
    })
    const waited = cast.b.acquire(NAME, waiting(cast)).then((next) => {
      // Read together: this is the moment of the grant or a later one.
      return { next, at: setup.clock.now(), validUntil: lease.validUntil }
    })
    await cast.b.read(NAME)
    await setup.setConnected(0, false)
    const { next, at, validUntil } = await elapseUntil(cast, waited)
    assert.ok(at >= validUntil, `granted at ${at}, the old holder was valid until ${validUntil}`)
    assert.ok(next.epoch > lease.epoch)
    assert.equal(codeOf(await lostOf(lease)), 'ERR_LEASE_LOST')
    assert.equal(lease.validUntil, validUntil, 'a lost lease grew')
    await setup.setConnected(0, true)
    await setup.elapse(cast.ttlMs)
    assert.equal(losses, 1)
    assert.equal(lease.validUntil, validUntil, 'a lost lease came back')
  }),
  leaseCase('a candidate wins with the version that it read while the other held', async (cast) => {
    await cast.a.acquire(NAME, atOnce(cast, 'in sync: b'))
    const { version } = await cast.b.read(NAME)
    const waited = cast.b.acquire(NAME, { ...waiting(cast, 'b'), expectVersion: version })
    await cast.b.read(NAME)
    await cast.setup.setConnected(0, false)
    await elapseUntil(cast, waited)
    assert.equal(textOf(await cast.c.read(NAME)), 'b')
  }),
  leaseCase('a waiting candidate is refused when the record changes under it', async (cast) => {
    const lease = await cast.a.acquire(NAME, atOnce(cast, 'in sync: b'))
    const { version } = await cast.b.read(NAME)
    const waited = cast.b.acquire(NAME, { ...waiting(cast, 'b'), expectVersion: version })
    const refused = rejectsWithCode(waited, 'ERR_LEASE_CHANGED')
    await cast.b.read(NAME)
    await lease.update(record('in sync: nobody'))
    await cast.setup.setConnected(0, false)
    await elapseUntil(cast, refused)
  }),
  leaseCase('disposing does not release: the lease runs out', async (cast) => {
    const lease = await cast.a.acquire(NAME, atOnce(cast))
    await lease[Symbol.asyncDispose]()
    assert.equal((await cast.b.read(NAME)).holder, cast.setup.clients[0]?.self)
    const waited = cast.b.acquire(NAME, waiting(cast))
    const next = await elapseUntil(cast, waited)
    assert.ok(cast.setup.clock.now() >= lease.validUntil)
    assert.ok(next.epoch > lease.epoch)
  }),
]

const fencing = [
  leaseCase('an old holder can neither update, release nor transfer', async (cast) => {
    const { setup } = cast
    const old = await cast.a.acquire(NAME, atOnce(cast, 'a'))
    const waited = cast.b.acquire(NAME, waiting(cast, 'b'))
    await cast.b.read(NAME)
    await setup.setConnected(0, false)
    const next = await elapseUntil(cast, waited)
    await setup.setConnected(0, true)
    await elapseUntil(cast, cast.a.read(NAME))
    await assert.rejects(old.update(record('a again')))
    await assert.rejects(old.transfer(cast.third))
    await old.release().catch(() => {}) // refused or nothing to do: the view below decides
    const view = await cast.c.read(NAME)
    assert.equal(view.epoch, next.epoch)
    assert.equal(view.holder, setup.clients[1]?.self)
    assert.equal(textOf(view), 'b')
    assert.equal(next.lost.aborted, false)
  }),
  leaseCase('a holder that comes back in time keeps its lease', async (cast) => {
    const lease = await cast.a.acquire(NAME, atOnce(cast))
    const waited = new AbortController()
    const refused = cast.b.acquire(NAME, waiting(cast), { signal: waited.signal })
    const outcome = refused.then(
      () => 'granted',
      () => 'aborted',
    )
    await cast.setup.setConnected(0, false)
    await cast.setup.setConnected(0, true)
    await elapseUntil(cast, cast.a.read(NAME))
    if (!lease.lost.aborted) {
      for (let step = 0; step < 20; step++) await cast.setup.elapse(cast.ttlMs / 10)
      assert.equal(lease.lost.aborted, false)
    }
    waited.abort()
    if (!lease.lost.aborted) assert.equal(await outcome, 'aborted')
  }),
]

const transferring = [
  leaseCase('transfer: one step, the target holds with a new epoch', async (cast) => {
    const { setup } = cast
    const old = await cast.a.acquire(NAME, atOnce(cast, 'kept'))
    const target = setup.clients[1]?.self
    assert.ok(target !== undefined)
    const third = new AbortController()
    const robbed = cast.c.acquire(NAME, waiting(cast), { signal: third.signal })
    const outcome = robbed.then(
      () => 'granted',
      () => 'aborted',
    )
    await cast.c.read(NAME)
    const epoch = await old.transfer(target)
    assert.ok(epoch > old.epoch)
    assert.equal(codeOf(await lostOf(old)), 'ERR_LEASE_LOST')
    const view = await cast.c.read(NAME)
    assert.equal(view.holder, target)
    assert.equal(view.epoch, epoch)
    assert.equal(textOf(view), 'kept')
    const lease = await cast.b.acquire(NAME, atOnce(cast, 'b'))
    assert.ok(lease.epoch >= epoch)
    await rejectsWithCode(cast.a.acquire(NAME, atOnce(cast)), 'ERR_LEASE_HELD')
    third.abort()
    assert.equal(await outcome, 'aborted')
  }),
  leaseCase('transfer to a node that already waits', async (cast) => {
    const target = cast.setup.clients[1]?.self
    assert.ok(target !== undefined)
    const old = await cast.a.acquire(NAME, atOnce(cast))
    const waited = cast.b.acquire(NAME, waiting(cast, 'b'))
    await cast.b.read(NAME)
    const epoch = await old.transfer(target)
    const lease = await waited
    assert.ok(lease.epoch >= epoch)
    assert.equal((await cast.c.read(NAME)).holder, target)
    await rejectsWithCode(cast.c.acquire(NAME, atOnce(cast)), 'ERR_LEASE_HELD')
  }),
]

const restarting = [
  leaseCase('after a restart the holder, epoch and record are known', async (cast) => {
    const lease = await cast.a.acquire(NAME, atOnce(cast, 'durable'))
    await lease.update(record('durable too'))
    await cast.setup.restartGrantor()
    const view = await elapseUntil(cast, cast.b.read(NAME))
    assert.equal(view.epoch, lease.epoch)
    assert.equal(view.holder, cast.setup.clients[0]?.self)
    assert.equal(textOf(view), 'durable too')
  }),
  leaseCase('after a restart nobody is granted for one time to live', async (cast) => {
    const { setup, ttlMs } = cast
    const lease = await cast.a.acquire(NAME, atOnce(cast))
    await setup.setConnected(0, false)
    const restartedAfter = setup.clock.now()
    await setup.restartGrantor()
    const waited = cast.b.acquire(NAME, waiting(cast)).then((next) => {
      return { next, at: setup.clock.now() }
    })
    const { next, at } = await elapseUntil(cast, waited)
    assert.ok(at >= restartedAfter + ttlMs, `granted ${at - restartedAfter} ms after the restart`)
    assert.ok(at >= lease.validUntil)
    assert.ok(next.epoch > lease.epoch)
  }),
  leaseCase('epochs never repeat, also over restarts with a free name', async (cast) => {
    let last = 0n
    for (let round = 0; round < 3; round++) {
      const lease = await elapseUntil(cast, cast.a.acquire(NAME, waiting(cast)))
      assert.ok(lease.epoch > last)
      last = lease.epoch
      await lease.release()
      await cast.setup.restartGrantor()
      assert.equal((await elapseUntil(cast, cast.b.read(NAME))).epoch, last)
    }
  }),
]

export const lossCases: readonly ComplianceCase<FencingLeasesSetup>[] = [
  ...time,
  ...fencing,
  ...transferring,
  ...restarting,
]
