import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createBoottimeClock, createRegion } from '../src/index.ts'

describe('the boottime clock', () => {
  it('goes with the uptime of the machine and the time of day', () => {
    const clock = createBoottimeClock()
    const uptimeMs = (): number => Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1e3
    const before = uptimeMs()
    const now = clock.now()
    // In hundredths of a second, cut off.
    expect(now).toBeGreaterThanOrEqual(before)
    expect(now).toBeLessThan(uptimeMs() + 10)
    expect(Math.abs(clock.unixMs() - Date.now())).toBeLessThan(10_000)
  })

  it('calls once, never before the time, never at once', async () => {
    const clock = createBoottimeClock()
    for (const delayMs of [0, 0.3, 5.7]) {
      const at = clock.now() + delayMs
      let calls = 0
      await new Promise<void>((resolve) => {
        const cancel = clock.schedule(at, () => {
          calls++
          resolve()
        })
        expect(calls).toBe(0)
        void cancel
      })
      expect(clock.now()).toBeGreaterThanOrEqual(at)
      expect(calls).toBe(1)
    }
  })

  it('takes back what it was to call, and times beyond the reach of a timer', async () => {
    const clock = createBoottimeClock()
    let calls = 0
    const call = (): void => {
      calls++
    }
    const cancel = clock.schedule(clock.now() + 1, call)
    const cancelFar = clock.schedule(clock.now() + 2 ** 40, call)
    cancel()
    cancel()
    await new Promise<void>((resolve) => {
      clock.schedule(clock.now() + 5, resolve)
    })
    cancelFar()
    expect(calls).toBe(0)
  })
})

it('hashes pages, each with its number, and 0 for zeroes', async () => {
  using region = createRegion({ bytes: 4 * 4096, name: 'hashed' })
  region.buffer.fill(7, 4096, 3 * 4096)
  const hashes = new BigUint64Array((await region.hashPages()).buffer)
  expect([hashes[0], hashes[3]]).toEqual([0n, 0n])
  expect(hashes[1]).not.toBe(hashes[2])
  expect(readFileSync('/proc/self/maps', 'utf8')).toContain('hashed')
})
