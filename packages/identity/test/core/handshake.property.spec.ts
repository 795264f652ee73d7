import fc from 'fast-check'
import { createSeededRandom } from '@mycelium/simulator'
import { describe, expect, test } from 'vitest'
import { HANDSHAKE_TIMEOUT_MS, WIRE_FRAME_BYTES_MAX } from '../../src/constants.ts'
import { addFrameHeader, createFrameReader } from '../../src/core/frames.ts'
import { decodeMessage } from '../../src/core/messages.ts'
import { createTries } from '../../src/core/tries.ts'
import { newInitiator, newResponder, runPair, timeAt } from '../kit/handshake-pair.ts'
import type { PairInit } from '../kit/handshake-pair.ts'
import { createTestMember, createTestNetwork } from '../kit/network.ts'

const random = createSeededRandom(5, 'fuzz')
const network = createTestNetwork(random.fork('network'))

const pair: PairInit = {
  random: random.fork('nonces'),
  initiator: createTestMember(network),
  responder: createTestMember(network),
}
/** 8 frames: see the test of two members. */
const FRAMES = 8

describe('whatever is done to a frame on its way', () => {
  test('a flipped bit: one side refuses at least, and nobody throws', () => {
    fc.assert(
      fc.property(fc.nat(FRAMES - 1), fc.nat(), (target, bit) => {
        const result = runPair({
          ...pair,
          tamper: (frame, _, index) => {
            if (index !== target) return [frame]
            const changed = Uint8Array.from(frame)
            const at = bit % (8 * frame.byteLength)
            changed[at >> 3]! ^= 1 << (at & 7)
            return [changed]
          },
        })
        const sides = [result.initiator, result.responder]
        expect(sides.some((side) => side !== undefined && 'refused' in side)).toBe(true)
        // The one that got the changed frame never believes it.
        const victim = result.frames[target]?.from === 'initiator' ? 'responder' : 'initiator'
        const isHello = target < 2
        if (!isHello) expect(result[victim]).not.toHaveProperty('proven')
      }),
      { numRuns: 1500 },
    )
  })

  test('cut short: refused as malformed', () => {
    fc.assert(
      fc.property(fc.nat(FRAMES - 1), fc.nat(), (target, length) => {
        const result = runPair({
          ...pair,
          tamper: (frame, _, index) =>
            index === target ? [frame.subarray(0, length % frame.byteLength)] : [frame],
        })
        const victim = result.frames[target]?.from === 'initiator' ? 'responder' : 'initiator'
        expect(result[victim]).toEqual({ refused: 'malformed', isByPeer: false })
      }),
      { numRuns: 500 },
    )
  })

  // The last frame of each side is left out: what comes behind it is no part of the handshake.
  test('any bytes in its place, or lost, or twice: nobody is proven that was not', () => {
    const bytes = fc.uint8Array({ maxLength: 200 })
    const change = fc.oneof(
      bytes.map((some) => () => [some]),
      fc.constant(() => []),
      fc.constant((frame: Uint8Array) => [frame, frame]),
    )
    fc.assert(
      fc.property(fc.nat(FRAMES - 3), change, (target, edit) => {
        const result = runPair({
          ...pair,
          tamper: (frame, _, index) => (index === target ? edit(frame) : [frame]),
        })
        const both = [result.initiator, result.responder]
        expect(both.every((side) => side !== undefined && 'proven' in side)).toBe(false)
      }),
      { numRuns: 800 },
    )
  })
})

test('any sequence of inputs at any times ends, without a throw and without a proof', () => {
  const recorded = runPair(pair).frames.map(({ frame }) => frame)
  const frame = fc.oneof(
    fc.constantFrom(...recorded).map((bytes) => ({ kind: 'frame' as const, frame: bytes })),
    fc.uint8Array({ maxLength: 64 }).map((bytes) => ({ kind: 'frame' as const, frame: bytes })),
    fc.constant({ kind: 'tick' as const }),
    fc.constant({ kind: 'malformed' as const }),
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(frame, fc.nat(4000)), { maxLength: 24 }), (inputs) => {
      for (const side of [newInitiator(pair), newResponder(pair)]) {
        let now = 0
        const effects = inputs.flatMap(([input, after]) => side.step(input, timeAt((now += after))))
        expect(effects.filter(({ kind }) => kind === 'proven')).toEqual([])
        side.step({ kind: 'tick' }, timeAt(now + HANDSHAKE_TIMEOUT_MS))
        side.step({ kind: 'tick' }, timeAt(now + 2 * HANDSHAKE_TIMEOUT_MS))
        expect(side.isEnded).toBe(true)
      }
    }),
    { numRuns: 500 },
  )
})

test('no bytes make the decoder of messages throw', () => {
  const recorded = runPair(pair).frames.map(({ frame }) => frame)
  for (const frame of recorded) expect(decodeMessage(frame)).toBeDefined()
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      expect(decodeMessage(bytes)).toBeUndefined()
    }),
    { numRuns: 1000 },
  )
})

describe('frames', () => {
  test('come out as they went in, however they are cut, and the rest stays', () => {
    const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { maxLength: 8 })
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 90 })), (list, cuts) => {
        const wire = Uint8Array.from(list.flatMap((frame) => [...addFrameHeader(frame)]))
        const reader = createFrameReader()
        const read: Uint8Array[] = []
        const drain = (): void => {
          for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
            if (frame === 'malformed') throw new Error('malformed')
            read.push(frame)
          }
        }
        let offset = 0
        for (const cut of cuts) {
          reader.push(wire.subarray(offset, offset + cut))
          offset = Math.min(offset + cut, wire.byteLength)
          drain()
        }
        reader.push(wire.subarray(offset))
        reader.push(Uint8Array.of(0))
        drain()
        expect(read).toEqual(list)
        expect(reader.rest()).toEqual(Uint8Array.of(0))
        expect(reader.rest()).toHaveLength(0)
      }),
    )
  })

  test('that are empty or too long are told by their first 2 bytes', () => {
    for (const header of [
      [0, 0],
      [0x40, 0x01],
      [0xff, 0xff],
    ]) {
      const reader = createFrameReader()
      reader.push(Uint8Array.from(header))
      expect(reader.next()).toBe('malformed')
    }
    expect(() => addFrameHeader(new Uint8Array(WIRE_FRAME_BYTES_MAX + 1))).toThrow(RangeError)
    expect(() => addFrameHeader(new Uint8Array(0))).toThrow(RangeError)
    expect(addFrameHeader(new Uint8Array(WIRE_FRAME_BYTES_MAX))).toHaveLength(2 + 16_384)
  })
})

describe('wrong tries', () => {
  test('wait longer and longer, up to a bound; after a minute they are free again', () => {
    const tries = createTries()
    const delays = Array.from({ length: 12 }, () => {
      const delay = tries.failed('/ip4/192.0.2.1', 0)
      tries.answered()
      return delay
    })
    expect(delays).toEqual([0, 0, 0, 0, 0, 250, 500, 1000, 2000, 4000, 4000, 4000])
    expect(tries.failed('/ip4/192.0.2.2', 0)).toBe(0)
    expect(tries.failed('/ip4/192.0.2.1', 59_999)).toBe(4000)
    expect(tries.failed('/ip4/192.0.2.1', 60_000)).toBe(0)
  })

  test('of which 16 wait get no answer any more', () => {
    const tries = createTries()
    const answers = Array.from({ length: 5 + 17 }, () => tries.failed('/ip4/192.0.2.1', 0))
    expect(answers.slice(5, 21).every((one) => typeof one === 'number')).toBe(true)
    expect(answers[21]).toBe('drop')
    tries.answered()
    expect(tries.failed('/ip4/192.0.2.1', 0)).toBe(4000)
  })

  test('of more addresses than are remembered: the quietest is forgotten', () => {
    const tries = createTries()
    for (let count = 0; count < 6; count++) tries.failed('first', 0)
    for (let index = 0; index < 1023; index++) tries.failed(`other ${index}`, 0)
    expect(tries.failed('first', 0)).toBe(500)
    for (let index = 0; index < 1024; index++) tries.failed(`another ${index}`, 0)
    expect(tries.failed('first', 0)).toBe(0)
  })
})
