import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { NodeId } from '@mycelium/interface'
import { test } from 'vitest'
import type { LeaseRequest } from '../../src/core/lease-messages.ts'
import type { LeaseEntry } from '../../src/core/lease-table.ts'
import { Grantor, TTL_MS, acquireOf, token } from './lease-table-kit.ts'

const RUNS = 1_000

/** Each process has a token of its own; several may be of one node. */
const process = fc.integer({ min: 1, max: 4 })
const nodeOf = (number: number): NodeId => `node-${number % 3}` as NodeId
const record = fc.uint8Array({ maxLength: 4 })
const back = fc.constantFrom(0n, 0n, 0n, 0n, 1n, 2n)

/** A step that does something with the grantor, as it stands then. */
type Step = (grantor: Grantor, judge: Judge) => void

/** Mostly the one who holds it with its own epoch, at times somebody or something else. */
const claim = fc.record({ by: fc.option(process, { freq: 2 }), back }).map((choice) => {
  return (grantor: Grantor) => {
    const entry = grantor.disk.get('x')
    const of = (entry?.epoch ?? 0n) - choice.back
    const proof =
      choice.by === null && entry?.holder !== undefined
        ? { holder: entry.holder, token: entry.token.length > 0 ? entry.token : token(9) }
        : { holder: nodeOf(choice.by ?? 1), token: token(choice.by ?? 1) }
    return { name: 'x', epoch: of < 0n ? 0n : of, ...proof }
  }
})
const asking = (make: (grantor: Grantor) => LeaseRequest): Step => {
  return (grantor, judge) => {
    grantor.ask(make(grantor))
    judge.check()
  }
}

const acquire = fc
  .record({ number: process, wait: fc.boolean(), expect: fc.option(fc.nat({ max: 2 })) })
  .map(({ number, wait, expect }) =>
    asking((grantor) => {
      const version = grantor.disk.get('x')?.version ?? 0n
      const condition = expect === null ? {} : { expectVersion: version + BigInt(expect) }
      return acquireOf(nodeOf(number), number, { wait, ...condition })
    }),
  )
const simple = fc
  .tuple(claim, fc.constantFrom('renew' as const, 'renew' as const, 'release' as const))
  .map(([of, op]) => asking((grantor) => ({ op, ...of(grantor) })))
const update = fc
  .tuple(claim, fc.integer({ min: 1, max: 4 }), record)
  .map(([of, sequence, bytes]) =>
    asking((grantor) => ({ op: 'update', ...of(grantor), sequence, record: bytes })),
  )
const transfer = fc
  .tuple(claim, process)
  .map(([of, to]) => asking((grantor) => ({ op: 'transfer', ...of(grantor), to: nodeOf(to) })))

const spans = fc.oneof(
  fc.constantFrom(1, TTL_MS / 2, TTL_MS - 1, TTL_MS),
  fc.integer({ min: 1, max: TTL_MS + 100 }),
)
const elapse = spans.map((ms): Step => (grantor, judge) => {
  const until = grantor.now + ms
  let at = grantor.table.nextDeadline()
  while (at !== undefined && at <= until) {
    grantor.now = Math.max(grantor.now, at)
    grantor.step({ type: 'tick' })
    judge.check()
    at = grantor.table.nextDeadline()
  }
  grantor.now = until
})
const cancel = fc.nat({ max: 40 }).map((key): Step => (grantor, judge) => {
  grantor.step({ type: 'cancel', key })
  judge.check()
})
const restart: Step = (grantor, judge) => {
  grantor.restart()
  judge.restored()
}
const failWrite: Step = (grantor, judge) => {
  const durable = [...grantor.disk.values()]
  grantor.step({ type: 'not-durable', names: ['x'], durable, doubt: false })
  judge.restored()
}

const step = fc.oneof(
  { weight: 5, arbitrary: acquire },
  { weight: 4, arbitrary: simple },
  { weight: 2, arbitrary: update },
  { weight: 1, arbitrary: transfer },
  { weight: 5, arbitrary: elapse },
  { weight: 1, arbitrary: cancel },
  { weight: 1, arbitrary: fc.constantFrom(restart, failWrite) },
)

/** What the outside may rely on, whatever anybody sends. */
class Judge {
  readonly grantor = new Grantor()
  /** Of the current grant: until when its process may believe in it. */
  #believedUntil = -Infinity
  #entry: LeaseEntry | undefined

  check(): void {
    const { effects, now } = this.grantor
    for (const effect of effects) {
      if (effect.type === 'persist') this.#onPersist(effect.entry, now)
      if (effect.type !== 'reply') continue
      const { kind } = effect.reply
      if (kind === 'granted' || kind === 'renewed') this.#believedUntil = now + TTL_MS
      if (kind === 'granted' || kind === 'transferred') {
        assert.equal(effect.reply.epoch, this.#entry?.epoch, 'told what is not current')
      }
    }
  }

  #onPersist(entry: LeaseEntry, now: number): void {
    const before = this.#entry
    this.#entry = entry
    if (before === undefined) return
    assert.ok(entry.version > before.version, 'the version grows with each change')
    assert.ok(entry.epoch >= before.epoch, 'epochs do not go back')
    if (entry.epoch === before.epoch) {
      const isClaim = before.token.length === 0 && entry.holder === before.holder
      if (entry.prior !== undefined && !isClaim) assert.deepEqual(entry.prior, before.prior)
      const isSame = Buffer.from(before.token).equals(entry.token)
      assert.ok(isClaim || isSame, 'one epoch, one holder')
      return
    }
    const isHandOver = entry.prior?.epoch === before.epoch
    assert.ok(!isHandOver || entry.token.length === 0, 'a hand-over has no token yet')
    if (before.holder === undefined || isHandOver) return
    assert.ok(now >= this.#believedUntil, 'granted before the old one ran out')
  }

  restored(): void {
    this.#entry = this.grantor.disk.get('x')
    if (this.#entry?.holder !== undefined) this.#believedUntil = this.grantor.now + TTL_MS
  }
}

test('no sequence of requests, failures and restarts breaks a promise of the table', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
      const judge = new Judge()
      for (const each of steps) each(judge.grantor, judge)
    }),
    { numRuns: RUNS },
  )
})
