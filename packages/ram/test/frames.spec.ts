/** Damaged, forged and random frames against a real backup: none changes what is applied. */
import { zstdCompressSync } from 'node:zlib'
import type { BulkChannel, BulkMessage, NodeId } from '@mycelium/interface'
import { createMemoryChannelPair } from '@mycelium/interface/testing'
import { createSeededRandom } from '@mycelium/simulator'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type EncodedChunk, loadAddon, type RamAddon } from '../src/addon.ts'
import { CHUNK_BYTES_MAX, HEAD_BYTES } from '../src/constants.ts'
import { NO_ATTACHMENT, type Version } from '../src/core/epoch.ts'
import {
  type Address,
  decodeMessage,
  encodeMessage,
  type FooterMessage,
  type RamMessage,
  writeHead,
} from '../src/wire.ts'
import { firstDifference, makeBackup, PAGE } from './kit/cluster.ts'

const PAGES = 32
const BYTES = PAGES * PAGE
const RANDOM_PAYLOADS = 1_500

type Encodable = Parameters<typeof encodeMessage>[0]

/** A primary made of raw messages, and the backup at the other end. */
class RawPrimary implements AsyncDisposable {
  readonly addon: RamAddon = loadAddon()
  readonly side = makeBackup('b', BYTES)
  readonly region: bigint = this.addon.hash64(new TextEncoder().encode('region'))
  readonly memory = this.addon.createMemory(BYTES, 'raw-primary')
  readonly bytes = new Uint8Array(this.memory.arrayBuffer())
  readonly #channel: BulkChannel
  readonly #answers: AsyncIterator<BulkMessage, void>
  readonly #acceptor: BulkChannel

  constructor() {
    const pair = createMemoryChannelPair({
      opener: 'primary' as NodeId,
      acceptor: 'b' as NodeId,
      bufferBytesMax: 2 ** 26,
      messageBytesMax: 2 ** 25,
    })
    this.#channel = pair.opener
    this.#acceptor = pair.acceptor
    this.#answers = pair.opener.receive()
  }

  async attach(): Promise<void> {
    await this.side.backup.attach(this.#acceptor)
    await this.answer()
  }

  address(counter = 0, fencing = 5n): Address {
    return { fencing, counter, region: this.region }
  }

  encode(message: Encodable): Uint8Array {
    return encodeMessage(message, this.addon.hash64)
  }

  async send(bytes: Uint8Array): Promise<void> {
    await this.#channel.send(bytes)
  }

  async answer(): Promise<RamMessage> {
    const { value } = await this.#answers.next()
    if (value === undefined) throw new Error('the backup closed the channel')
    return decodeMessage(value.bytes, BYTES, this.addon.hash64)
  }

  offer(mode: 'resume' | 'fill', fencing?: bigint): Uint8Array {
    const address = this.address(0, fencing)
    return this.encode({ type: 'offer', ...address, mode, regionBytes: BYTES })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.side[Symbol.asyncDispose]()
    this.#channel.abort(new Error('the test is over'))
    this.memory.close()
  }
}

let raw: RawPrimary
/** Applied before each test, by a fill of nothing and one epoch. */
let first: Version
/** The next epoch, as it should be: a difference. */
let epoch: { readonly chunk: EncodedChunk; readonly hashes: Uint8Array; footer: FooterMessage }
let before: { readonly image: Uint8Array; readonly hashes: Uint8Array }

beforeEach(async () => {
  raw = new RawPrimary()
  const { addon, memory, bytes } = raw
  const tracker = await addon.openTracker(memory, { tier: 'shadow' })
  const source = addon.createSource(memory, tracker)
  await source.seed()
  const options = { lz4: false, chunkBytesMax: CHUNK_BYTES_MAX }
  const encode = async (): Promise<{ chunk: EncodedChunk; root: bigint }> => {
    await source.capture()
    const { chunks, root } = await source.encode(options)
    if (chunks[0] === undefined || chunks.length > 1) throw new Error('one chunk was expected')
    return { chunk: chunks[0], root }
  }
  for (let page = 0; page < 20; page++) bytes.fill(page + 1, page * PAGE, (page + 1) * PAGE)
  const { chunk, root } = await encode()
  first = { name: { fencing: 5n, counter: 1 }, root }
  await raw.attach()
  await raw.send(raw.offer('fill'))
  await raw.send(head(chunk, 'chunk', 1))
  await raw.send(raw.encode(footerOf(first)))
  expect(await raw.answer()).toMatchObject({ type: 'ack', counter: 1 })
  // Zeroes, words, and a whole page.
  bytes.fill(0, 3 * PAGE, 5 * PAGE)
  for (let at = 6 * PAGE; at < 9 * PAGE; at += 600) bytes[at] = 99
  bytes.set(createSeededRandom(1).bytes(PAGE), 25 * PAGE)
  const second = await encode()
  const version = { name: { fencing: 5n, counter: 2 }, root: second.root }
  epoch = {
    chunk: second.chunk,
    hashes: source.shadowHashes(),
    footer: { ...footerOf(version), base: first },
  }
  source.close()
  tracker.close()
  const { region, backup } = raw.side
  before = { image: region.buffer.slice(), hashes: backup.hashes() }
})

afterEach(async () => {
  await raw[Symbol.asyncDispose]()
})

function footerOf({ name, root }: Version): FooterMessage {
  const address = raw.address(name.counter)
  return { type: 'footer', ...address, root, chunkCount: 1, attachment: NO_ATTACHMENT }
}

/** The chunk as a message of its own. */
function head(
  { bytes, checksum }: Pick<EncodedChunk, 'bytes' | 'checksum'>,
  type: 'chunk' | 'fill',
  counter: number,
  index = 0,
): Uint8Array {
  const message = bytes.slice()
  writeHead(message, type, raw.address(counter), index, checksum, raw.addon.hash64)
  return message
}

function goodFrames(): readonly [chunk: Uint8Array, hashes: Uint8Array, footer: Uint8Array] {
  const { chunk, hashes, footer } = epoch
  return [
    head(chunk, 'chunk', 2),
    raw.encode({ type: 'hashes', ...raw.address(2), firstPage: 0, hashes }),
    raw.encode(footer),
  ]
}

/** Sends frames after an offer that keeps the image; the last of them must be refused. */
async function codeOf(...frames: readonly Uint8Array[]): Promise<string> {
  await raw.send(raw.offer('resume'))
  for (const frame of frames) await raw.send(frame)
  const answer = await raw.answer()
  return answer.type === 'refuse' ? answer.code : answer.type
}

async function expectUnchanged(): Promise<void> {
  const { region, backup } = raw.side
  expect(firstDifference(before.image, region.buffer)).toBeUndefined()
  expect(Buffer.compare(before.hashes, await region.hashPages()), 'hashes of memory').toBe(0)
  expect(Buffer.compare(before.hashes, backup.hashes()), 'hashes applied').toBe(0)
  expect(backup.applied).toEqual(first)
}

async function expectGoodEpochStillApplies(): Promise<void> {
  expect(await codeOf(...goodFrames())).toBe('ack')
  expect(firstDifference(raw.bytes, raw.side.region.buffer)).toBeUndefined()
}

const flip = (bytes: Uint8Array, bit: number): Uint8Array =>
  bytes.with(bit >> 3, (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7)))

describe('a frame is refused and changes nothing', () => {
  for (const [index, type] of ['chunk', 'hashes', 'footer'].entries()) {
    it(`with a bit flipped in any byte of it: ${type}`, async () => {
      const random = createSeededRandom(index)
      const frames = goodFrames()
      const frame = frames[index] ?? new Uint8Array(0)
      for (let byte = 0; byte < frame.byteLength; byte++) {
        const bad = flip(frame, byte * 8 + random.below(8))
        expect(await codeOf(...frames.slice(0, index), bad), `byte ${byte}`).toBe('ERR_RAM_FRAME')
        if (byte % 500 === 0) await expectUnchanged()
      }
      await expectUnchanged()
      await expectGoodEpochStillApplies()
    })

    it(`truncated or too long: ${type}`, async () => {
      const frames = goodFrames()
      const frame = frames[index] ?? new Uint8Array(0)
      const { byteLength } = frame
      const lengths = [1, 55, 63, 64, 65, byteLength >> 1, byteLength - 8, byteLength - 1]
      for (const length of lengths.filter((wanted) => wanted < byteLength)) {
        const bad = frame.slice(0, length)
        expect(await codeOf(...frames.slice(0, index), bad), `${length}`).toBe('ERR_RAM_FRAME')
      }
      expect(await codeOf(...frames.slice(0, index), Uint8Array.of(...frame, 0))).toBe(
        'ERR_RAM_FRAME',
      )
      await expectUnchanged()
      await expectGoodEpochStillApplies()
    })
  }

  it('of another epoch, region, fencing epoch, number, base or image', async () => {
    const [chunk, hashes, footer] = goodFrames()
    const forged = (change: Partial<FooterMessage>): Uint8Array =>
      raw.encode({ ...epoch.footer, ...change })
    const cases: readonly (readonly [string, readonly Uint8Array[]])[] = [
      ['ERR_RAM_ORDER', [head(epoch.chunk, 'chunk', 3), footer]],
      ['ERR_RAM_ORDER', [chunk, forged({ counter: 3 })]],
      ['ERR_RAM_ORDER', [head(epoch.chunk, 'chunk', 2, 1)]],
      ['ERR_RAM_ORDER', [chunk, chunk]],
      ['ERR_RAM_ORDER', [footer]],
      ['ERR_RAM_ORDER', [chunk, forged({ chunkCount: 0 })]],
      ['ERR_RAM_ORDER', [chunk, forged({ chunkCount: 2 })]],
      ['ERR_RAM_ORDER', [head(epoch.chunk, 'fill', 0)]],
      ['ERR_RAM_REGION', [chunk, forged({ region: 1n })]],
      ['ERR_RAM_REGION', [raw.encode({ ...epoch.footer, region: 1n })]],
      ['ERR_RAM_BASE', [chunk, forged({ base: { ...first, root: 1n } })]],
      ['ERR_RAM_BASE', [chunk, forged({ base: { ...first, name: { fencing: 5n, counter: 9 } } })]],
      ['ERR_RAM_IMAGE', [chunk, forged({ root: 1n })]],
      ['ERR_RAM_IMAGE', [chunk, hashes, forged({ root: first.root })]],
      ['ERR_RAM_FENCED', [forged({ fencing: 4n })]],
      // Last: a newer fencing epoch, once seen, is never unseen.
      ['ERR_RAM_ORDER', [chunk, forged({ fencing: 6n })]],
    ]
    for (const [index, [code, frames]] of cases.entries()) {
      expect(await codeOf(...frames), `case ${index}`).toBe(code)
      await expectUnchanged()
    }
    expect(await codeOf(), 'an offer of the epoch before').toBe('ERR_RAM_FENCED')
    await expectUnchanged()
  })

  it('with hostile contents under right checksums', async () => {
    const random = createSeededRandom(3)
    const payload = epoch.chunk.bytes.subarray(HEAD_BYTES)
    const outcomes = new Map<string, number>()
    for (let round = 0; round < RANDOM_PAYLOADS; round++) {
      let bytes = random.bytes(random.below(300))
      if (round % 2 === 0) {
        bytes = payload.slice(0, random.below(payload.byteLength + 1))
        for (let change = random.below(4); change >= 0 && bytes.byteLength > 0; change--) {
          bytes[random.below(Math.min(bytes.byteLength, 64))] = random.below(256)
        }
      }
      const chunk = new Uint8Array(HEAD_BYTES + bytes.byteLength)
      chunk.set(bytes, HEAD_BYTES)
      const checksum = raw.addon.hash64(bytes)
      // Whatever the addon lets pass does not give the image that the footer announces.
      const footer = raw.encode({ ...epoch.footer, root: epoch.footer.root ^ 1n })
      const code = await codeOf(head({ bytes: chunk, checksum }, 'chunk', 2), footer)
      outcomes.set(code, (outcomes.get(code) ?? 0) + 1)
      if (round % 100 === 0) await expectUnchanged()
    }
    expect([...outcomes.keys()].sort()).toEqual(['ERR_RAM_FRAME', 'ERR_RAM_IMAGE'])
    await expectUnchanged()
    await expectGoodEpochStillApplies()
  })

  it('that does not decompress to what it announces', async () => {
    const { checksum, bytes } = epoch.chunk
    const payload = bytes.subarray(HEAD_BYTES)
    const packed = (content: Uint8Array, announced: number): Uint8Array => {
      const message = new Uint8Array(HEAD_BYTES + content.byteLength)
      message.set(content, HEAD_BYTES)
      const { hash64 } = raw.addon
      writeHead(message, 'chunk', raw.address(2), 0, checksum, hash64, announced)
      return message
    }
    const good = zstdCompressSync(payload)
    const bomb = zstdCompressSync(new Uint8Array(64 * 2 ** 20))
    const cases: readonly (readonly [Uint8Array, number])[] = [
      [good, payload.byteLength - 1],
      [good, payload.byteLength + 1],
      [good.subarray(0, good.byteLength - 3), payload.byteLength],
      [payload, payload.byteLength],
      [bomb, CHUNK_BYTES_MAX],
      [new Uint8Array(0), 1],
    ]
    for (const [index, [content, announced]] of cases.entries()) {
      expect(await codeOf(packed(content, announced)), `case ${index}`).toBe('ERR_RAM_FRAME')
      await expectUnchanged()
    }
    const [, hashes, footer] = goodFrames()
    expect(await codeOf(packed(good, payload.byteLength), hashes, footer)).toBe('ack')
    expect(firstDifference(raw.bytes, raw.side.region.buffer)).toBeUndefined()
  })

  it('longer than any chunk or message may be', async () => {
    const chunk = new Uint8Array(CHUNK_BYTES_MAX + 1)
    const checksum = raw.addon.hash64(chunk.subarray(HEAD_BYTES))
    expect(await codeOf(head({ bytes: chunk, checksum }, 'chunk', 2))).toBe('ERR_RAM_FRAME')
    expect(await codeOf(new Uint8Array(2 ** 24 + 1))).toBe('ERR_RAM_FRAME')
    await expectUnchanged()
    await expectGoodEpochStillApplies()
  })
})
