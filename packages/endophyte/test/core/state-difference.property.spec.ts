import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  applyStateDifference,
  decodeDeviceState,
  encodeDeviceState,
  encodeStateDifference,
  STATE_BYTES_MAX,
} from '../../src/core/state-difference.ts'
import { StateError } from '../../src/errors.ts'

/** Lengths around the blocks of 64 bytes, and few values, so that many blocks are equal. */
const state = fc.uint8Array({ maxLength: 300, max: 3 })

/** A state and another that comes from it by a few changes, or is something else altogether. */
const pair = fc.oneof(
  fc.tuple(state, state),
  fc
    .tuple(state, fc.array(fc.tuple(fc.nat({ max: 299 }), fc.nat({ max: 255 })), { maxLength: 4 }))
    .map(([base, changes]): [Uint8Array, Uint8Array] => {
      const next = base.slice()
      for (const [at, byte] of changes) if (at < next.length) next[at] = byte
      return [base, next]
    }),
)

function u32(value: number): number[] {
  return [...new Uint8Array(new Uint32Array([value]).buffer)]
}

/** What any input may do, and nothing else. */
function throwsStateErrorAtMost(work: () => void): void {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(StateError)
    expect(error).toMatchObject({ code: 'ERR_ENDOPHYTE_STATE' })
  }
}

describe('a difference of two device states', () => {
  test('applied to its base gives the other, whatever their lengths', () => {
    fc.assert(
      fc.property(pair, ([base, next]) => {
        const before = base.slice()
        const difference = encodeStateDifference(base, next)
        expect(applyStateDifference(base, difference)).toEqual(next)
        expect(base).toEqual(before)
      }),
      { numRuns: 5_000 },
    )
  })

  test('of equal states has no runs; of one changed byte one block', () => {
    const base = new Uint8Array(1000)
    expect(encodeStateDifference(base, base.slice())).toEqual(new Uint8Array(u32(1000)))
    const next = base.slice()
    next[500] = 1
    expect(encodeStateDifference(base, next).length).toBe(4 + 8 + 64)
  })

  test('is never much larger than the state', () => {
    fc.assert(
      fc.property(pair, ([base, next]) => {
        const { length } = encodeStateDifference(base, next)
        expect(length).toBeLessThanOrEqual(4 + next.length + 8 * Math.ceil(next.length / 128))
      }),
    )
  })

  test('of any bytes: nothing but a StateError, and a result within its bound', () => {
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc
        .array(fc.oneof(fc.nat({ max: 400 }), fc.nat({ max: 2 ** 32 - 1 })), { maxLength: 12 })
        .map((words) => new Uint8Array(words.flatMap(u32))),
    )
    fc.assert(
      fc.property(state, noise, (base, difference) => {
        throwsStateErrorAtMost(() => {
          const { length } = applyStateDifference(base, difference)
          expect(length).toBeLessThanOrEqual(STATE_BYTES_MAX)
        })
      }),
      { numRuns: 2_000 },
    )
  })

  test('that was damaged: nothing but a StateError', () => {
    fc.assert(
      fc.property(pair, fc.nat(), fc.integer({ min: 1, max: 255 }), ([base, next], at, flip) => {
        const difference = encodeStateDifference(base, next)
        const index = at % difference.length
        difference[index] = (difference[index] ?? 0) ^ flip
        throwsStateErrorAtMost(() => applyStateDifference(base, difference))
        throwsStateErrorAtMost(() => applyStateDifference(base, difference.subarray(0, index)))
      }),
      { numRuns: 2_000 },
    )
  })

  test.each([
    ['no length', []],
    ['a state above the bound', u32(STATE_BYTES_MAX + 1)],
    ['a run without bytes', [...u32(8), ...u32(0), ...u32(0)]],
    ['a run past the end of the state', [...u32(8), ...u32(5), ...u32(4), 1, 2, 3, 4]],
    ['a run longer than what is there', [...u32(8), ...u32(0), ...u32(4), 1, 2, 3]],
    ['a run without its head', [...u32(8), ...u32(0)]],
    ['a sum above 32 bits', [...u32(8), ...u32(2 ** 32 - 1), ...u32(2 ** 32 - 1), 1]],
  ])('with %s is refused', (_, bytes) => {
    expect(() => applyStateDifference(new Uint8Array(8), new Uint8Array(bytes))).toThrow(StateError)
  })

  test('may make a state as large as the bound', () => {
    const made = applyStateDifference(
      new Uint8Array(3).fill(7),
      new Uint8Array(u32(STATE_BYTES_MAX)),
    )
    expect(made.length).toBe(STATE_BYTES_MAX)
    expect(made.slice(0, 5)).toEqual(new Uint8Array([7, 7, 7, 0, 0]))
  })
})

describe('a device state of head and tail', () => {
  test('is decoded as it was encoded, into copies', () => {
    fc.assert(
      fc.property(state, state, (head, tail) => {
        const bytes = encodeDeviceState({ head, tail })
        const decoded = decodeDeviceState(bytes)
        bytes.fill(0xff)
        expect(decoded).toEqual({ head, tail })
      }),
    )
  })

  test('of any bytes: nothing but a StateError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        throwsStateErrorAtMost(() => decodeDeviceState(bytes))
      }),
    )
    expect(() => decodeDeviceState(new Uint8Array(3))).toThrow(StateError)
    expect(() => decodeDeviceState(new Uint8Array([...u32(2), 1]))).toThrow(StateError)
  })

  test('has a bound', () => {
    const whole = new Uint8Array(STATE_BYTES_MAX)
    expect(decodeDeviceState(whole).tail.length).toBe(STATE_BYTES_MAX - 4)
    expect(() => decodeDeviceState(new Uint8Array(STATE_BYTES_MAX + 1))).toThrow(StateError)
  })
})
