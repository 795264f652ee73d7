import { describe, expect, it } from 'vitest'
import { BrokenPromiseError, eachOf, until } from '../../src/drill/until.ts'

const never = new AbortController().signal

describe('until', () => {
  it('looks until nothing is missing, and tells how long that took', async () => {
    const missing = ['two', 'one']
    const look = () => Promise.resolve(missing.pop())
    const init = { signal: never, timeoutMs: 60_000, what: 'counting' }
    expect(await until(look, init)).toBeGreaterThanOrEqual(0)
    expect(missing).toEqual([])
  })

  it('rejects when the time is over, with what was missing last', async () => {
    const waiting = until(() => Promise.resolve('a node'), {
      signal: never,
      timeoutMs: 0,
      what: 'seeing all',
    })
    await expect(waiting).rejects.toThrow(BrokenPromiseError)
    await expect(waiting).rejects.toThrow('seeing all took more than 0 s: a node')
  })

  it('rejects with the reason of its signal', async () => {
    const reason = new Error('enough')
    const init = { signal: AbortSignal.abort(reason), timeoutMs: 60_000, what: 'waiting' }
    await expect(until(() => Promise.resolve('all'), init)).rejects.toBe(reason)
  })
})

describe('eachOf', () => {
  it('does all, never more at once than allowed', async () => {
    let atWork = 0
    let most = 0
    const done: number[] = []
    await eachOf([1, 2, 3, 4, 5], 2, async (item) => {
      most = Math.max(most, ++atWork)
      await Promise.resolve()
      done.push(item)
      atWork--
    })
    expect(done).toEqual([1, 2, 3, 4, 5])
    expect(most).toBe(2)
  })

  it('of nothing', async () => {
    await eachOf([], 2, () => Promise.reject(new Error('what?')))
  })

  it('rejects as the first that does', async () => {
    const failure = new Error('no')
    await expect(eachOf([1], 2, () => Promise.reject(failure))).rejects.toBe(failure)
  })
})
