import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, test } from 'vitest'
import { DurableGate } from '../../src/core/durable-gate.ts'
import type { OutwardEffect } from '../../src/core/durable-gate.ts'
import type { LeaseEntry, LeaseTableEffect } from '../../src/core/lease-table.ts'
import { TTL_MS, token } from './lease-table-kit.ts'

const RUNS = 500
const none = new Uint8Array(0)

function entry(name: string, number: number): LeaseEntry {
  const version = BigInt(number)
  const fixed = { ttlMs: TTL_MS, record: none, token: token(1), sequence: 0 }
  return { name, epoch: version, version, ...fixed }
}
const persist = (name: string, number = 1): LeaseTableEffect => ({
  type: 'persist',
  entry: entry(name, number),
})
const reply = (name: string, key = 1): OutwardEffect => ({
  type: 'reply',
  key,
  name,
  reply: { kind: 'renewed' },
})
const view = (name: string, key = 1): OutwardEffect => ({
  type: 'view',
  key,
  view: { name, epoch: 1n, version: 1n, record: none },
})

describe('the gate', () => {
  test('lets pass what rests on nothing that is unwritten, and holds the rest', () => {
    const gate = new DurableGate()
    assert.deepEqual(gate.push([reply('x')]), [reply('x')])
    assert.deepEqual(gate.push([persist('x'), reply('x'), view('x'), reply('y')]), [reply('y')])
    assert.equal(gate.heldCount, 2)
    assert.deepEqual(gate.push([reply('x', 2)]), [], 'also a later one about the same name')
    const batch = gate.takeBatch(10)
    assert.deepEqual(gate.push([persist('x', 2), reply('x', 3)]), [])
    assert.deepEqual(gate.written(batch), [reply('x'), view('x'), reply('x', 2)])
    assert.deepEqual(gate.written(gate.takeBatch(10)), [reply('x', 3)])
    assert.deepEqual(gate.push([reply('x')]), [reply('x')])
    assert.deepEqual({ held: gate.heldCount, left: gate.hasUnwritten }, { held: 0, left: false })
  })

  test('turns what rested on a failed write into refusals and forgets the rest', () => {
    for (const doubt of [false, true]) {
      const gate = new DurableGate()
      gate.push([persist('x'), reply('x'), view('x')])
      const batch = gate.takeBatch(1)
      gate.push([persist('y'), reply('y', 2)])
      const { names, refusals } = gate.failed(batch, doubt)
      assert.deepEqual(names, ['x', 'y'])
      const refused = { kind: 'refused', why: doubt ? 'doubt' : 'unavailable' } as const
      assert.deepEqual(refusals, [
        { ...reply('x'), reply: refused },
        { ...reply('y', 2), reply: refused },
      ])
      assert.ok(!gate.hasUnwritten)
      assert.deepEqual(gate.push([reply('x'), reply('y')]), [reply('x'), reply('y')])
    }
  })

  test('never lets anything pass a persist of its name, however writes are batched', () => {
    const name = fc.constantFrom('x', 'y', 'z')
    const action = fc.oneof(
      name.map((of) => ({ type: 'persist' as const, of })),
      name.map((of) => ({ type: 'reply' as const, of })),
      fc.integer({ min: 1, max: 3 }).map((count) => ({ type: 'write' as const, count })),
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const gate = new DurableGate()
        /** Per name: persists so far, durable ones, and for each reply key the first of these. */
        const persisted = new Map<string, number>()
        const durable = new Map<string, number>()
        const needs = new Map<number, { readonly of: string; readonly count: number }>()
        let replies = 0
        let passed = 0
        const check = (effects: readonly OutwardEffect[]): void => {
          for (const { key } of effects) {
            const need = needs.get(key)
            assert.ok(need !== undefined && (durable.get(need.of) ?? 0) >= need.count)
            passed++
          }
        }
        const write = (count: number): void => {
          const batch = gate.takeBatch(count)
          for (const { name: of } of batch) durable.set(of, (durable.get(of) ?? 0) + 1)
          check(gate.written(batch))
        }
        for (const each of actions) {
          if (each.type === 'write') write(each.count)
          else if (each.type === 'persist') {
            persisted.set(each.of, (persisted.get(each.of) ?? 0) + 1)
            check(gate.push([persist(each.of)]))
          } else {
            needs.set(++replies, { of: each.of, count: persisted.get(each.of) ?? 0 })
            check(gate.push([reply(each.of, replies)]))
          }
        }
        write(actions.length)
        assert.equal(passed, replies, 'nothing stays behind')
      }),
      { numRuns: RUNS },
    )
  })
})
