import { createMemoryChannelPair } from '@mycelium/interface/testing'
import { describe, expect, it } from 'vitest'
import { FILL_CHUNKS_UNDER_WAY_MAX } from '../src/constants.ts'
import { FillSender } from '../src/fill-sender.ts'

const turn = async (): Promise<void> => {
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
}

describe('the sender of fills', () => {
  it('has a bounded number of messages under way, and empties those that arrived', async () => {
    const pair = createMemoryChannelPair()
    const sender = new FillSender()
    pair.suspend()
    const messages = Array.from({ length: FILL_CHUNKS_UNDER_WAY_MAX }, () => new Uint8Array(100))
    const last = messages.pop() ?? new Uint8Array()
    for (const message of messages) await sender.send(pair.opener, message)
    let isDone = false
    const sent = sender.send(pair.opener, last).then(() => {
      isDone = true
    })
    await turn()
    expect(isDone).toBe(false)
    expect(messages.map(({ byteLength }) => byteLength)).toEqual(messages.map(() => 100))
    const other = createMemoryChannelPair()
    await sender.send(other.opener, new Uint8Array(100)) // each channel by itself
    pair.resume()
    await sent
    await pair.opener.flush()
    expect([...messages, last].every(({ byteLength }) => byteLength === 0)).toBe(true)
    await Promise.all([pair.opener.close(), other.opener.close()])
  })

  it('does not wait for a channel that is lost', async () => {
    const pair = createMemoryChannelPair()
    const sender = new FillSender()
    pair.suspend()
    const sends = Array.from({ length: FILL_CHUNKS_UNDER_WAY_MAX + 5 }, () =>
      sender.send(pair.opener, new Uint8Array(100)),
    )
    pair.lose()
    await Promise.allSettled(sends)
    await expect(sender.send(pair.opener, new Uint8Array(100))).rejects.toMatchObject({
      code: 'ERR_BULK_SESSION_LOST',
    })
  })

  it('leaves memory alone in which more lies than the message', async () => {
    const pair = createMemoryChannelPair()
    const memory = new Uint8Array(200).fill(7)
    await new FillSender().send(pair.opener, memory.subarray(50, 150))
    await pair.opener.flush()
    expect(memory).toEqual(new Uint8Array(200).fill(7))
    await pair.opener.close()
  })
})
