import { describe, expect, it } from 'vitest'
import {
  createTrace,
  runSeeds,
  SimulationFailedError,
  type SimulationResult,
} from '../src/index.ts'

const result = (traceHash: string): SimulationResult => ({
  traceHash,
  coverage: { elections: 2 },
  virtualMs: 10,
})

describe('runSeeds', () => {
  it('runs the seeds asked for, the first twice, and sums up', async () => {
    const ran: number[] = []
    const simulate = (seed: number): SimulationResult => {
      ran.push(seed)
      return result(String(seed))
    }
    const init = { packageName: 'ram', seeds: 3, firstSeed: 5 }
    const told: number[] = []
    const sum = await runSeeds(
      { name: 'x', simulate },
      { ...init, onSeed: (seed) => told.push(seed) },
    )
    expect(ran).toEqual([5, 5, 6, 7])
    expect(told).toEqual([5, 6, 7])
    expect(sum).toEqual({ seeds: 3, coverage: { elections: 6 }, virtualMs: 30 })
  })

  it('a violation names the seed and the line that repeats it', async () => {
    const cause = new Error('two leaders')
    const simulate = (seed: number): SimulationResult => {
      if (seed === 42) throw cause
      return result('same')
    }
    const failed = runSeeds({ name: 'raft', simulate }, { packageName: 'raft' })
    await expect(failed).rejects.toThrow(SimulationFailedError)
    await expect(failed).rejects.toMatchObject({
      code: 'ERR_SIMULATION_FAILED',
      seed: 42,
      cause,
      reproduce: 'npm run sim -- raft --seeds 1 --seed 42',
      message: 'raft, seed 42: two leaders\nreproduce: npm run sim -- raft --seeds 1 --seed 42',
    })
  })

  it('finds a simulation that depends on more than its seed', async () => {
    let calls = 0
    const simulate = async (): Promise<SimulationResult> => result(String(calls++))
    await expect(runSeeds({ name: 'x', simulate }, { packageName: 'p' })).rejects.toThrow(
      /not deterministic: trace hashes 0 and 1/,
    )
  })

  it('refuses a number of seeds that is not positive', async () => {
    const simulation = { name: 'x', simulate: () => result('') }
    for (const seeds of [0, 1.5]) {
      await expect(runSeeds(simulation, { packageName: 'p', seeds })).rejects.toThrow(/^seeds/)
    }
  })
})

describe('trace', () => {
  it('is FNV-1a of 64 bits over the code units of the events', () => {
    let expected = 0xcbf29ce484222325n
    const trace = createTrace({ keep: 2 })
    for (const event of ['first', 'zweites – äöü', '', 'last'.repeat(100)]) {
      trace.add(event)
      const units = [...event].map((text) => text.charCodeAt(0))
      for (const unit of [...units, 0x1_0000]) {
        expected = ((expected ^ BigInt(unit)) * 0x100000001b3n) & 0xffffffffffffffffn
      }
      expect(trace.hash).toBe(expected.toString(16).padStart(16, '0'))
    }
    expect(trace.eventCount).toBe(4)
    expect(trace.events).toEqual(['', 'last'.repeat(100)])
  })

  it('tells apart where one event ends and the next begins', () => {
    const hashOf = (...events: string[]): string => {
      const trace = createTrace()
      for (const event of events) trace.add(event)
      return trace.hash
    }
    expect(hashOf('ab', 'c')).not.toBe(hashOf('a', 'bc'))
    expect(hashOf('abc')).not.toBe(hashOf('abc', ''))
  })
})
