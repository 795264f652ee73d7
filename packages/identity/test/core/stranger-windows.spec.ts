import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import fc from 'fast-check'
import { describe, test } from 'vitest'
import type { AuditEntry } from '../../src/core/audit-entry.ts'
import {
  STRANGER_BURST,
  STRANGER_REFILL,
  STRANGER_WINDOWS_MAX,
  STRANGER_WINDOW_MS,
  StrangerWindows,
} from '../../src/core/stranger-windows.ts'
import type { Counted } from '../../src/core/stranger-windows.ts'
import { LogInMemory, check, filesOf } from '../audit-kit.ts'

const refused = (reason: string, address: string): AuditEntry => ({
  event: 'member:refused',
  reason,
  address,
})
const sum = (counted: readonly Counted[]): number =>
  counted.reduce((all, { count }) => all + count, 0)

describe('one address', () => {
  test('gets one entry at once, then one each 10 s with the count of all since', () => {
    const windows = new StrangerWindows()
    const written: (readonly [number, Counted])[] = []
    const take = (now: number): void => {
      for (const one of windows.take(refused('busy', 'a'), now)) written.push([now, one])
    }
    for (let now = 0; now < 25_000; now += 100) take(now)
    assert.deepEqual(
      written.map(([now, { count }]) => [now, count]),
      [
        [0, 1],
        [10_000, 99],
        [20_000, 100],
      ],
    )
    assert.equal(windows.nextDeadline(), 30_000)
    assert.equal(sum(windows.due(29_999)), 0)
    assert.equal(sum(windows.due(30_000)), 50)
    // Quiet for a whole window: forgotten, and the next one is written at once.
    assert.equal(sum(windows.due(40_000)), 0)
    assert.equal(windows.nextDeadline(), undefined)
    assert.equal(sum(windows.take(refused('busy', 'a'), 40_001)), 1)
  })

  test('is counted apart for each reason and event', () => {
    const windows = new StrangerWindows()
    for (const reason of ['busy', 'timeout']) {
      for (const address of ['a', 'b']) {
        assert.equal(sum(windows.take(refused(reason, address), 0)), 1)
        assert.equal(sum(windows.take({ ...refused(reason, address), event: 'other' }, 0)), 1)
        assert.equal(sum(windows.take(refused(reason, address), 0)), 0)
      }
    }
    assert.equal(sum(windows.drain()), 4)
    assert.equal(windows.nextDeadline(), undefined)
  })
})

test('an entry names a node only if all that it counts are of this node', () => {
  const windows = new StrangerWindows()
  const of = (node: string): AuditEntry => ({ ...refused('busy', 'a'), node: node as NodeId })
  for (const now of [0, 1]) windows.take(of('one'), now)
  assert.equal(windows.due(10_000)[0]?.entry.node, 'one')
  for (const node of ['one', 'two', 'one']) windows.take(of(node), 10_001)
  const [counted] = windows.due(20_000)
  assert.deepEqual([counted?.entry.node, counted?.count], [undefined, 3])
})

describe('a flood from many addresses', () => {
  test('gets its own entries only up to a bound; the others are counted by reason', () => {
    const windows = new StrangerWindows()
    const written: Counted[] = []
    for (let i = 0; i < 10_000; i++) {
      const reason = i % 2 === 0 ? 'busy' : 'timeout'
      written.push(...windows.take(refused(reason, `address ${i}`), 0))
    }
    assert.equal(written.length, Math.min(STRANGER_BURST, STRANGER_WINDOWS_MAX))
    const [others, ...more] = windows.due(STRANGER_WINDOW_MS)
    assert.deepEqual(more, [])
    assert.equal(others?.count, 10_000 - written.length)
    assert.deepEqual(others.entry, {
      event: 'strangers',
      detail: { busy: 5000 - written.length / 2, timeout: 5000 - written.length / 2 },
    })
  })

  test('of endless duration writes little', () => {
    const windows = new StrangerWindows()
    let entries = 0
    const hours = 1
    for (let now = 0, i = 0; now < hours * 3_600_000; now += 100, i++) {
      entries += windows.take(refused('busy', `address ${i}`), now).length
    }
    const each10s = (hours * 3_600_000) / STRANGER_WINDOW_MS
    assert.ok(entries <= STRANGER_BURST + each10s * (STRANGER_REFILL + 1), `${entries} entries`)
    assert.ok(entries >= each10s, `${entries} entries`)
  })

  test('with reasons of its own invention is bounded too', () => {
    const windows = new StrangerWindows()
    const fill = (): void => {
      for (let i = 0; i < STRANGER_BURST; i++) windows.take(refused('busy', `${i}`), 0)
    }
    fill()
    for (let i = 0; i < 100; i++) windows.take(refused(`reason-${i}`, 'a'), 0)
    windows.take(refused('not a name!', 'a'), 0)
    const others = windows.drain().find(({ entry }) => entry.event === 'strangers')
    const detail = others?.entry.detail ?? {}
    assert.equal(others?.count, 101)
    assert.ok(Object.keys(detail).length <= 16)
    assert.equal(detail['other'], 86)
  })
})

test('nothing is lost, whatever comes when', () => {
  const event = fc.record({
    wait: fc.nat({ max: 9000 }),
    address: fc.nat({ max: 400 }),
    reason: fc.constantFrom('busy', 'timeout', 'revoked'),
    times: fc.integer({ min: 1, max: 30 }),
  })
  fc.assert(
    fc.property(fc.array(event, { maxLength: 300 }), (events) => {
      const windows = new StrangerWindows()
      let now = 0
      let taken = 0
      let written = 0
      for (const { wait, address, reason, times } of events) {
        now += wait
        for (let i = 0; i < times; i++) {
          taken++
          written += sum(windows.take(refused(reason, `${address + i}`), now))
        }
        const deadline = windows.nextDeadline()
        assert.ok(deadline === undefined || deadline > now)
      }
      assert.equal(written + sum(windows.drain()), taken)
    }),
    { numRuns: 60 },
  )
})

test('the log writes counts, and those of members never wait', () => {
  const log = new LogInMemory()
  log.step({ kind: 'begin', id: new Uint8Array(16) })
  const stranger: AuditEntry = { ...refused('busy', 'a'), isStranger: true }
  for (let i = 0; i < 5; i++) {
    log.step({ kind: 'entry', entry: stranger })
    log.say('member:admitted')
  }
  log.now = STRANGER_WINDOW_MS
  assert.equal(log.core.nextDeadline(), STRANGER_WINDOW_MS)
  log.step({ kind: 'tick' })
  log.step({ kind: 'entry', entry: stranger })
  log.step({ kind: 'flush' })
  const { records } = check(filesOf(log.image), log.head)
  const refusals = records.filter(({ event }) => event === 'member:refused')
  assert.deepEqual(
    refusals.map(({ count = 1 }) => count),
    [1, 4, 1],
  )
  assert.equal(records.filter(({ event }) => event === 'member:admitted').length, 5)
})
