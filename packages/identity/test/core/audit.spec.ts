import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import { describe, test } from 'vitest'
import { AUDIT_PAYLOAD_BYTES_MAX } from '../../src/core/audit-codec.ts'
import type { AuditEntry } from '../../src/core/audit-entry.ts'
import { AUDIT_UNSIGNED_MAX, AUDIT_UNSIGNED_MS, AuditCore } from '../../src/core/audit.ts'
import {
  LogInMemory,
  bodyOf,
  check,
  crypto,
  filesOf,
  own,
  stranger,
  verdictOf,
} from '../audit-kit.ts'

const id = new Uint8Array(16).fill(9)

function begun(init?: ConstructorParameters<typeof LogInMemory>[0]): LogInMemory {
  const log = new LogInMemory(init)
  log.step({ kind: 'begin', id })
  return log
}

const records = (
  log: LogInMemory,
  publicKey = own.publicKey,
): ReturnType<typeof check>['records'] => {
  const { result, records } = check(filesOf(log.image), log.head, { publicKey })
  assert.ok('summary' in result, JSON.stringify(result))
  return records
}

describe('an entry', () => {
  test('is given back with every field', () => {
    const log = begun()
    const entry: AuditEntry = {
      event: 'member:admitted',
      node: '12D3KooW' as NodeId,
      address: '/ip4/10.0.0.1/tcp/1',
      reason: 'because',
      detail: { a: 1, b: 'text', c: -5 },
    }
    log.step({ kind: 'entry', entry })
    log.step({ kind: 'close' })
    const [first, second, third] = records(log)
    assert.equal(first?.event, 'audit:begun')
    assert.deepEqual(second, { ...entry, number: 2, at: 1_700_000_000_000, isSigned: false })
    assert.equal(third?.event, 'audit:closed')
  })

  test('has bounds: texts of others are cut, mistakes of the caller are refused', () => {
    const log = begun()
    const long = '\ufeff\ud800' + '\u20ac'.repeat(5000)
    const pairs = Array.from({ length: 16 }, (_, i) => [`${i}`.padStart(64, 'x'), long] as const)
    log.step({
      kind: 'entry',
      entry: {
        event: 'e'.repeat(64),
        node: long as NodeId,
        address: long,
        reason: long,
        detail: Object.fromEntries(pairs),
      },
    })
    const [, entry] = records(log)
    assert.equal(entry?.address?.length, 255)
    assert.ok(entry.address.endsWith('\u20ac\u2026'))
    assert.equal(entry.node?.length, 127)
    const largest = [...log.segments.values()].flat().map(({ length }) => length)
    assert.ok(Math.max(...largest) < AUDIT_PAYLOAD_BYTES_MAX)
    const bad: readonly AuditEntry[] = [
      { event: '' },
      { event: 'Capital' },
      { event: 'e'.repeat(65) },
      { event: 'audit:head' },
      { event: 'x', detail: { '': 1 } },
      { event: 'x', detail: { a: 0.5 } },
      { event: 'x', detail: { a: Number.NaN } },
      {
        event: 'x',
        detail: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, i])),
      },
    ]
    for (const entry of bad) {
      assert.throws(() => log.step({ kind: 'entry', entry }), RangeError, JSON.stringify(entry))
    }
    assert.equal(records(log).length, 2)
  })
})

describe('signatures', () => {
  test('come after 64 entries, and not before', () => {
    const log = begun()
    for (let i = 0; i < 2 * AUDIT_UNSIGNED_MAX; i++) log.say('x')
    const signed = records(log).filter(({ isSigned }) => isSigned)
    assert.deepEqual(
      signed.map(({ number }) => number),
      [1, 2 + AUDIT_UNSIGNED_MAX, 3 + 2 * AUDIT_UNSIGNED_MAX],
    )
    assert.equal(bodyOf(log.head ?? id).number, 3 + 2 * AUDIT_UNSIGNED_MAX)
  })

  test('come 10 s after the first entry without one', () => {
    const log = begun()
    assert.equal(log.core.nextDeadline(), undefined)
    log.now = 5
    log.say('x')
    log.now = 9
    log.say('y')
    assert.equal(log.core.nextDeadline(), 5 + AUDIT_UNSIGNED_MS)
    log.now = 4 + AUDIT_UNSIGNED_MS
    log.step({ kind: 'tick' })
    assert.equal(records(log).length, 3)
    log.now++
    log.step({ kind: 'tick' })
    assert.deepEqual(
      records(log).map(({ event }) => event),
      ['audit:begun', 'x', 'y', 'audit:head'],
    )
    assert.equal(log.core.nextDeadline(), undefined)
  })

  test('pass to another key, which the one before has to sign', () => {
    const log = begun()
    log.say('x')
    log.step({ kind: 'rotate', signer: stranger })
    log.say('y')
    log.step({ kind: 'close' })
    assert.equal(records(log, stranger.publicKey).length, 5)
    assert.equal(verdictOf(filesOf(log.image), log.head), 'foreign')
  })

  test('of two keys without such an entry are refused', () => {
    const log = begun()
    const other = new LogInMemory({ signer: stranger })
    other.segments.set(1, log.segments.get(1) ?? [])
    const tail = {
      number: 1,
      hash: crypto.sha256(log.segments.get(1)?.[0] ?? id),
      unsigned: 0,
      segments: [{ first: 1, bytes: 500 }],
    }
    other.step({ kind: 'resume', tail, tornBytes: 0 })
    const { publicKey } = stranger
    assert.equal(verdictOf(filesOf(other.image), other.head, { publicKey }), 'signature')
  })
})

describe('the budget', () => {
  test('holds at every moment, and a signed entry tells what was dropped before it is', () => {
    const bytesMax = 2 ** 18
    const log = begun({ bytesMax })
    const dropped: number[] = []
    for (let i = 0; i < 3000; i++) {
      log.say('x', 'y'.repeat(i % 250))
      assert.ok(log.core.bytes <= bytesMax)
    }
    assert.ok(log.bytesMax <= bytesMax, `${log.bytesMax} bytes`)
    // A budget that is not used would hold too.
    assert.ok(log.bytesMax > bytesMax / 2)
    let cut = 0
    for (const effect of log.effects) {
      if (effect.kind === 'head') {
        const { event, detail } = bodyOf(effect.payload)
        if (event === 'audit:cut') cut = Number(detail?.['first'])
      }
      if (effect.kind !== 'drop') continue
      assert.ok(effect.segment < cut, `${effect.segment} is dropped, said was ${cut}`)
      dropped.push(effect.segment)
    }
    assert.ok(dropped.length > 5)
    assert.deepEqual(
      dropped,
      dropped.toSorted((one, other) => one - other),
    )
    const [first] = records(log)
    assert.equal(first?.number, cut)
  })

  test('holds with the longest entries', () => {
    const bytesMax = 2 ** 18
    const log = begun({ bytesMax })
    const detail = Object.fromEntries(
      Array.from({ length: 16 }, (_, i) => [`${i}`.padStart(64, 'x'), '\u20ac'.repeat(256)]),
    )
    for (let i = 0; i < 200; i++) log.step({ kind: 'entry', entry: { event: 'x', detail } })
    assert.ok(log.bytesMax <= bytesMax, `${log.bytesMax} bytes`)
    records(log)
  })

  test('has a least size, and a segment too', () => {
    const make = (bytesMax: number, segmentBytes: number): (() => AuditCore) => {
      return () => new AuditCore({ crypto, signer: own }, { bytesMax, segmentBytes })
    }
    assert.throws(make(2 ** 20, 2 ** 16 - 1), RangeError)
    assert.throws(make(3 * 2 ** 16 - 1, 2 ** 16), RangeError)
    make(3 * 2 ** 16, 2 ** 16)()
  })
})

describe('a resumed log', () => {
  test('goes on where it ended and says what it found', () => {
    const log = begun()
    log.say('x')
    const payloads = log.segments.get(1) ?? []
    const again = new LogInMemory()
    again.segments.set(1, [...payloads])
    const bytes = log.core.bytes
    const hash = crypto.sha256(payloads.at(-1) ?? id)
    const tail = { number: 2, hash, unsigned: 1, segments: [{ first: 1, bytes }] }
    again.step({ kind: 'resume', tail, tornBytes: 7 })
    const third = records(again).at(-1)
    assert.equal(third?.event, 'audit:opened')
    assert.deepEqual(third.detail, { unsigned: 1, tornBytes: 7 })
    assert.ok(third.isSigned)
  })

  test('tells what was lost', () => {
    const log = begun()
    log.step({ kind: 'lost', count: 12 })
    const last = records(log).at(-1)
    assert.deepEqual([last?.event, last?.count], ['audit:lost', 12])
  })
})
