import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeFrame, type Frame, FrameReader } from '../src/wire.ts'

const MESSAGE_BYTES_MAX = 64

const id = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const bytes = fc.uint8Array({ maxLength: MESSAGE_BYTES_MAX })
const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({ kind: fc.constant('message' as const), bytes }),
  fc.record({ kind: fc.constantFrom('question' as const, 'answer' as const), id, bytes }),
  fc.record({
    kind: fc.constant('refusal' as const),
    id,
    code: fc.stringMatching(/^[A-Z][A-Z0-9_]{0,63}$/),
  }),
  fc.record({ kind: fc.constant('cancel' as const), id }),
)

function encode(one: Frame): Uint8Array {
  switch (one.kind) {
    case 'message':
      return encodeFrame('message', undefined, [one.bytes.subarray(0, 3), one.bytes.subarray(3)])
    case 'question':
    case 'answer':
      return encodeFrame(one.kind, one.id, [one.bytes])
    case 'refusal':
      return encodeFrame('refusal', one.id, [new TextEncoder().encode(one.code)])
    case 'cancel':
      return encodeFrame('cancel', one.id, [])
  }
}

function readAll(stream: Uint8Array, cuts: readonly number[], max = MESSAGE_BYTES_MAX): Frame[] {
  const reader = new FrameReader({ messageBytesMax: max })
  const ends = [...cuts.map((cut) => cut % (stream.length + 1)), stream.length].sort(
    (a, b) => a - b,
  )
  const frames: Frame[] = []
  let start = 0
  for (const end of ends) {
    frames.push(...reader.push(stream.subarray(start, end)))
    start = end
  }
  expect(reader.isInside).toBe(false)
  return frames
}

describe('frames', () => {
  it('come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(frame), fc.array(fc.nat()), (frames, cuts) => {
        const stream = Buffer.concat(frames.map(encode))
        expect(readAll(stream, cuts)).toEqual(frames)
      }),
    )
  })

  it('have bytes of their own', () => {
    const stream = encodeFrame('message', undefined, [Uint8Array.of(1, 2)])
    const [read] = readAll(stream, [])
    stream.fill(9)
    expect(read).toEqual({ kind: 'message', bytes: Uint8Array.of(1, 2) })
  })

  it('any bytes are frames or ERR_FABRIC_FRAME, never more', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (stream) => {
        const reader = new FrameReader({ messageBytesMax: MESSAGE_BYTES_MAX })
        try {
          for (const read of reader.push(stream)) expect(encode(read).length).toBeLessThan(100)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_FABRIC_FRAME' })
        }
      }),
    )
  })

  it('a message of the longest bytes passes, one more does not', () => {
    for (const kind of ['message', 'question', 'answer'] as const) {
      const number = kind === 'message' ? undefined : 1n
      const of = (length: number): Uint8Array => encodeFrame(kind, number, [new Uint8Array(length)])
      expect(readAll(of(10), [], 10)).toHaveLength(1)
      expect(() => readAll(of(11), [], 10)).toThrow(/^bad frame/)
    }
  })

  const head = (length: number, ...body: number[]): Uint8Array => {
    const bytesOfFrame = new Uint8Array(4 + body.length)
    new DataView(bytesOfFrame.buffer).setUint32(0, length)
    bytesOfFrame.set(body, 4)
    return bytesOfFrame
  }

  it.each([
    ['no kind', head(0)],
    ['a length beyond the bound, before its bytes', head(2 ** 32 - 1)],
    ['an unknown kind', head(9, 5, 0, 0, 0, 0, 0, 0, 0, 0)],
    ['a question without its number', head(8, 1, 0, 0, 0, 0, 0, 0, 0)],
    ['a refusal with a line feed', head(10, 3, 0, 0, 0, 0, 0, 0, 0, 0, 10)],
    ['a refusal without a code', head(9, 3, 0, 0, 0, 0, 0, 0, 0, 0)],
    ['a cancel with content', head(10, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1)],
  ])('refuses %s', (_, stream) => {
    expect(() => readAll(stream, [])).toThrow(expect.objectContaining({ code: 'ERR_FABRIC_FRAME' }))
  })
})
