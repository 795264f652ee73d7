import { describe, expect, it } from 'vitest'
import { createSeededRandom } from '@mycelium/simulator'
import {
  ChannelDecoder,
  encodeFrame,
  encodeHello,
  encodeRefusal,
  HEAD_BYTES_MAX,
  type WireFrame,
} from '../src/channel-wire.ts'
import { FRAGMENT_BYTES_MAX } from '../src/core/session-constants.ts'
import type { SessionFrame, SessionState } from '../src/core/session-types.ts'

const BIG = Number.MAX_SAFE_INTEGER
const state: SessionState = {
  control: { delivered: 1, consumedBytes: 2 ** 40 + 5 },
  bulk: { delivered: BIG, consumedBytes: 0 },
  ended: true,
}
const limits = { messageBytesMax: 2 ** 20, bufferBytesMax: 2 ** 33 }
const hello = { type: 'hello', attempt: 2 ** 32 - 1, fresh: true, state, ...limits } as const
const introduction = {
  sessionId: Uint8Array.from({ length: 16 }, (_, index) => index),
  from: 'node-a',
  to: 'node-b é',
  purpose: 'ram/vm/7',
}
const content = Uint8Array.from({ length: 300 }, (_, index) => index & 0xff)
const data: SessionFrame = {
  type: 'data',
  priority: 'bulk',
  sequence: 2 ** 45,
  offset: 100,
  totalBytes: 1_000,
  parts: [content.subarray(0, 1), content.subarray(1)],
}
const small: Exclude<SessionFrame, { type: 'hello' | 'data' }>[] = [
  { type: 'welcome', state, ...limits },
  { type: 'state', state },
  { type: 'ping', token: 12.5 },
  { type: 'pong', token: -3 },
  { type: 'end' },
  { type: 'close' },
  { type: 'closed' },
  { type: 'abort' },
]
const stream = Buffer.concat([
  encodeHello(hello, introduction),
  ...small.flatMap((frame) => encodeFrame(frame)),
  encodeRefusal('queue-full'),
  ...encodeFrame(data),
  ...encodeFrame({ ...data, priority: 'control', offset: 0, parts: [content] }),
])

/** Frames of `bytes` given in portions; parts of one data frame put together again. */
function decode(bytes: Uint8Array, portion: (at: number) => number): WireFrame[] {
  const decoder = new ChannelDecoder()
  const frames: WireFrame[] = []
  const onFrame = (frame: WireFrame): void => {
    const last = frames.at(-1)
    const continues =
      frame.type === 'data' &&
      last?.type === 'data' &&
      last.priority === frame.priority &&
      last.offset + last.bytes.byteLength === frame.offset
    if (!continues) frames.push(frame)
    else frames[frames.length - 1] = { ...last, bytes: Buffer.concat([last.bytes, frame.bytes]) }
  }
  for (let at = 0; at < bytes.byteLength;) {
    const size = portion(at)
    decoder.push(bytes.subarray(at, at + size), onFrame)
    at += size
  }
  return frames
}

const expected = [
  { ...hello, ...introduction },
  ...small,
  { type: 'refused', reason: 'queue-full' },
  { type: 'data', priority: 'bulk', sequence: 2 ** 45, offset: 100, totalBytes: 1_000 },
  { type: 'data', priority: 'control', sequence: 2 ** 45, offset: 0, totalBytes: 1_000 },
]

describe('channel wire', () => {
  it('gives back what was encoded, however the stream is cut', () => {
    for (let size = 1; size <= 64; size++) {
      const frames = decode(stream, () => size)
      expect(frames).toMatchObject(expected)
      for (const frame of frames) {
        if (frame.type === 'data') expect(Buffer.from(frame.bytes)).toEqual(Buffer.from(content))
      }
    }
    expect(decode(stream, () => stream.byteLength)).toMatchObject(expected)
  })

  it('refuses at the bound and past it', () => {
    const refused = (change: (bytes: Buffer) => void, frame: Uint8Array): void => {
      const bytes = Buffer.from(frame)
      change(bytes)
      const code = 'ERR_RAM_FRAME'
      expect(() => decode(bytes, () => 7)).toThrow(expect.objectContaining({ code }))
    }
    const dataHead = Buffer.concat(encodeFrame(data))
    const [stateFrame = new Uint8Array()] = encodeFrame({ type: 'state', state })
    const [ping = new Uint8Array()] = encodeFrame({ type: 'ping', token: 1 })
    const greeting = encodeHello(hello, introduction)
    refused((bytes) => bytes.writeUInt8(0, 0), stateFrame)
    refused((bytes) => bytes.writeUInt8(12, 0), stateFrame)
    refused((bytes) => bytes.writeUInt8(1, 1), stateFrame)
    refused((bytes) => bytes.writeUInt8(2, 1), dataHead)
    refused((bytes) => bytes.writeUInt16LE(1, 2), dataHead)
    refused((bytes) => bytes.writeUInt32LE(34, 4), stateFrame)
    refused((bytes) => bytes.writeUInt32LE(16, 4), dataHead)
    refused((bytes) => bytes.writeUInt32LE(16 + FRAGMENT_BYTES_MAX + 1, 4), dataHead)
    refused((bytes) => bytes.writeUInt32LE(701, 16), dataHead)
    refused((bytes) => bytes.writeUInt32LE(2 ** 21, 8 + 4), dataHead)
    refused((bytes) => bytes.writeUInt8(2, 8 + 32), stateFrame)
    refused((bytes) => bytes.writeUInt32LE(2 ** 21, 8 + 4), stateFrame)
    refused((bytes) => bytes.writeDoubleLE(NaN, 8), ping)
    refused((bytes) => bytes.writeUInt8(4, 8), encodeRefusal('no-listener'))
    refused((bytes) => bytes.writeUInt8(0, 8), greeting)
    refused((bytes) => bytes.writeUInt8(2, 12), greeting)
    refused((bytes) => bytes.writeUInt8(2, 13), greeting)
    refused((bytes) => bytes.writeUInt8(1, 14), greeting)
    refused((bytes) => bytes.writeUInt8(0xff, greeting.byteLength - 1), greeting)
    refused((bytes) => bytes.writeUInt32LE(HEAD_BYTES_MAX - 8 + 1, 4), greeting)
    refused((bytes) => bytes.writeUInt32LE(10, 4), greeting)
    refused((bytes) => bytes.writeUInt32LE(0, 36), greeting) // messages of 0 bytes
  })

  it('a whole fragment passes, at the bound', () => {
    const bytes = new Uint8Array(FRAGMENT_BYTES_MAX)
    const totalBytes = FRAGMENT_BYTES_MAX
    const frame = { ...data, offset: 0, totalBytes, parts: [bytes] } as const
    expect(decode(Buffer.concat(encodeFrame(frame)), () => 65_536)).toMatchObject([{ totalBytes }])
  })

  it('a million damaged and random inputs: frames in bounds or ERR_RAM_FRAME', () => {
    const random = createSeededRandom(20_240_601)
    const tally = { frames: 0, refused: 0 }
    for (let input = 0; input < 1_000_000; input++) fuzz(random, tally)
    expect(tally.frames).toBeGreaterThan(100_000)
    expect(tally.refused).toBeGreaterThan(100_000)
  })
})

const frameStarts = (() => {
  const starts = [0]
  for (let at = 0; at < stream.byteLength;) {
    at += 8 + stream.readUInt32LE(at + 4)
    starts.push(at)
  }
  return starts
})()

/** One input: a frame or some, with flipped bits, a wrong length, a cut end, or pure noise. */
function fuzz(
  random: ReturnType<typeof createSeededRandom>,
  tally: { frames: number; refused: number },
): void {
  const first = random.below(frameStarts.length - 1)
  const from = frameStarts[first] ?? 0
  const to = frameStarts[Math.min(first + 1 + random.below(2), frameStarts.length - 1)] ?? 0
  let bytes = Buffer.from(stream.subarray(from, to))
  const kind = random.below(4)
  if (kind === 0) {
    for (let flips = 1 + random.below(3); flips > 0; flips--) {
      const at = random.below(bytes.byteLength)
      bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.below(8)), at)
    }
  } else if (kind === 1) {
    bytes.writeUInt32LE(random.below(2 ** 32), 4 * random.below(bytes.byteLength >> 2))
  } else if (kind === 2) {
    bytes = bytes.subarray(0, random.below(bytes.byteLength + 1))
  } else {
    const noise = random.bytes(1 + random.below(24))
    bytes =
      random.below(2) === 0 ? Buffer.from(noise) : Buffer.concat([bytes.subarray(0, 8), noise])
  }
  const cut = 1 + random.below(40)
  try {
    const decoder = new ChannelDecoder()
    const onFrame = (frame: WireFrame): void => {
      tally.frames++
      checkBounds(frame)
    }
    for (let at = 0; at < bytes.byteLength; at += cut) {
      decoder.push(bytes.subarray(at, at + cut), onFrame)
    }
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_RAM_FRAME') throw error
    tally.refused++
  }
}

/** What the core relies on. Written without `expect`, which would take most of the time. */
function checkBounds(frame: WireFrame): void {
  const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0
  let holds = true
  if (frame.type === 'data') {
    const { sequence, offset, totalBytes, bytes } = frame
    holds = isCount(sequence) && isCount(offset) && bytes.byteLength > 0
    holds &&= offset + bytes.byteLength <= totalBytes && totalBytes < 2 ** 32
  }
  if (frame.type === 'hello') {
    holds = frame.sessionId.byteLength === 16 && Buffer.byteLength(frame.purpose) <= 256
    holds &&= frame.from !== '' && frame.to !== '' && frame.purpose !== ''
  }
  if (frame.type === 'hello' || frame.type === 'welcome') {
    holds &&= frame.messageBytesMax >= 1 && frame.messageBytesMax <= frame.bufferBytesMax
  }
  if ('state' in frame) {
    const { control, bulk } = frame.state
    holds &&= [control, bulk].every((of) => isCount(of.delivered) && isCount(of.consumedBytes))
  }
  if (!holds) throw new Error(`out of bounds: ${JSON.stringify(frame)}`)
}
