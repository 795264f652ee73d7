import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CapturedLines, HELD_BYTES_MAX, OutputGate } from '../../src/core/output-gate.ts'

describe('the output gate', () => {
  test('holds from the beginning, and lets out what an epoch holds', () => {
    const gate = new OutputGate()
    expect(gate.print(['a'])).toEqual([])
    const first = gate.capture()
    expect(gate.print(['b'])).toEqual([])
    expect(gate.sealed(first, 1)).toEqual([])
    expect(gate.release(1)).toEqual(['a'])
    const second = gate.capture()
    // Acknowledged before the sealing side knows its number.
    expect(gate.release(2)).toEqual([])
    expect(gate.sealed(second, 2)).toEqual(['b'])
  })

  test('opens in order, also while an epoch is sealed, and passes then', () => {
    const gate = new OutputGate()
    gate.print(['a'])
    const captured = gate.capture()
    gate.print(['b'])
    expect(gate.open()).toEqual(['a', 'b'])
    expect(gate.sealed(captured, 1)).toEqual([])
    expect(gate.print(['c'])).toEqual(['c'])
    gate.hold()
    expect(gate.print(['d'])).toEqual([])
    expect(gate.open()).toEqual(['d'])
  })

  test('lets every line out once, in order, and none before its epoch', () => {
    const action = fc.oneof(
      { weight: 4, arbitrary: fc.constant('print' as const) },
      fc.constantFrom('capture', 'sealed', 'release', 'open', 'hold'),
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
        const gate = new OutputGate()
        const seen: string[] = []
        let printed = 0
        let epochs = 0
        let released = 0
        let isOpen = false
        let passed = 0
        /** Lines printed by the capture of each epoch. */
        const contents = [0]
        let captured: CapturedLines | undefined
        const see = (lines: readonly string[]): void => void seen.push(...lines)
        for (const one of actions) {
          if (one === 'print') see(gate.print([`${++printed}`]))
          else if (one === 'hold') {
            gate.hold()
            isOpen = false
          } else if (one === 'open') {
            see(gate.open())
            isOpen = true
          } else if (one === 'capture' && captured === undefined) {
            captured = gate.capture()
            contents.push(printed)
          } else if (one === 'sealed' && captured !== undefined) {
            see(gate.sealed(captured, ++epochs))
            captured = undefined
          } else if (one === 'release' && released < contents.length - 1) {
            see(gate.release(++released))
          }
          expect(seen).toEqual(seen.map((_, index) => `${index + 1}`))
          if (isOpen) passed = printed
          // Not before its epoch, unless it passed.
          if (isOpen) expect(seen.length).toBe(printed)
          else expect(seen.length).toBeLessThanOrEqual(Math.max(contents[released] ?? 0, passed))
        }
        see(gate.open())
        expect(seen.length).toBe(printed)
      }),
      { numRuns: 2_000 },
    )
  })

  test('drops what comes on top of its bound, and begins anew when something has left', () => {
    const gate = new OutputGate()
    // Two bytes a character and the overhead of a line.
    const line = 'x'.repeat(1024 - 32)
    const linesMax = HELD_BYTES_MAX / 2048
    gate.print(Array.from({ length: linesMax }, () => line))
    expect(gate.isFull).toBe(false)
    gate.print([line, 'short'])
    expect(gate.isFull).toBe(true)
    const captured = gate.capture()
    gate.print(['lost'])
    expect(gate.sealed(captured, 1)).toEqual([])
    expect(gate.release(1).length).toBe(linesMax)
    expect(gate.isFull).toBe(false)
    gate.print(['kept'])
    expect(gate.open()).toEqual(['kept'])
  })
})
