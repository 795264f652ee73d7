import type { Connection, Stream } from '@libp2p/interface'
import { describe, expect, it } from 'vitest'
import { Outbox, type OutgoingFrame } from '../src/outbox.ts'

/** As much of a stream of libp2p as an outbox uses. */
class ToyStream extends EventTarget {
  readonly sent: number[] = []
  readonly protocol = '/mycelium/toy/1.0'
  /** Frames until it asks to wait. */
  room = Infinity
  state: 'open' | 'closed' | 'aborted' = 'open'

  send(bytes: Uint8Array): boolean {
    if (this.state !== 'open') throw new Error('closed')
    this.sent.push(bytes[0] ?? -1)
    return --this.room > 0
  }

  drain(room: number): void {
    this.room = room
    this.dispatchEvent(new Event('drain'))
  }

  async close(): Promise<void> {
    this.state = 'closed'
  }

  abort(error: Error): void {
    this.state = 'aborted'
    this.dispatchEvent(Object.assign(new Event('close'), { error }))
  }
}

function create(queueMax = 4) {
  const state = {
    now: 0,
    connection: { status: 'open' } as Connection | undefined,
    streams: [] as ToyStream[],
    broken: [] as Stream[],
    refusals: 0,
  }
  const outbox = new Outbox(
    {
      connection: () => state.connection,
      open: async () => {
        if (state.refusals > 0) {
          state.refusals--
          throw new Error('refused')
        }
        const stream = new ToyStream()
        state.streams.push(stream)
        return stream as unknown as Stream
      },
      onBroken: (stream) => state.broken.push(stream),
      now: () => state.now,
    },
    { queueBytesMax: 100, queueMax, retryMs: 500 },
  )
  const dropped: number[] = []
  const push = (number: number, extra: Partial<OutgoingFrame> = {}): void => {
    const onDropped = (): void => void dropped.push(number)
    outbox.push({ bytes: Uint8Array.of(number), isCounted: true, onDropped, ...extra })
  }
  return { outbox, state, push, dropped }
}

async function settle(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
}

describe('an outbox', () => {
  it('opens one stream when there is something to send, and keeps the order', async () => {
    const { outbox, state, push } = create()
    expect(outbox.protocol).toBeUndefined()
    for (const number of [1, 2, 3]) push(number)
    await settle()
    push(4)
    expect(state.streams.map(({ sent }) => sent)).toEqual([[1, 2, 3, 4]])
    expect(outbox.protocol).toBe('/mycelium/toy/1.0')
  })

  it('waits for drain; what is not wanted any more is left out', async () => {
    const { outbox, state, push } = create()
    push(1)
    await settle()
    const [stream] = state.streams
    if (stream === undefined) throw new Error('no stream')
    stream.room = 1
    push(2)
    let isWanted = true
    push(3, { isWanted: () => isWanted })
    push(4)
    expect(stream.sent).toEqual([1, 2])
    isWanted = false
    stream.drain(9)
    expect(stream.sent).toEqual([1, 2, 4])
    expect(outbox.hasRoom(100)).toBe(true)
  })

  it('has room up to its bounds of frames and of bytes; answers take none', async () => {
    const { outbox, state, push } = create(2)
    state.connection = undefined
    expect(outbox.hasRoom(100)).toBe(true)
    expect(outbox.hasRoom(101)).toBe(false)
    push(1)
    push(2, { isCounted: false })
    expect(outbox.hasRoom(99)).toBe(true)
    expect(outbox.hasRoom(100)).toBe(false)
    push(3)
    expect(outbox.hasRoom(0)).toBe(false)
  })

  it('moves to another connection: the old stream ends in order, the rest goes on', async () => {
    const { outbox, state, push } = create()
    push(1)
    await settle()
    const [old] = state.streams
    if (old === undefined) throw new Error('no stream')
    old.room = 1
    push(2)
    push(3)
    state.connection = { status: 'open' } as Connection
    outbox.move()
    await settle()
    expect(old.state).toBe('closed')
    expect(state.streams.map(({ sent }) => sent)).toEqual([[1, 2], [3]])
    old.dispatchEvent(new Event('close'))
    expect(state.broken).toEqual([])
  })

  it('a stream that comes for a connection no longer used is closed', async () => {
    const { outbox, state, push } = create()
    push(1)
    state.connection = { status: 'open' } as Connection
    outbox.move()
    await settle()
    expect(state.streams.map(({ state: of }) => of)).toEqual(['closed', 'open'])
    expect(state.streams.map(({ sent }) => sent)).toEqual([[], [1]])
  })

  it('refused: all is dropped, and held off for a while', async () => {
    const { outbox, state, push, dropped } = create()
    state.refusals = 1
    push(1)
    push(2)
    await settle()
    expect(dropped).toEqual([1, 2])
    state.now = 499
    expect(outbox.isHeldOff).toBe(true)
    state.now = 500
    expect(outbox.isHeldOff).toBe(false)
    push(3)
    await settle()
    expect(state.streams.map(({ sent }) => sent)).toEqual([[3]])
  })

  it('broken while its connection stands: told, held off; the next goes by a new one', async () => {
    const { outbox, state, push } = create()
    push(1)
    await settle()
    state.streams[0]?.abort(new Error('reset'))
    await settle()
    expect(state.broken).toHaveLength(1)
    expect(outbox.isHeldOff).toBe(true)
    push(2)
    await settle()
    expect(state.streams.map(({ sent }) => sent)).toEqual([[1], [2]])
  })

  it('broken with its connection: what waits goes by the next one', async () => {
    const { outbox, state, push, dropped } = create()
    push(1)
    await settle()
    const [stream] = state.streams
    if (stream === undefined) throw new Error('no stream')
    stream.room = 1
    push(2)
    push(3)
    stream.abort(new Error('gone'))
    state.connection = { status: 'open' } as Connection
    await settle()
    expect(outbox.isHeldOff).toBe(false)
    expect(dropped).toEqual([])
    expect(state.streams.map(({ sent }) => sent)).toEqual([[1, 2], [3]])
  })

  it('closed: drops what waits, and all that comes later', async () => {
    const { outbox, state, push, dropped } = create()
    push(1)
    outbox.close()
    push(2)
    await settle()
    expect(dropped).toEqual([1, 2])
    expect(state.streams.flatMap(({ sent }) => sent)).toEqual([])
  })
})
