import { describe, expect, it } from 'vitest'
import { bulkChannelCases, type BulkChannelSetup, createMemoryChannelPair } from '../src/testing.ts'

async function setup(): Promise<BulkChannelSetup> {
  const pair = createMemoryChannelPair({ bufferBytesMax: 2 ** 18 })
  return {
    opener: pair.opener,
    acceptor: pair.acceptor,
    suspend: async () => pair.suspend(),
    resume: async () => pair.resume(),
    lose: async () => pair.lose(),
    [Symbol.asyncDispose]: async () => {
      for (const end of [pair.opener, pair.acceptor]) end.abort(new Error('the case is over'))
    },
  }
}

describe('the memory channel keeps the contract', () => {
  for (const { name, run } of bulkChannelCases) it(name, () => run(setup))
})

it('refuses sizes out of bounds, at the bound and past it', () => {
  expect(() => createMemoryChannelPair({ bufferBytesMax: 15 })).toThrow(/^bufferBytesMax/)
  expect(() => createMemoryChannelPair({ bufferBytesMax: 16 })).not.toThrow()
  const message = { bufferBytesMax: 1_600 }
  expect(() => createMemoryChannelPair({ ...message, messageBytesMax: 1_500 })).not.toThrow()
  expect(() => createMemoryChannelPair({ ...message, messageBytesMax: 1_501 })).toThrow(/^message/)
})
