import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { NodeId } from '@mycelium/interface'
import { test } from 'vitest'
import type { LeaseRequest } from '../../src/core/lease-messages.ts'
import type { LeaseEntry } from '../../src/core/lease-table.ts'
import { Grantor, TTL_MS, acquireOf, token } from './lease-table-kit.ts'

const RUNS = 500

/** Holders have tokens of their own, so a number names a process. */
const process = fc.integer({ min: 1, max: 4 })
const epoch = fc.bigInt({ min: 1n, max: 6n })
const nodeOf = (number: number): NodeId => `node-${number % 3}` as NodeId
const claimOf = (number: number, of: bigint) =>
  ({ name: 'x', epoch: of, holder: nodeOf(number), token: token(number) }) as const

type Step =
  | { readonly type: 'ask'; readonly request: LeaseRequest }
  | { readonly type: 'elapse'; readonly ms: number }
  | { readonly type: 'cancel'; readonly key: number }
  | { readonly type: 'restart' }
  | { readonly type: 'write-fails' }

const record = fc.uint8Array({ maxLength: 4 })
const version = fc.option(fc.bigInt({ min: 0n, max: 12n }), { nil: undefined })
const request: fc.Arbitrary<LeaseRequest> = fc.oneof(
  fc.tuple(process, fc.boolean(), version).map(([number, wait, expectVersion]) => {
    const condition = expectVersion === undefined ? {} : { expectVersion }
    return acquireOf(nodeOf(number), number, { wait, ...condition })
  }),
  fc
    .tuple(process, epoch, fc.constantFrom('renew' as const, 'release' as const))
    .map(([number, of, op]) => ({ op, ...claimOf(number, of) })),
  fc
    .tuple(process, epoch, fc.integer({ min: 1, max: 4 }), record)
    .map(([number, of, sequence, bytes]) => ({
      op: 'update' as const,
      ...claimOf(number, of),
      sequence,
      record: bytes,
    })),
  fc.tuple(process, epoch, process).map(([number, of, to]) => ({
    op: 'transfer' as const,
    ...claimOf(number, of),
    to: nodeOf(to),
  })),
)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: request.map((each) => ({ type: 'ask' as const, request: each })) },
  {
    weight: 4,
    arbitrary: fc.integer({ min: 1, max: TTL_MS + 100 }).map((ms) => ({
      type: 'elapse' as const,
      ms,
    })),
  },
  { weight: 1, arbitrary: fc.nat({ max: 40 }).map((key) => ({ type: 'cancel' as const, key })) },
  { weight: 1, arbitrary: fc.constant({ type: 'restart' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'write-fails' as const }) },
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
      const isSame = Buffer.from(before.token).equals(entry.token)
      assert.ok(isClaim || isSame, 'one epoch, one holder')
      return
    }
    const isHandOver = entry.prior?.epoch === before.epoch
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
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const judge = new Judge()
      const { grantor } = judge
      for (const each of steps) {
        const before = new Map(grantor.disk)
        switch (each.type) {
          case 'ask':
            grantor.ask(each.request)
            judge.check()
            break
          case 'elapse': {
            const until = grantor.now + each.ms
            for (let at = grantor.table.nextDeadline(); at !== undefined && at <= until;) {
              grantor.now = Math.max(grantor.now, at)
              grantor.step({ type: 'tick' })
              judge.check()
              at = grantor.table.nextDeadline()
            }
            grantor.now = until
            break
          }
          case 'cancel':
            grantor.step({ type: 'cancel', key: each.key })
            judge.check()
            break
          case 'restart':
            grantor.restart()
            judge.restored()
            break
          case 'write-fails':
            grantor.step({
              type: 'not-durable',
              names: ['x'],
              durable: [...before.values()],
              doubt: false,
            })
            judge.restored()
            break
        }
      }
    }),
    { numRuns: RUNS },
  )
})
