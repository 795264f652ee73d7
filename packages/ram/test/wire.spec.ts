import { describe, expect, it } from 'vitest'
import {
  ATTACHMENT_BYTES_MAX,
  CHUNK_BYTES_MAX,
  HEAD_BYTES,
  MESSAGE_BYTES_MAX,
  PROTOCOL_VERSION,
  REFUSAL_CHARS_MAX,
} from '../src/constants.ts'
import { FrameError } from '../src/errors.ts'
import { decodeMessage, encodeMessage, type RamMessage } from '../src/wire.ts'
import { testHash } from './kit/hash.ts'
import { ADDRESS, encodeAny, pagesMessage, REGION_BYTES, samples, VERSION } from './kit/messages.ts'

const decode = (bytes: Uint8Array): RamMessage => decodeMessage(bytes, REGION_BYTES, testHash)
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset)

/** Changes a message and makes its checksums right again: what a hostile sender would do. */
function forge(message: RamMessage, change: (bytes: DataView) => void): Uint8Array {
  const bytes = encodeAny(message, testHash)
  change(view(bytes))
  const isPages = message.type === 'chunk' || message.type === 'fill'
  if (!isPages) view(bytes).setBigUint64(40, testHash(bytes.subarray(HEAD_BYTES)), true)
  view(bytes).setBigUint64(56, testHash(bytes.subarray(0, 56)), true)
  return bytes
}

const ALL = samples(testHash)
const OFFER: RamMessage = { type: 'offer', ...ADDRESS, mode: 'fill', regionBytes: REGION_BYTES }
const HELLO: RamMessage = {
  type: 'hello',
  ...ADDRESS,
  regionBytes: REGION_BYTES,
  root: 1n,
  applied: VERSION,
}
const FOOTER: RamMessage = {
  type: 'footer',
  ...ADDRESS,
  root: 3n,
  chunkCount: 2,
  attachment: { kind: 'full', bytes: Uint8Array.of(1) },
}
const CHUNK = pagesMessage('chunk', Uint8Array.of(1, 2, 3), testHash)

describe('every message', () => {
  for (const [index, message] of ALL.entries()) {
    const name = `${index}, a ${message.type}`
    it(`comes back with each field: ${name}`, () => {
      expect(decode(encodeAny(message, testHash))).toStrictEqual(message)
    })

    it(`is read in place, wherever it lies: ${name}`, () => {
      const bytes = encodeAny(message, testHash)
      const room = new Uint8Array(bytes.byteLength + 5)
      room.set(bytes, 3)
      expect(decode(room.subarray(3, 3 + bytes.byteLength))).toStrictEqual(message)
    })

    it(`is refused at every truncation and extension: ${name}`, () => {
      const bytes = encodeAny(message, testHash)
      for (let length = 0; length < bytes.byteLength; length++) {
        expect(() => decode(bytes.subarray(0, length)), `${length} bytes`).toThrow(FrameError)
      }
      expect(() => decode(Uint8Array.of(...bytes, 0))).toThrow(FrameError)
    })

    it(`is refused with any bit of its head flipped: ${name}`, () => {
      const bytes = encodeAny(message, testHash)
      for (let bit = 0; bit < HEAD_BYTES * 8; bit++) {
        const flipped = bytes.slice()
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        expect(() => decode(flipped), `bit ${bit}`).toThrow(FrameError)
      }
    })

    if (message.type !== 'chunk' && message.type !== 'fill') {
      it(`is refused with any bit of its payload flipped: ${name}`, () => {
        const bytes = encodeAny(message, testHash)
        for (let bit = HEAD_BYTES * 8; bit < bytes.byteLength * 8; bit++) {
          const flipped = bytes.slice()
          flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
          expect(() => decode(flipped), `bit ${bit}`).toThrow(FrameError)
        }
      })
    }
  }
})

it('has the layout that its table states', () => {
  const bytes = encodeAny(pagesMessage('chunk', Uint8Array.of(9), testHash, { index: 5 }), testHash)
  expect(new TextDecoder().decode(bytes.subarray(0, 4))).toBe('MRAM')
  expect([...bytes.subarray(4, 8)]).toEqual([PROTOCOL_VERSION, 0, 0, 0])
  expect(view(bytes).getBigUint64(8, true)).toBe(ADDRESS.fencing)
  expect(view(bytes).getBigUint64(16, true)).toBe(BigInt(ADDRESS.counter))
  expect(view(bytes).getBigUint64(24, true)).toBe(ADDRESS.region)
  expect(view(bytes).getUint32(32, true)).toBe(5)
  expect(view(bytes).getUint32(36, true)).toBe(1)
  expect(view(bytes).getBigUint64(40, true)).toBe(testHash(Uint8Array.of(9)))
  expect(view(bytes).getBigUint64(48, true)).toBe(0n)
  expect(bytes[HEAD_BYTES]).toBe(9)
})

describe('refuses, with all checksums right', () => {
  const forged: readonly (readonly [string, RamMessage, (bytes: DataView) => void])[] = [
    ['another protocol', OFFER, (bytes) => bytes.setUint32(0, 0x4d41524e, true)],
    ['version 0', OFFER, (bytes) => bytes.setUint8(4, PROTOCOL_VERSION - 1)],
    ['the next version', OFFER, (bytes) => bytes.setUint8(4, PROTOCOL_VERSION + 1)],
    ['type 8', OFFER, (bytes) => bytes.setUint8(5, 8)],
    ['type 255', OFFER, (bytes) => bytes.setUint8(5, 255)],
    ['a flag that nobody knows', CHUNK, (bytes) => bytes.setUint16(6, 2, true)],
    ['the zstd flag without a length', CHUNK, (bytes) => bytes.setUint16(6, 1, true)],
    ['a length without the zstd flag', CHUNK, (bytes) => bytes.setBigUint64(48, 5n, true)],
    [
      'a compressed offer',
      OFFER,
      (bytes) => {
        bytes.setUint16(6, 1, true)
        bytes.setBigUint64(48, 5n, true)
      },
    ],
    [
      'a chunk that would become longer than one may be',
      CHUNK,
      (bytes) => {
        bytes.setUint16(6, 1, true)
        bytes.setBigUint64(48, BigInt(CHUNK_BYTES_MAX + 1), true)
      },
    ],
    ['a payload length one short', CHUNK, (bytes) => bytes.setUint32(36, 2, true)],
    ['a payload length one over', CHUNK, (bytes) => bytes.setUint32(36, 4, true)],
    ['a payload of 4 GiB', CHUNK, (bytes) => bytes.setUint32(36, 2 ** 32 - 1, true)],
    ['a counter over 2^53', OFFER, (bytes) => bytes.setBigUint64(16, 2n ** 53n, true)],
    ['a length over 2^53', CHUNK, (bytes) => bytes.setBigUint64(48, 2n ** 63n, true)],
    ['an offer mode', OFFER, (bytes) => bytes.setUint8(HEAD_BYTES + 8, 3)],
    ['a region over 2^53', OFFER, (bytes) => bytes.setBigUint64(HEAD_BYTES, 2n ** 53n, true)],
    ['a version mark', HELLO, (bytes) => bytes.setUint8(HEAD_BYTES + 16, 2)],
    [
      'a counter in a version',
      HELLO,
      (bytes) => bytes.setBigUint64(HEAD_BYTES + 25, 2n ** 60n, true),
    ],
    ['an attachment kind', FOOTER, (bytes) => bytes.setUint8(HEAD_BYTES + 37, 3)],
    ['bytes in no attachment', FOOTER, (bytes) => bytes.setUint8(HEAD_BYTES + 37, 0)],
    ['a base mark', FOOTER, (bytes) => bytes.setUint8(HEAD_BYTES, 255)],
  ]
  for (const [name, message, change] of forged) {
    it(name, () => {
      expect(() => decode(forge(message, () => {}))).not.toThrow()
      expect(() => decode(forge(message, change))).toThrow(FrameError)
    })
  }

  it('payloads of every wrong length for each type', () => {
    for (const type of [2, 3, 4, 5, 6]) {
      for (let length = 0; length < 100; length++) {
        const bytes = new Uint8Array(HEAD_BYTES + length)
        bytes.set(encodeMessage(OFFER, testHash).subarray(0, 36))
        view(bytes).setUint8(5, type)
        view(bytes).setUint32(36, length, true)
        view(bytes).setBigUint64(40, testHash(bytes.subarray(HEAD_BYTES)), true)
        view(bytes).setBigUint64(56, testHash(bytes.subarray(0, 56)), true)
        const isRight = [
          length === 41,
          length === 9,
          length % 8 === 4,
          length === 38,
          length === 12,
        ]
        if (isRight[type - 2] === true) expect(() => decode(bytes)).not.toThrow()
        else expect(() => decode(bytes), `type ${type}, ${length} bytes`).toThrow(FrameError)
      }
    }
  })

  it('hashes beyond the end of the region, at the bound and past it', () => {
    const hashes = (firstPage: number, pages: number): RamMessage => ({
      type: 'hashes',
      ...ADDRESS,
      firstPage,
      hashes: new Uint8Array(pages * 8),
    })
    for (const [firstPage, pages] of [
      [0, 64],
      [63, 1],
      [64, 0],
    ] as const) {
      expect(() => decode(encodeAny(hashes(firstPage, pages), testHash))).not.toThrow()
    }
    for (const [firstPage, pages] of [
      [0, 65],
      [63, 2],
      [64, 1],
      [2 ** 32 - 1, 0],
    ] as const) {
      expect(() => decode(encodeAny(hashes(firstPage, pages), testHash))).toThrow(FrameError)
    }
  })
})

describe('bounds', () => {
  it('takes a chunk of 1 MiB with its head, and none a byte longer', () => {
    const bytesOf = (length: number): Uint8Array =>
      encodeAny(pagesMessage('chunk', new Uint8Array(length), testHash), testHash)
    expect(decode(bytesOf(CHUNK_BYTES_MAX - HEAD_BYTES)).type).toBe('chunk')
    expect(() => decode(bytesOf(CHUNK_BYTES_MAX - HEAD_BYTES + 1))).toThrow(FrameError)
  })

  it('takes the largest attachment, and no message over 16 MiB', () => {
    const footer = (bytes: Uint8Array): Uint8Array =>
      encodeMessage({ ...FOOTER, type: 'footer', attachment: { kind: 'full', bytes } }, testHash)
    const largest = footer(new Uint8Array(ATTACHMENT_BYTES_MAX))
    expect(decode(largest)).toMatchObject({ attachment: { kind: 'full' } })
    expect(() => decode(new Uint8Array(MESSAGE_BYTES_MAX + 1))).toThrow(/16777217 bytes/)
  })

  it('cuts the text of a refusal, and refuses one that is too long', () => {
    const long = encodeMessage(
      { type: 'refuse', ...ADDRESS, code: 'ERR_RAM_BASE', text: 'é'.repeat(5000) },
      testHash,
    )
    const read = decode(long)
    expect(read).toMatchObject({ code: 'ERR_RAM_BASE' })
    if (read.type === 'refuse') expect(read.text).toHaveLength(REFUSAL_CHARS_MAX - 13)
    const bytes = new Uint8Array(HEAD_BYTES + REFUSAL_CHARS_MAX * 4 + 1)
    bytes.set(encodeMessage({ type: 'refuse', ...ADDRESS, code: '', text: '' }, testHash))
    view(bytes).setUint32(36, REFUSAL_CHARS_MAX * 4 + 1, true)
    view(bytes).setBigUint64(40, testHash(bytes.subarray(HEAD_BYTES)), true)
    view(bytes).setBigUint64(56, testHash(bytes.subarray(0, 56)), true)
    expect(() => decode(bytes)).toThrow(/refusal too long/)
  })
})
