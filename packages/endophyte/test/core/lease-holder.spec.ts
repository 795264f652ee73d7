import assert from 'node:assert/strict'
import { describe, test } from 'vitest'
import { LeaseHolder, RENEWALS_IN_FLIGHT_MAX } from '../../src/core/lease-holder.ts'
import type { LeaseHolderEffect, LeaseHolderInput } from '../../src/core/lease-holder.ts'
import { validUntil } from '../../src/core/lease-messages.ts'
import type { LeaseReply } from '../../src/core/lease-messages.ts'
import { TTL_MS, a, acquireOf, b } from './lease-table-kit.ts'

const STOP_BUDGET_MS = 20
const UNAVAILABLE_AFTER_MS = 5_000

/** A holder, and what it did since the last look. */
class Probe {
  now = 0
  readonly holder: LeaseHolder
  #id = 0

  constructor() {
    const { op: _, ...request } = acquireOf(a, 1)
    const times = { stopBudgetMs: STOP_BUDGET_MS, unavailableAfterMs: UNAVAILABLE_AFTER_MS }
    this.holder = new LeaseHolder({ request, ...times }, () => ++this.#id)
  }

  step(input: LeaseHolderInput, at = this.now): LeaseHolderEffect[] {
    this.now = at
    return this.holder.step(input, at)
  }

  /** @returns the id of the only request sent */
  sent(effects: readonly LeaseHolderEffect[], op: string): number {
    const sends = effects.filter((effect) => effect.type === 'send')
    assert.deepEqual(
      sends.map(({ request }) => request.op),
      [op],
    )
    return sends[0]?.id ?? 0
  }

  reply(id: number, reply: LeaseReply, at = this.now): LeaseHolderEffect[] {
    return this.step({ type: 'reply', id, reply }, at)
  }

  /** Granted at 1 what was asked at 0. */
  static held(): Probe {
    const probe = new Probe()
    const id = probe.sent(probe.step({ type: 'link', isUp: true }), 'acquire')
    const [granted] = probe.reply(id, { kind: 'granted', epoch: 7n }, 1)
    assert.equal(granted?.type, 'granted')
    return probe
  }
}

const types = (effects: readonly LeaseHolderEffect[]): string[] => effects.map(({ type }) => type)

describe('validity', () => {
  test('counts from the sending, less drift and stop budget', () => {
    const probe = Probe.held()
    assert.equal(probe.holder.validUntil, 0 + TTL_MS * 0.99 - STOP_BUDGET_MS)
    const id = probe.sent(probe.step({ type: 'tick' }, 400), 'renew')
    const effects = probe.reply(id, { kind: 'renewed' }, 900)
    assert.deepEqual(effects, [{ type: 'valid', validUntil: 400 + 970 }])
  })

  test('never shrinks when an older answer comes after a newer one', () => {
    const probe = Probe.held()
    const first = probe.sent(probe.step({ type: 'tick' }, 340), 'renew')
    const second = probe.sent(probe.step({ type: 'tick' }, 680), 'renew')
    probe.reply(second, { kind: 'renewed' }, 700)
    assert.deepEqual(probe.reply(first, { kind: 'renewed' }, 701), [])
    assert.equal(probe.holder.validUntil, validUntil(680, TTL_MS, STOP_BUDGET_MS))
  })

  test('ends for good at validUntil, also if an answer comes in that moment', () => {
    const probe = Probe.held()
    const id = probe.sent(probe.step({ type: 'tick' }, 900), 'renew')
    const effects = probe.reply(id, { kind: 'renewed' }, probe.holder.validUntil)
    assert.deepEqual(effects, [{ type: 'lost', cause: 'expired' }])
    assert.deepEqual(probe.step({ type: 'tick' }, 2_000), [])
    assert.ok(probe.holder.isEnded)
  })

  test('of a grant that was waited for long is confirmed by a renewal first', () => {
    const probe = new Probe()
    const id = probe.sent(probe.step({ type: 'link', isUp: true }), 'acquire')
    const effects = probe.reply(id, { kind: 'granted', epoch: 7n }, 5_000)
    const renewal = probe.sent(effects, 'renew')
    assert.deepEqual(probe.reply(renewal, { kind: 'renewed' }, 5_001), [
      { type: 'granted', epoch: 7n, validUntil: 5_970 },
    ])
  })

  test('that is over when it is confirmed is confirmed again', () => {
    const probe = new Probe()
    const id = probe.sent(probe.step({ type: 'link', isUp: true }), 'acquire')
    const renewal = probe.sent(probe.reply(id, { kind: 'granted', epoch: 7n }, 5_000), 'renew')
    assert.deepEqual(probe.reply(renewal, { kind: 'renewed' }, 6_000), [])
    const again = probe.sent(probe.step({ type: 'tick' }, 6_001), 'renew')
    assert.deepEqual(types(probe.reply(again, { kind: 'renewed' }, 6_002)), ['granted'])
  })

  test('a grant that is lost before it is confirmed was never there', () => {
    const probe = new Probe()
    const id = probe.sent(probe.step({ type: 'link', isUp: true }), 'acquire')
    const renewal = probe.sent(probe.reply(id, { kind: 'granted', epoch: 7n }, 5_000), 'renew')
    const effects = probe.reply(renewal, { kind: 'refused', why: 'lost' }, 7_000)
    assert.deepEqual(effects, [{ type: 'refused', why: 'unavailable' }])
  })
})

describe('requests', () => {
  test('are repeated at a third of the time to live, and when the connection is back', () => {
    const probe = new Probe()
    probe.sent(probe.step({ type: 'link', isUp: true }), 'acquire')
    assert.equal(probe.holder.nextDeadline(), TTL_MS / 3)
    probe.sent(probe.step({ type: 'tick' }, 334), 'acquire')
    assert.deepEqual(probe.step({ type: 'link', isUp: false }, 340), [])
    assert.equal(probe.holder.nextDeadline(), 340 + UNAVAILABLE_AFTER_MS)
    probe.sent(probe.step({ type: 'link', isUp: true }, 350), 'acquire')
  })

  test('without a connection for long, the acquisition fails', () => {
    const probe = new Probe()
    probe.step({ type: 'link', isUp: false })
    assert.deepEqual(probe.step({ type: 'tick' }, UNAVAILABLE_AFTER_MS - 1), [])
    assert.deepEqual(probe.step({ type: 'tick' }, UNAVAILABLE_AFTER_MS), [
      { type: 'refused', why: 'unavailable' },
    ])
  })

  test(`at most ${RENEWALS_IN_FLIGHT_MAX} are remembered`, () => {
    const probe = new Probe()
    const ids: number[] = []
    for (let i = 0; i <= RENEWALS_IN_FLIGHT_MAX; i++) {
      ids.push(probe.sent(probe.step({ type: 'link', isUp: true }, i), 'acquire'))
    }
    const [oldest = 0, second = 0] = ids
    assert.ok(!probe.holder.isWaitingFor(oldest))
    assert.ok(probe.holder.isWaitingFor(second))
    assert.deepEqual(probe.reply(oldest, { kind: 'granted', epoch: 1n }), [])
  })

  test('a refusal of the grantor ends the lease at once; unavailability does not', () => {
    const probe = Probe.held()
    const first = probe.sent(probe.step({ type: 'tick' }, 340), 'renew')
    assert.deepEqual(probe.reply(first, { kind: 'refused', why: 'unavailable' }), [])
    const second = probe.sent(probe.step({ type: 'tick' }, 680), 'renew')
    const effects = probe.reply(second, { kind: 'refused', why: 'lost' })
    assert.deepEqual(effects, [{ type: 'lost', cause: 'refused' }])
  })
})

describe('changes', () => {
  const record = new Uint8Array([9])

  test('an update is repeated with the same number, the next has a higher one', () => {
    const probe = Probe.held()
    const sequences: number[] = []
    const note = (effects: readonly LeaseHolderEffect[]): number => {
      const sends = effects.filter((effect) => effect.type === 'send')
      const update = sends.find(({ request }) => request.op === 'update')
      if (update?.request.op === 'update') sequences.push(update.request.sequence)
      return update?.id ?? 0
    }
    note(probe.step({ type: 'change', change: { op: 'update', record } }))
    const id = note(probe.step({ type: 'tick' }, 340))
    assert.deepEqual(probe.reply(id, { kind: 'updated' }), [{ type: 'changed', epoch: 7n }])
    note(probe.step({ type: 'change', change: { op: 'update', record } }))
    assert.deepEqual(sequences, [1, 1, 2])
  })

  test('a change that is unanswered when the lease ends has an unknown outcome', () => {
    const probe = Probe.held()
    probe.step({ type: 'change', change: { op: 'update', record } })
    assert.deepEqual(probe.step({ type: 'tick' }, 970), [
      { type: 'change-failed', why: 'doubt' },
      { type: 'lost', cause: 'expired' },
    ])
  })

  test('a refusal is certain if it was asked once, and else in doubt', () => {
    for (const copies of [1, 2]) {
      const probe = Probe.held()
      let effects = probe.step({ type: 'change', change: { op: 'transfer', to: b } })
      if (copies === 2) effects = probe.step({ type: 'tick' }, 340)
      const send = effects.findLast((effect) => effect.type === 'send')
      assert.deepEqual(probe.reply(send?.id ?? 0, { kind: 'refused', why: 'lost' }), [
        { type: 'change-failed', why: copies === 1 ? 'lost' : 'doubt' },
        { type: 'lost', cause: 'refused' },
      ])
    }
  })

  test('a hand-over tells the new epoch and ends the lease, a release ends it', () => {
    const ends = [
      [{ op: 'transfer', to: b }, { kind: 'transferred', epoch: 8n }, 8n],
      [{ op: 'release' }, { kind: 'released' }, 7n],
    ] as const
    for (const [change, reply, epoch] of ends) {
      const probe = Probe.held()
      const id = probe.sent(probe.step({ type: 'change', change }), change.op)
      assert.deepEqual(probe.reply(id, reply), [
        { type: 'changed', epoch },
        { type: 'lost', cause: reply.kind },
      ])
    }
  })

  test('an answer that fits no change is none', () => {
    const probe = Probe.held()
    const id = probe.sent(probe.step({ type: 'change', change: { op: 'release' } }), 'release')
    assert.deepEqual(probe.reply(id, { kind: 'renewed' }), [])
  })
})

describe('giving up', () => {
  test('while it waits: says so, and gives back a grant that crosses it', () => {
    const probe = new Probe()
    const id = probe.sent(probe.step({ type: 'link', isUp: true }), 'acquire')
    assert.deepEqual(probe.step({ type: 'abandon' }), [{ type: 'cancel', id }])
    probe.sent(probe.reply(id, { kind: 'granted', epoch: 7n }), 'release')
    assert.ok(probe.holder.isEnded)
  })

  test('while it waits: a refusal, or the end of the connection, is the end', () => {
    for (const last of ['reply', 'link'] as const) {
      const probe = new Probe()
      const id = probe.sent(probe.step({ type: 'link', isUp: true }), 'acquire')
      probe.step({ type: 'abandon' })
      assert.equal(probe.holder.nextDeadline(), undefined)
      if (last === 'reply') probe.reply(id, { kind: 'refused', why: 'held' })
      else probe.step({ type: 'link', isUp: false })
      assert.ok(probe.holder.isEnded)
    }
  })

  test('before it is confirmed: gives the grant back; never asked: is the end', () => {
    const probe = new Probe()
    const id = probe.sent(probe.step({ type: 'link', isUp: true }), 'acquire')
    probe.reply(id, { kind: 'granted', epoch: 7n }, 5_000)
    probe.sent(probe.step({ type: 'abandon' }), 'release')
    const never = new Probe()
    never.step({ type: 'link', isUp: false })
    assert.deepEqual(never.step({ type: 'abandon' }), [])
    assert.ok(never.holder.isEnded)
  })

  test('what is held: stops renewing and does not release', () => {
    const probe = Probe.held()
    assert.deepEqual(probe.step({ type: 'abandon' }), [{ type: 'lost', cause: 'abandoned' }])
  })
})
