import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { EncodedChunk, FillChunk } from '../src/addon.ts'
import {
  closeReplica,
  createReplica,
  fill,
  type NativeReplica,
  OPTIONS,
  PAGES,
  pagesOf,
  stageChunk,
} from './native-replica.ts'

const PAGE_BYTES = 4096

let replica: NativeReplica
let chunk: EncodedChunk
let root: bigint
let payload: Uint8Array

/** Page 2 is to become ones; the image still holds zeroes. */
beforeEach(async () => {
  replica = await createReplica()
  const { bytes, source } = replica
  await fill(replica)
  bytes.fill(1, 2 * PAGE_BYTES, 3 * PAGE_BYTES)
  await source.capture()
  const encoding = await source.encode(OPTIONS)
  root = encoding.root
  chunk = encoding.chunks[0] as EncodedChunk
  payload = chunk.bytes.subarray(replica.addon.chunkHeadBytes)
})
afterEach(() => closeReplica(replica))

/** The pages that are not zero. */
function bitmapOf(bytes: Uint8Array): Uint8Array {
  const set = new Uint8Array(PAGES / 8)
  bytes.forEach((byte, at) => {
    const page = Math.floor(at / PAGE_BYTES)
    if (byte !== 0) set[page >> 3] = (set[page >> 3] ?? 0) | (1 << (page & 7))
  })
  return set
}

const isUntouched = (): boolean => replica.imageBytes.every((byte) => byte === 0)

describe('the native image', () => {
  it('applies what is staged when told to, not before', async () => {
    const { image, imageBytes, bytes } = replica
    expect(await stageChunk(replica, chunk)).toBe(1)
    expect(image.stagedPages).toBe(1)
    expect(isUntouched()).toBe(true)
    expect(await image.apply(root)).toEqual({ root, pages: 1 })
    expect(Buffer.compare(imageBytes, bytes)).toBe(0)
    expect(image.root).toBe(root)
    expect(image.stagedPages).toBe(0)
  })

  it('is filled at once with complete pages, if nothing is staged', async () => {
    const { image, imageBytes, bytes, source, addon } = replica
    bytes.fill(4, 7 * PAGE_BYTES, 12 * PAGE_BYTES)
    await source.capture()
    const { root: last } = await source.encode(OPTIONS)
    const fills: FillChunk[] = []
    for (let left = source.shadowPages(); ;) {
      const options = { ...OPTIONS, chunkBytesMax: 2 * PAGE_BYTES }
      const step = await source.encodeShadow(left, options)
      if (step.chunk === undefined) break
      const { bytes: complete, checksum } = step.chunk
      fills.push({ payload: complete.subarray(addon.chunkHeadBytes), checksum })
      left = step.left
    }
    const [first, second, ...rest] = fills as [FillChunk, FillChunk, ...FillChunk[]]
    expect(rest.length).toBeGreaterThan(1)
    await stageChunk(replica, chunk)
    const order = { code: 'ERR_RAM_ORDER' }
    await expect(image.fill([first])).rejects.toMatchObject(order)
    expect(image.stagedPages).toBe(1)
    image.discard()
    const damaged = { ...second, checksum: second.checksum ^ 1n }
    const refused = { code: 'ERR_RAM_CHUNK' }
    await expect(image.fill([damaged, first])).rejects.toMatchObject(refused)
    expect(isUntouched()).toBe(true)
    await expect(image.fill([first, damaged, ...rest])).rejects.toMatchObject(refused)
    expect(pagesOf(bitmapOf(imageBytes))).toEqual([2]) // what came before it
    expect((await image.fill([second, ...rest])).root).toBe(last)
    expect(image.root).toBe(last)
    expect(Buffer.compare(imageBytes, bytes)).toBe(0)
    expect(await image.fill([])).toEqual({ root: last, pages: 0 })
  })

  it('changes nothing when the root would be another', async () => {
    const { image } = replica
    await stageChunk(replica, chunk)
    await expect(image.apply(root + 1n)).rejects.toMatchObject({ code: 'ERR_RAM_ROOT' })
    expect(isUntouched()).toBe(true)
    expect(image.root).toBe(0n)
    expect(image.hashes().every((byte) => byte === 0)).toBe(true)
    image.discard()
    expect(image.stagedPages).toBe(0)
    expect(await image.apply(0n)).toEqual({ root: 0n, pages: 0 })
  })

  it('refuses a damaged payload, and keeps what was staged', async () => {
    const { image, addon } = replica
    const code = 'ERR_RAM_CHUNK'
    await stageChunk(replica, chunk)
    await expect(image.stage(payload, chunk.checksum ^ 1n)).rejects.toMatchObject({ code })
    const cut = payload.subarray(0, payload.length - 1)
    await expect(image.stage(cut, chunk.checksum)).rejects.toMatchObject({ code })
    await expect(image.stage(cut, addon.hash64(cut))).rejects.toMatchObject({ code })
    const empty = new Uint8Array()
    await expect(image.stage(empty, addon.hash64(empty))).rejects.toMatchObject({ code })
    expect(image.stagedPages).toBe(1)
    await image.apply(root)
  })

  it('copies the payload: the caller may use its buffer again at once', async () => {
    const copy = Uint8Array.from(payload)
    const staged = replica.image.stage(copy, chunk.checksum)
    copy.fill(255)
    await staged
    await replica.image.apply(root)
  })

  it('refuses pages beyond its end', async () => {
    const { addon } = replica
    const small = addon.createMemory(addon.hostPageBytes, 'small')
    const image = addon.createImage(small)
    await image.open()
    const outside = Uint8Array.of((addon.hostPageBytes / PAGE_BYTES) << 3, 0, 0, 0, 1, 0, 0, 0)
    await expect(image.stage(outside, addon.hash64(outside))).rejects.toMatchObject({
      code: 'ERR_RAM_CHUNK',
    })
    image.close()
    small.close()
  })

  it('begins with the hashes of memory that is not zero', async () => {
    const { addon, memory } = replica
    const image = addon.createImage(memory)
    expect(image.root).toBe(0n)
    await image.open()
    expect(image.root).toBe(root)
    expect(Buffer.from(image.hashes()).equals(await memory.hashPages())).toBe(true)
    expect(image.hashes()).toHaveLength(PAGES * 8)
    image.close()
  })

  it('must be opened, once', async () => {
    const { addon, imageMemory } = replica
    const image = addon.createImage(imageMemory)
    const order = { code: 'ERR_RAM_ORDER' }
    await expect(image.stage(payload, chunk.checksum)).rejects.toMatchObject(order)
    await expect(image.apply()).rejects.toMatchObject(order)
    expect(() => image.discard()).toThrow(expect.objectContaining(order))
    expect(() => image.hashes()).toThrow(expect.objectContaining(order))
    expect(image.stagedPages).toBe(0)
    const opened = image.open()
    await expect(image.open()).rejects.toMatchObject({ code: 'ERR_RAM_BUSY' })
    await opened
    await expect(image.open()).rejects.toMatchObject(order)
    await image.apply()
    image.close()
  })

  it('stays closed if it was closed while it was opened', async () => {
    const { addon, imageMemory } = replica
    const image = addon.createImage(imageMemory)
    const opened = image.open()
    image.close()
    await opened
    const closed = { code: 'ERR_RAM_CLOSED' }
    await expect(image.open()).rejects.toMatchObject(closed)
    await expect(image.apply()).rejects.toMatchObject(closed)
    expect(() => image.hashes()).toThrow(expect.objectContaining(closed))
  })

  it('refuses memory that it may not write', () => {
    const { addon, memory } = replica
    const view = addon.adoptMemory(memory.fd, memory.bytes, false)
    expect(() => addon.createImage(view)).toThrow(RangeError)
    view.close()
  })

  it('takes one call at a time', async () => {
    const { image } = replica
    const code = 'ERR_RAM_BUSY'
    const staged = image.stage(payload, chunk.checksum)
    await expect(image.apply()).rejects.toMatchObject({ code })
    expect(() => image.discard()).toThrow(expect.objectContaining({ code }))
    expect(() => image.hashes()).toThrow(expect.objectContaining({ code }))
    await staged
    await image.apply(root)
  })

  it('closes at once, while a call at work ends in peace', async () => {
    const { image, imageMemory } = replica
    const staged = image.stage(payload, chunk.checksum)
    image.close()
    image.close()
    imageMemory.close()
    expect(await staged).toEqual({ pages: 1 })
    const code = 'ERR_RAM_CLOSED'
    await expect(image.apply()).rejects.toMatchObject({ code })
    await expect(image.stage(payload, chunk.checksum)).rejects.toMatchObject({ code })
    await expect(image.fill([{ payload, checksum: chunk.checksum }])).rejects.toMatchObject({
      code,
    })
    expect(() => image.discard()).toThrow(expect.objectContaining({ code }))
    expect(() => image.hashes()).toThrow(expect.objectContaining({ code }))
  })

  it('checks the types of what it is given', () => {
    const { addon, image, tracker } = replica
    for (const memory of [undefined, null, 1, {}, tracker]) {
      expect(() => addon.createImage(memory as never)).toThrow(TypeError)
    }
    for (const bytes of [undefined, 'x', [1], new Uint16Array(2), payload.buffer]) {
      expect(() => image.stage(bytes as never, 0n)).toThrow(TypeError)
      expect(() => image.fill(bytes as never)).toThrow(TypeError)
      expect(() => image.fill([{ payload: bytes as never, checksum: 0n }])).toThrow(TypeError)
    }
    for (const number of [undefined, 1, '1', null]) {
      expect(() => image.stage(payload, number as never)).toThrow(TypeError)
      expect(() => image.fill([{ payload, checksum: number as never }])).toThrow(TypeError)
      expect(() => image.fill([number as never])).toThrow(TypeError)
    }
    for (const number of [1, '1', null]) {
      expect(() => image.apply(number as never)).toThrow(TypeError)
    }
    for (const number of [-1n, 2n ** 64n]) {
      expect(() => image.stage(payload, number)).toThrow(RangeError)
      expect(() => image.fill([{ payload, checksum: number }])).toThrow(RangeError)
      expect(() => image.apply(number)).toThrow(RangeError)
    }
  })
})
