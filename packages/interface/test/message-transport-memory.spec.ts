import { describe, expect, it } from 'vitest'
import type { Clock, NodeId } from '../src/index.ts'
import {
  createMemoryTransports,
  messageTransportCases,
  type MessageTransportSetup,
} from '../src/testing.ts'

/** Time that moves when told; this package rests on none that has a clock. */
class ManualClock implements Pick<Clock, 'now' | 'schedule'> {
  readonly #jobs = new Set<{ readonly at: number; readonly callback: () => void }>()
  #now = 0

  now(): number {
    return this.#now
  }

  schedule(at: number, callback: () => void): () => void {
    const job = { at, callback }
    this.#jobs.add(job)
    return () => this.#jobs.delete(job)
  }

  elapse(ms: number): void {
    this.#now += ms
    for (const job of this.#jobs) {
      if (job.at > this.#now) continue
      this.#jobs.delete(job)
      job.callback()
    }
  }

  get pending(): number {
    return this.#jobs.size
  }
}

const names = ['a', 'b', 'c'] as NodeId[]

async function setup(): Promise<MessageTransportSetup> {
  const clock = new ManualClock()
  const init = { messageBytesMax: 10_000, handlersMax: 8 }
  const { transports, connect, disconnect } = createMemoryTransports({ clock }, names, init)
  return {
    transports,
    handlersMax: init.handlersMax,
    disconnect: async (one, other) => disconnect(one, other),
    connect: async (one, other) => connect(one, other),
    elapse: async (ms) => clock.elapse(ms),
    [Symbol.asyncDispose]: async () => expect(clock.pending).toBe(0),
  }
}

describe('the memory transports keep the contract', () => {
  for (const { name, run } of messageTransportCases) it(name, () => run(setup))
})

it('refuses names that come twice, and strangers', () => {
  const clock = new ManualClock()
  expect(() => createMemoryTransports({ clock }, ['a', 'a'] as NodeId[])).toThrow(/^names/)
  const { connect } = createMemoryTransports({ clock }, names)
  expect(() => connect('a' as NodeId, 'x' as NodeId)).toThrow(/^name must be a member/)
})

it('the queue is full at its bounds, of messages and of bytes', () => {
  const clock = new ManualClock()
  const init = { messageBytesMax: 100, queueBytesMax: 150, queueMax: 3 }
  const { transports } = createMemoryTransports({ clock }, names, init)
  const [a] = transports
  const [, b, c] = names
  expect([1, 2, 3, 4].map(() => a?.send(b as NodeId, []))).toEqual([true, true, true, false])
  const lengths = [100, 50, 1].map((length) => a?.send(c as NodeId, new Uint8Array(length)))
  expect(lengths).toEqual([true, true, false])
})
