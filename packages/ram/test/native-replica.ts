/** A source and an image of the addon, with what tests and their programs do with them. */
import {
  loadAddon,
  type EncodedChunk,
  type EncodeOptions,
  type NativeImage,
  type NativeMemory,
  type NativeSource,
  type NativeTracker,
  type RamAddon,
} from '../src/addon.ts'

export const OPTIONS: EncodeOptions = { lz4: false, chunkBytesMax: 1024 * 1024 }

export interface NativeReplica {
  readonly addon: RamAddon
  readonly memory: NativeMemory
  /** The memory's bytes. */
  readonly bytes: Uint8Array
  readonly tracker: NativeTracker
  readonly source: NativeSource
  readonly imageMemory: NativeMemory
  readonly imageBytes: Uint8Array
  readonly image: NativeImage
}

/** Pages of the memories of tests: some host pages of 64 KiB, and a bitmap with a partial byte. */
export const PAGES: number = 16 * 9

export async function createReplica(pages: number = PAGES): Promise<NativeReplica> {
  const addon = loadAddon()
  const memory = addon.createMemory(pages * addon.pageBytes, 'test-memory')
  const tracker = await addon.openTracker(memory, {})
  const source = addon.createSource(memory, tracker)
  const imageMemory = addon.createMemory(memory.bytes, 'test-image')
  const image = addon.createImage(imageMemory)
  await image.open()
  return {
    addon,
    memory,
    bytes: new Uint8Array(memory.arrayBuffer()),
    tracker,
    source,
    imageMemory,
    imageBytes: new Uint8Array(imageMemory.arrayBuffer()),
    image,
  }
}

export function closeReplica({ memory, tracker, source, imageMemory, image }: NativeReplica): void {
  source.close()
  tracker.close()
  memory.close()
  image.close()
  imageMemory.close()
}

/** Stages what a chunk carries. Resolves to its number of pages. */
export async function stageChunk(
  { addon, image }: NativeReplica,
  chunk: EncodedChunk,
): Promise<number> {
  const { pages } = await image.stage(chunk.bytes.subarray(addon.chunkHeadBytes), chunk.checksum)
  return pages
}

/** Brings the image up to the seed. */
export async function fill(
  replica: NativeReplica,
  options: EncodeOptions = OPTIONS,
): Promise<void> {
  await replica.source.seed()
  let left = replica.source.shadowPages()
  for (;;) {
    const step = await replica.source.encodeShadow(left, options)
    if (step.chunk === undefined) break
    await stageChunk(replica, step.chunk)
    left = step.left
  }
  await replica.image.apply(replica.source.root)
}

/** One epoch, from capture to apply. Resolves to what `encode` gave. */
export async function runEpoch(
  replica: NativeReplica,
  options: EncodeOptions = OPTIONS,
): ReturnType<NativeSource['encode']> {
  await replica.source.capture()
  const encoding = await replica.source.encode(options)
  for (const chunk of encoding.chunks) await stageChunk(replica, chunk)
  await replica.image.apply(encoding.root)
  return encoding
}

export function pagesOf(bitmap: Uint8Array): number[] {
  const pages: number[] = []
  bitmap.forEach((byte, index) => {
    for (let bit = 0; bit < 8; bit++) if ((byte >> bit) & 1) pages.push(index * 8 + bit)
  })
  return pages
}

/** mulberry32: small and seeded. */
export function createGenerator(seed: number): (end: number) => number {
  let state = seed
  return (end) => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) % end
  }
}
