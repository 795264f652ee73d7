import type { Random } from '@mycelium/interface'
import { describe, expect, it } from 'vitest'
import {
  createSeededRandom,
  findViolation,
  type Operation,
  type SequentialModel,
} from '../src/index.ts'

type Input =
  | { readonly kind: 'read'; readonly key?: string }
  | { readonly kind: 'write'; readonly value: number; readonly key?: string }
  | { readonly kind: 'add'; readonly value: number; readonly key?: string }
type Call = Operation<Input, number>

/** A register; `add` answers with the sum. */
const register: SequentialModel<number, Input, number> = {
  initial: 0,
  apply: (state, input) => {
    if (input.kind === 'read') return { state, output: state }
    if (input.kind === 'write') return { state: input.value, output: 0 }
    return { state: state + input.value, output: state + input.value }
  },
  isSame: (one, other) => one === other,
  keyOf: String,
  partitionOf: ({ key = '' }) => key,
}

/** `w1@0-5`, `r1@3-9`, `a2=3@1-2`, `w1@4-` (never answered). */
function history(text: string): readonly Call[] {
  return text.split(' ').map((word, at) => {
    const match = /^([a-z]?:)?([rwa])(\d+)(?:=(\d+))?@(\d+)-(\d*)$/.exec(word)
    const [, key = '', kind, value, sum, from, to] = match ?? []
    const number = Number(value)
    const input: Input =
      kind === 'r'
        ? { kind: 'read', key }
        : { kind: kind === 'w' ? 'write' : 'add', value: number, key }
    const output = kind === 'r' ? number : kind === 'w' ? 0 : Number(sum)
    const times = { invokedAt: Number(from), returnedAt: Number(to) }
    return { client: `c${at}`, input, ...times, ...(to !== '' && { output }) }
  })
}
const isGood = (calls: readonly Call[]): boolean => findViolation(register, calls) === undefined

describe('histories that one copy explains', () => {
  it.each([
    ['one after the other', 'w1@0-1 r1@2-3 w2@4-5 r2@6-7'],
    ['a read during a write sees the old value', 'w1@0-9 r0@1-2'],
    ['or the new one', 'w1@0-9 r1@1-2'],
    ['reads during a write, old then new', 'w1@0-9 r0@1-2 r1@3-4'],
    ['two writes at once, in either order', 'w1@0-9 w2@0-9 r1@10-11'],
    ['Herlihy and Wing (1990), a register', 'w0@0-5 w1@3-8 r1@6-9 r0@1-4'],
    ['what was never answered has happened', 'w1@0- r1@5-6'],
    ['what was never answered has happened late', 'w1@0- r0@5-6 r1@7-8'],
    ['what was never answered has not happened', 'w1@0- r0@5-6 r0@7-8'],
    ['sums', 'a1=1@0-9 a2=3@0-9 r3@10-11'],
    ['sums, the other way round', 'a1=3@0-9 a2=2@0-9 r3@10-11'],
    ['two keys, each for itself', 'x:w1@0-1 y:w2@0-1 x:r1@2-3 y:r2@2-3'],
    ['touching: one may count as before the other', 'w1@0-5 r0@5-6'],
  ])('%s', (_, text) => {
    expect(isGood(history(text))).toBe(true)
  })
})

describe('histories that none explains', () => {
  it.each([
    ['a write that was acknowledged is lost', 'w1@0-1 r0@2-3'],
    ['a stale read', 'w1@0-1 w2@2-3 r1@4-5'],
    ['back in time: new, then old', 'w1@0-9 r1@1-2 r0@3-4'],
    ['a value from nowhere', 'w1@0-1 r7@2-3'],
    ['an old value comes back', 'w1@0-1 w2@2-3 r2@4-5 r1@6-7'],
    ['two readers see two writes in different orders', 'w1@0-9 w2@0-9 r1@1-2 r2@3-4 r1@5-6'],
    ['a sum is counted twice', 'a1=1@0-1 a1=1@2-3'],
    ['a sum is lost', 'a1=1@0-9 a2=2@0-9 r2@10-11'],
    ['what was never answered happens twice', 'w1@0- w2@1-2 r1@3-4 w3@5-6 r1@7-8'],
    ['what was never answered happens before it was asked', 'r1@0-1 w1@2-'],
    ['one of two keys', 'x:w1@0-1 y:w2@0-1 x:r1@2-3 y:r0@2-3'],
  ])('%s', (_, text) => {
    expect(isGood(history(text))).toBe(false)
  })

  it('the partition is named', () => {
    const violation = findViolation(register, history('x:w1@0-1 y:w2@0-1 x:r1@2-3 y:r0@2-3'))
    expect(violation?.partition).toBe('y:')
    expect(violation?.operations).toHaveLength(2)
  })
})

/** All orders of all answered operations and of any of the others. */
function byBruteForce(calls: readonly Call[]): boolean {
  const isAnswered = ({ output }: Call): boolean => output !== undefined
  const go = (rest: readonly Call[], state: number): boolean => {
    if (!rest.some(isAnswered)) return true
    return rest.some((call) => {
      const isPossible = rest.every((other) => {
        return other === call || !isAnswered(other) || other.returnedAt >= call.invokedAt
      })
      if (!isPossible) return false
      const next = register.apply(state, call.input)
      if (isAnswered(call) && next.output !== call.output) return false
      return go(
        rest.filter((other) => other !== call),
        next.state,
      )
    })
  }
  return go(calls, 0)
}

function randomCall(random: Random): Call {
  const kind = (['read', 'write', 'add'] as const)[random.below(3)] ?? 'read'
  const input = kind === 'read' ? { kind } : { kind, value: 1 + random.below(2) }
  const output = kind === 'write' ? 0 : random.below(4)
  const invokedAt = random.below(13)
  const times = { invokedAt, returnedAt: invokedAt + random.below(7) }
  return { client: 'c', input, ...times, ...(random.below(6) > 0 && { output }) }
}

it('agrees with brute force on small histories', () => {
  let good = 0
  for (let seed = 1; seed <= 5_000; seed++) {
    const random = createSeededRandom(seed)
    const calls = Array.from({ length: 1 + random.below(6) }, () => randomCall(random))
    const expected = byBruteForce(calls)
    if (expected) good++
    expect(isGood(calls), `seed ${seed}`).toBe(expected)
  }
  expect(good).toBeGreaterThan(500)
  expect(good).toBeLessThan(4_500)
})

it('long histories of few at once are decided fast; a bound ends the others', () => {
  const calls: Call[] = []
  for (let at = 0; at < 3_000; at++) {
    const input = { kind: 'add', value: 1 } as const
    const times = { invokedAt: 2 * at, returnedAt: 2 * at + 3 }
    calls.push({ client: `c${at % 2}`, input, output: at + 1, ...times })
  }
  expect(isGood(calls)).toBe(true)
  const together = calls.map((one) => ({ ...one, invokedAt: 0, output: 1 }))
  expect(() => findViolation(register, together, { stepsMax: 100 })).toThrow('no decision in 100')
})
