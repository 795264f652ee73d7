import { createSeededRandom } from '@mycelium/simulator'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HEAD_BYTES, REFUSAL_CHARS_MAX } from '../src/constants.ts'
import { FrameError } from '../src/errors.ts'
import { decodeMessage, type RamMessage } from '../src/wire.ts'
import { testHash } from './kit/hash.ts'
import { encodeAny, PAGE, REGION_BYTES, samples } from './kit/messages.ts'

/** Inputs to the decoder in all; one in ten thousand of them is read from scratch again. */
const FUZZ_INPUTS = 1_200_000
const FUZZ_SEED = 20_260

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const counter = fc.maxSafeNat()
const address = { fencing: u64, counter, region: u64 }
const version = fc.record({ name: fc.record({ fencing: u64, counter }), root: u64 })
const bytes = fc.uint8Array({ maxLength: 200 })

const messages: fc.Arbitrary<RamMessage> = fc.oneof(
  fc
    .record({
      type: fc.constantFrom('chunk' as const, 'fill' as const),
      ...address,
      index: fc.nat(2 ** 32 - 1),
      payload: bytes,
      checksum: u64,
      unpackedBytes: fc.option(fc.integer({ min: 1, max: 2 ** 20 }), { nil: undefined }),
    })
    .map(({ unpackedBytes, ...rest }) => ({ ...rest, ...(unpackedBytes && { unpackedBytes }) })),
  fc
    .record({
      type: fc.constant('hello' as const),
      ...address,
      regionBytes: counter,
      root: u64,
      applied: fc.option(version, { nil: undefined }),
    })
    .map(({ applied, ...rest }) => ({ ...rest, ...(applied && { applied }) })),
  fc.record({
    type: fc.constant('offer' as const),
    ...address,
    mode: fc.constantFrom('resume' as const, 'fill' as const, 'compare' as const),
    regionBytes: counter,
  }),
  fc
    .record({ type: fc.constant('hashes' as const), ...address, page: fc.nat(63), hashes: bytes })
    .map(({ page, hashes, ...rest }) => ({
      ...rest,
      firstPage: page,
      hashes: hashes.subarray(0, Math.min(hashes.length >> 3, REGION_BYTES / PAGE - page) * 8),
    })),
  fc
    .record({
      type: fc.constant('footer' as const),
      ...address,
      root: u64,
      chunkCount: fc.nat(2 ** 32 - 1),
      kind: fc.constantFrom('none' as const, 'full' as const, 'difference' as const),
      bytes,
      base: fc.option(version, { nil: undefined }),
    })
    .map(({ kind, bytes: content, base, ...rest }) => ({
      ...rest,
      attachment: { kind, bytes: kind === 'none' ? new Uint8Array(0) : content },
      ...(base && { base }),
    })),
  fc
    .record({
      type: fc.constant('ack' as const),
      ...address,
      root: u64,
      mismatchPages: fc.option(fc.nat(2 ** 32 - 2), { nil: undefined }),
    })
    .map(({ mismatchPages, ...rest }) => ({
      ...rest,
      ...(mismatchPages !== undefined && { mismatchPages }),
    })),
  fc.record({
    type: fc.constant('refuse' as const),
    ...address,
    code: fc.stringMatching(/^[A-Z_]{0,30}$/),
    text: fc.string({ unit: 'binary', maxLength: REFUSAL_CHARS_MAX - 40 }).map((text) =>
      text
        .replaceAll('\n', ' ')
        .slice(0, REFUSAL_CHARS_MAX - 40)
        .toWellFormed(),
    ),
  }),
)

describe('the wire format', () => {
  it('gives every message back', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const encoded = encodeAny(message, testHash)
        expect(decodeMessage(encoded, REGION_BYTES, testHash)).toEqual(message)
      }),
      { numRuns: 2_000 },
    )
  })

  it(`refuses or reads ${FUZZ_INPUTS} damaged, forged and random inputs, and never else`, () => {
    const random = createSeededRandom(FUZZ_SEED, 'wire')
    const seeds = samples(testHash).map((message) => encodeAny(message, testHash))
    const counts = { read: 0, refused: 0 }
    for (let index = 0; index < FUZZ_INPUTS; index++) {
      const seed = seeds[random.below(seeds.length)] ?? new Uint8Array(0)
      const input = damage(seed, random)
      const before = index % 10_000 === 0 ? input.slice() : undefined
      const message = readOrRefuse(input, counts)
      if (message !== undefined) checkInside(message, input)
      if (before !== undefined) expect(input).toEqual(before)
    }
    // A fuzzer whose inputs are all refused at the first check has tested only that.
    expect(counts.read).toBeGreaterThan(FUZZ_INPUTS / 20)
    expect(counts.refused).toBeGreaterThan(FUZZ_INPUTS / 2)
  })
})

function readOrRefuse(
  input: Uint8Array,
  counts: { read: number; refused: number },
): RamMessage | undefined {
  try {
    const message = decodeMessage(input, REGION_BYTES, testHash)
    counts.read++
    return message
  } catch (error) {
    if (!(error instanceof FrameError)) throw error
    counts.refused++
    return undefined
  }
}

/** What was read lies within the input and the bounds. */
function checkInside(message: RamMessage, input: Uint8Array): void {
  let length = 0
  if (message.type === 'chunk' || message.type === 'fill') length = message.payload.byteLength
  if (message.type === 'footer') length = message.attachment.bytes.byteLength + 38
  if (message.type === 'hashes') {
    length = message.hashes.byteLength + 4
    const end = message.firstPage + message.hashes.byteLength / 8
    if (end > REGION_BYTES / PAGE) throw new Error(`hashes up to page ${end}`)
  }
  if (!Number.isSafeInteger(message.counter) || message.counter < 0) {
    throw new Error(`counter ${message.counter}`)
  }
  if (length > input.byteLength - HEAD_BYTES) throw new Error(`${length} bytes out of the input`)
}

interface Random {
  below(bound: number): number
  bytes(length: number): Uint8Array
}

/** One of: flipped bits, a cut, an extension, noise, a hostile number in a field. */
function damage(seed: Uint8Array, random: Random): Uint8Array {
  const way = random.below(8)
  if (way === 0) return random.bytes(random.below(200))
  if (way === 1) return seed.slice(0, random.below(seed.byteLength + 1))
  const bytes = new Uint8Array(seed.byteLength + (way === 2 ? random.below(20) : 0))
  bytes.set(seed)
  if (way === 3) {
    for (let flips = random.below(4); flips >= 0; flips--) {
      const at = random.below(bytes.byteLength)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
    }
    return bytes
  }
  const view = new DataView(bytes.buffer)
  // The rest has right checksums: only what is behind them stands between it and the caller.
  for (let changes = random.below(3); changes >= 0; changes--) {
    const at = random.below(bytes.byteLength)
    if (way === 4) bytes[at] = random.below(256)
    else if (at + 8 <= bytes.byteLength)
      view.setBigUint64(at, HOSTILE[random.below(12)] ?? 0n, true)
  }
  view.setUint32(0, 0x4d41524d, true)
  if (random.below(4) > 0) view.setUint8(4, 1)
  if (random.below(4) > 0) view.setUint32(36, bytes.byteLength - HEAD_BYTES, true)
  if (random.below(2) > 0) {
    view.setUint16(6, 0, true)
    view.setBigUint64(48, 0n, true)
  }
  if (random.below(8) > 0) {
    view.setBigUint64(40, testHash(bytes.subarray(HEAD_BYTES)), true)
    view.setBigUint64(56, testHash(bytes.subarray(0, 56)), true)
  }
  return bytes
}

const HOSTILE: readonly bigint[] = [
  0n,
  1n,
  0xffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
]
