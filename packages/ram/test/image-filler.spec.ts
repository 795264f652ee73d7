import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { EncodedChunk } from '../src/addon.ts'
import { FILLS_WAITING_MAX } from '../src/constants.ts'
import { type Fill, ImageFiller } from '../src/image-filler.ts'
import {
  closeReplica,
  createReplica,
  type NativeReplica,
  OPTIONS,
  PAGES,
} from './native-replica.ts'

/** One page in each chunk. */
const CHUNK_BYTES = 2 * 4096

let replica: NativeReplica
let filler: ImageFiller
let chunks: EncodedChunk[]
let read: number[]
let failures: unknown[]

beforeEach(async () => {
  replica = await createReplica()
  const { bytes, source, image } = replica
  for (let page = 0; page < PAGES; page++) bytes.fill(page + 1, page * 4096, (page + 1) * 4096)
  await source.seed()
  filler = new ImageFiller(image)
  chunks = []
  read = []
  failures = []
  for (let left = source.shadowPages(); ;) {
    const step = await source.encodeShadow(left, { ...OPTIONS, chunkBytesMax: CHUNK_BYTES })
    if (step.chunk === undefined) break
    chunks.push(step.chunk)
    left = step.left
  }
  expect(chunks.length).toBeGreaterThan(3 * FILLS_WAITING_MAX)
})
afterEach(() => closeReplica(replica))

const fillOf = (index: number, checksum?: bigint): Fill => ({
  payload: chunks[index]?.bytes.subarray(replica.addon.chunkHeadBytes) ?? new Uint8Array(),
  checksum: checksum ?? chunks[index]?.checksum ?? 0n,
  onRead: () => read.push(index),
})
const add = (fill: Fill): Promise<void> => filler.add(fill, (error) => failures.push(error))

describe('the filler of an image', () => {
  it('takes fills while the image is at work, and loses none', async () => {
    for (let index = 0; index < chunks.length; index++) await add(fillOf(index))
    await filler.idle()
    const { imageBytes, bytes, image, source } = replica
    expect(Buffer.compare(imageBytes, bytes)).toBe(0)
    expect(image.root).toBe(source.root)
    expect(read).toEqual(chunks.map((_, index) => index))
    expect(failures).toEqual([])
  })

  it('lets at most so many wait', async () => {
    let added = 0
    const adding: Promise<void>[] = []
    // The first is at work at once.
    for (let index = 0; index <= FILLS_WAITING_MAX; index++) {
      const fill = fillOf(index)
      adding.push(
        add(fill).then(() => {
          added++
        }),
      )
    }
    await Promise.all(adding.slice(0, -1))
    expect(added).toBe(FILLS_WAITING_MAX)
    expect(read).toEqual([])
    await Promise.all(adding)
    expect(read).toContain(0)
    await filler.idle()
  })

  it('gives none of what follows to an image that refused one, and tells once', async () => {
    await add(fillOf(0))
    await add(fillOf(1, 0n))
    await add(fillOf(2))
    await filler.idle()
    expect(failures).toEqual([expect.objectContaining({ code: 'ERR_RAM_CHUNK' })])
    expect(read).toEqual([0, 1, 2])
    const { imageBytes, bytes } = replica
    expect(Buffer.compare(imageBytes.subarray(0, 4096), bytes.subarray(0, 4096))).toBe(0)
    expect(imageBytes.subarray(4096).every((byte) => byte === 0)).toBe(true)
    await add(fillOf(1)) // and goes on
    await filler.idle()
    expect(imageBytes[4096]).toBe(2)
    expect(failures).toHaveLength(1)
  })

  it('drops what waited while the image was at work with one that it refused', async () => {
    await add(fillOf(0, 0n))
    await add(fillOf(1))
    await add(fillOf(2))
    await filler.idle()
    expect(failures).toHaveLength(1)
    expect(read).toEqual([0, 1, 2])
    expect(replica.imageBytes.every((byte) => byte === 0)).toBe(true)
  })
})
