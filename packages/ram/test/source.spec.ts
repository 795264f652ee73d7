import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { EncodeOptions } from '../src/addon.ts'
import {
  closeReplica,
  createGenerator,
  createReplica,
  fill,
  type NativeReplica,
  OPTIONS,
  PAGES,
  pagesOf,
  runEpoch,
} from './native-replica.ts'

const PAGE_BYTES = 4096

let replica: NativeReplica

beforeEach(async () => {
  replica = await createReplica()
})
afterEach(() => closeReplica(replica))

describe('the native source', () => {
  it('replicates random writes epoch by epoch', async () => {
    const seed = 20240917
    const below = createGenerator(seed)
    const { bytes, imageBytes, source, image, imageMemory } = replica
    for (let page = 0; page < PAGES; page += 3) bytes.fill(page, page * PAGE_BYTES)
    await fill(replica)
    expect(Buffer.compare(bytes, imageBytes)).toBe(0)
    for (let epoch = 0; epoch < 40; epoch++) {
      for (let write = below(20); write > 0; write--) {
        const first = below(bytes.length)
        bytes.fill(below(4), first, first + below(3 * PAGE_BYTES))
      }
      const { root } = await runEpoch(replica, { lz4: below(2) === 1, chunkBytesMax: 8192 })
      expect(Buffer.compare(bytes, imageBytes), `seed ${seed}, epoch ${epoch}`).toBe(0)
      expect([source.root, image.root]).toEqual([root, root])
    }
    const hashes = Buffer.from(await imageMemory.hashPages())
    expect(hashes.equals(source.shadowHashes())).toBe(true)
    expect(hashes.equals(image.hashes())).toBe(true)
  })

  it('tells the root of a seed, and which pages hold something', async () => {
    const { bytes, source, addon } = replica
    expect(source.root).toBe(0n)
    bytes.fill(1, 2 * PAGE_BYTES, 4 * PAGE_BYTES)
    await source.seed()
    const hashes = new BigUint64Array(source.shadowHashes().buffer)
    expect(hashes).toHaveLength(PAGES)
    expect(source.root).toBe(
      BigInt.asUintN(
        64,
        hashes.reduce((sum, hash) => sum + hash, 0n),
      ),
    )
    expect(pagesOf(source.shadowPages())).toEqual([2, 3])
    expect(addon.pageBytes).toBe(PAGE_BYTES)
  })

  it('counts encodings, and leaves room for a head', async () => {
    const { bytes, source, addon } = replica
    for (let index = 0; index < PAGE_BYTES * 2; index++) bytes[index] = index * 31 + (index >> 8)
    await source.seed()
    bytes.fill(0, 0, PAGE_BYTES)
    bytes[PAGE_BYTES + 8] = 255
    bytes.fill(9, 5 * PAGE_BYTES, 6 * PAGE_BYTES)
    expect(await source.capture()).toBe(3)
    const { chunks, changed, counts } = await source.encode({ ...OPTIONS, lz4: true })
    const { bytes: encoded, ...pageCounts } = counts
    expect(pageCounts).toEqual({ zero: 1, equal: 0, words: 1, raw: 0, lz4: 1 })
    expect(pagesOf(changed)).toEqual([0, 1, 5])
    expect(changed).toHaveLength(PAGES / 8)
    expect(chunks.map(({ pages }) => pages)).toEqual([3])
    const chunk = chunks[0]?.bytes ?? new Uint8Array()
    expect(chunk.subarray(0, addon.chunkHeadBytes).every((byte) => byte === 0)).toBe(true)
    // A zero run, a difference of one word, and what is left.
    expect(encoded).toEqual({ zero: 8, words: 21, raw: 0, lz4: expect.any(Number) })
    const payloadBytes = chunk.length - addon.chunkHeadBytes
    expect(encoded.zero + encoded.words + encoded.lz4).toBe(payloadBytes)
    expect(chunks[0]?.checksum).toBe(addon.hash64(chunk.subarray(addon.chunkHeadBytes)))
  })

  it('keeps the bound on a chunk, and fills one after the other', async () => {
    const { bytes, source } = replica
    bytes.fill(3)
    await source.seed()
    const all = source.shadowPages()
    const { chunk, left, counts } = await source.encodeShadow(all, {
      ...OPTIONS,
      chunkBytesMax: 20_000,
    })
    expect(chunk?.bytes.length).toBeLessThanOrEqual(20_000)
    expect(pagesOf(left)).toHaveLength(PAGES - 4)
    expect(counts.raw).toBe(4)
    const none = await source.encodeShadow(new Uint8Array(PAGES / 8), OPTIONS)
    expect(none.chunk).toBeUndefined()
    expect(pagesOf(none.left)).toEqual([])
  })

  it('must be seeded first', async () => {
    const { source } = replica
    const code = 'ERR_RAM_NOT_SEEDED'
    await expect(source.capture()).rejects.toMatchObject({ code })
    await expect(source.encode(OPTIONS)).rejects.toMatchObject({ code })
    await expect(source.encodeShadow(new Uint8Array(PAGES / 8), OPTIONS)).rejects.toMatchObject({
      code,
    })
  })

  it('takes one call at a time, and none beside its tracker', async () => {
    const { source, tracker } = replica
    const code = 'ERR_RAM_BUSY'
    const seeded = source.seed()
    await expect(source.capture()).rejects.toMatchObject({ code })
    await expect(tracker.scan()).rejects.toMatchObject({ code })
    expect(() => source.shadowHashes()).toThrow(expect.objectContaining({ code }))
    expect(() => source.shadowPages()).toThrow(expect.objectContaining({ code }))
    await seeded
    const scanned = tracker.scan()
    await expect(source.capture()).rejects.toMatchObject({ code })
    await scanned
    await source.capture()
  })

  it('closes at once, while a call at work ends in peace', async () => {
    const { bytes, source, memory, tracker } = replica
    bytes.fill(1)
    const seeded = source.seed()
    source.close()
    source.close()
    tracker.close()
    memory.close()
    expect(await seeded).toBe(PAGES)
    const code = 'ERR_RAM_CLOSED'
    await expect(source.capture()).rejects.toMatchObject({ code })
    await expect(source.encodeShadow(new Uint8Array(PAGES / 8), OPTIONS)).rejects.toMatchObject({
      code,
    })
    expect(() => source.shadowPages()).toThrow(expect.objectContaining({ code }))
  })

  it('checks the types of what it is given', () => {
    const { addon, source, memory, tracker } = replica
    const bad: unknown[] = [undefined, null, 1, 'x', {}, [], new Uint8Array(3)]
    for (const value of bad) {
      expect(() => addon.createSource(value as never, tracker)).toThrow(TypeError)
      expect(() => addon.createSource(memory, value as never)).toThrow(TypeError)
    }
    expect(() => addon.createSource(tracker as never, memory as never)).toThrow(TypeError)
    const other = addon.createMemory(memory.bytes, 'other')
    expect(() => addon.createSource(other, tracker)).toThrow(RangeError)
    other.close()
    const set = new Uint8Array(PAGES / 8)
    for (const options of [undefined, 1, {}, { lz4: 1, chunkBytesMax: 8192 }, { lz4: true }]) {
      expect(() => source.encode(options as never)).toThrow(TypeError)
      expect(() => source.encodeShadow(set, options as never)).toThrow(TypeError)
    }
    for (const chunkBytesMax of [8191, 0, -1, 8192.5, Number.NaN, Infinity, 2 ** 30 + 1]) {
      const options: EncodeOptions = { lz4: false, chunkBytesMax }
      expect(() => source.encode(options)).toThrow(RangeError)
    }
    for (const pages of [undefined, [], 'x', new Uint16Array(PAGES / 16), new ArrayBuffer(18)]) {
      expect(() => source.encodeShadow(pages as never, OPTIONS)).toThrow(TypeError)
    }
    for (const length of [0, PAGES / 8 - 1, PAGES / 8 + 1]) {
      expect(() => source.encodeShadow(new Uint8Array(length), OPTIONS)).toThrow(RangeError)
    }
    const seed = Reflect.get(source, 'seed') as () => unknown
    expect(() => Reflect.apply(seed, {}, [])).toThrow(TypeError)
  })
})
