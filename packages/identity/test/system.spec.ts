import { describe, expect, it } from 'vitest'
import { createSystemClock, createSystemRandom } from '../src/system.ts'

describe('the clock of the system', () => {
  const clock = createSystemClock()

  it('never calls before the time, nor at once', async () => {
    const at = clock.now() + 5.5
    let isInCall = true
    const calledAt = new Promise<number>((resolve) => {
      clock.schedule(at, () => {
        expect(isInCall).toBe(false)
        resolve(clock.now())
      })
    })
    isInCall = false
    expect(await calledAt).toBeGreaterThanOrEqual(at)
  })

  it('takes back what was scheduled, also far away', async () => {
    const called: string[] = []
    const cancel = clock.schedule(clock.now() + 1, () => called.push('cancelled'))
    const cancelFar = clock.schedule(clock.now() + 2 ** 40, () => called.push('far'))
    cancel()
    cancel()
    await new Promise<void>((resolve) => {
      clock.schedule(clock.now() + 3, resolve)
    })
    cancelFar()
    expect(called).toEqual([])
    expect(() => clock.schedule(Number.NaN, () => {})).toThrow(RangeError)
  })
})

describe('chance of the system', () => {
  const random = createSystemRandom().fork('test')

  it('gives bytes and numbers within their bound', () => {
    expect(random.bytes(16)).toHaveLength(16)
    expect(random.bytes(16)).not.toEqual(random.bytes(16))
    expect(random.below(1)).toBe(0)
    const seen = new Set(Array.from({ length: 200 }, () => random.below(3)))
    expect([...seen].sort()).toEqual([0, 1, 2])
  })

  it.each([0, -1, 1.5, 2 ** 32 + 1, Number.NaN])('refuses the bound %d', (bound) => {
    expect(() => random.below(bound)).toThrow(RangeError)
  })
})
