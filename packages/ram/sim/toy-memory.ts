/**
 * What the native addon does, over 64 pages that hold one small number each. A page of an epoch
 * travels as the difference from the page before, so that a wrong base gives a wrong image.
 */
import { addDiffering, pageSetBytes } from '../src/core/page-set.ts'

export const PAGES = 64
const PAGE_VALUES = 256
/** Pages in one chunk: few, so that epochs have several. */
const RECORDS_MAX = 6
const RECORD_BYTES = 3
const COMPLETE = 0
const DIFFERENCE = 1

/** What the addon would reject with. */
export class ToyError extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** Hash of each value on each page; 0 for the zero page, as in the addon. */
const HASHES: readonly bigint[] = Array.from({ length: PAGES * PAGE_VALUES }, (_, index) => {
  const value = index % PAGE_VALUES
  return value === 0 ? 0n : mix(BigInt(index))
})

/** The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a sum of such is no accident. */
function mix(number: bigint): bigint {
  let hash = BigInt.asUintN(64, (number + 1n) * 0x9e37_79b9_7f4a_7c15n)
  hash = BigInt.asUintN(64, (hash ^ (hash >> 30n)) * 0xbf58_476d_1ce4_e5b9n)
  hash = BigInt.asUintN(64, (hash ^ (hash >> 27n)) * 0x94d0_49bb_1331_11ebn)
  return hash ^ (hash >> 31n)
}

const pageHash = (page: number, value: number): bigint => HASHES[page * PAGE_VALUES + value] ?? 0n

function rootOf(image: Uint8Array): bigint {
  let root = 0n
  for (let page = 0; page < PAGES; page++) root += pageHash(page, image[page] ?? 0)
  return BigInt.asUintN(64, root)
}

export function hashesOf(image: Uint8Array): Uint8Array {
  const hashes = new BigUint64Array(PAGES)
  for (let page = 0; page < PAGES; page++) hashes[page] = pageHash(page, image[page] ?? 0)
  return new Uint8Array(hashes.buffer)
}

const has = (set: Uint8Array, page: number): boolean =>
  ((set[page >> 3] ?? 0) & (1 << (page & 7))) !== 0
const add = (set: Uint8Array, page: number): void => {
  set[page >> 3] = (set[page >> 3] ?? 0) | (1 << (page & 7))
}
const remove = (set: Uint8Array, page: number): void => {
  set[page >> 3] = (set[page >> 3] ?? 0) & ~(1 << (page & 7))
}

/** The primary's side. Writers write with {@link ToySource.write}. */
export class ToySource {
  readonly memory: Uint8Array
  /** The image of the last epoch, or nearer to the memory. */
  readonly shadow: Uint8Array
  readonly #dirty = new Set<number>()
  readonly #staged = new Map<number, number>()

  constructor(image: Uint8Array) {
    this.memory = image.slice()
    this.shadow = image.slice()
  }

  write(page: number, value: number): void {
    this.memory[page] = value
    this.#dirty.add(page)
  }

  capture(): void {
    for (const page of this.#dirty) this.#staged.set(page, this.memory[page] ?? 0)
    this.#dirty.clear()
  }

  encode(): { chunks: Uint8Array[]; changed: Uint8Array; root: bigint } {
    const records: number[][] = []
    const before = this.shadow.slice()
    for (const [page, value] of this.#staged) {
      const old = this.shadow[page] ?? 0
      if (value === old) continue
      const difference = (value - old + PAGE_VALUES) % PAGE_VALUES
      records.push([value === 0 ? COMPLETE : DIFFERENCE, page, value === 0 ? 0 : difference])
      this.shadow[page] = value
    }
    this.#staged.clear()
    const changed = new Uint8Array(pageSetBytes(PAGES))
    addDiffering(changed, hashesOf(before), hashesOf(this.shadow), 0)
    const chunks: Uint8Array[] = []
    for (let first = 0; first < records.length; first += RECORDS_MAX) {
      chunks.push(Uint8Array.from(records.slice(first, first + RECORDS_MAX).flat()))
    }
    return { chunks, changed, root: rootOf(this.shadow) }
  }

  encodeShadow(pages: Uint8Array): { chunk?: Uint8Array; left: Uint8Array } {
    const left = pages.slice()
    const bytes: number[] = []
    for (let page = 0; page < PAGES && bytes.length < RECORDS_MAX * RECORD_BYTES; page++) {
      if (!has(left, page)) continue
      bytes.push(COMPLETE, page, this.shadow[page] ?? 0)
      remove(left, page)
    }
    return { left, ...(bytes.length > 0 && { chunk: Uint8Array.from(bytes) }) }
  }

  shadowPages(): Uint8Array {
    const set = new Uint8Array(pageSetBytes(PAGES))
    for (let page = 0; page < PAGES; page++) if (this.shadow[page] !== 0) add(set, page)
    return set
  }
}

/** The backup's side. */
export class ToyImage {
  readonly image: Uint8Array = new Uint8Array(PAGES)
  readonly #staged = new Map<number, number>()

  get root(): bigint {
    return rootOf(this.image)
  }

  stage(payload: Uint8Array): void {
    if (payload.length % RECORD_BYTES !== 0) throw new ToyError('ERR_RAM_FRAME', 'records')
    for (let at = 0; at < payload.length; at += RECORD_BYTES) {
      const [kind = 0, page = 0, value = 0] = payload.subarray(at, at + RECORD_BYTES)
      if (page >= PAGES || kind > DIFFERENCE) throw new ToyError('ERR_RAM_FRAME', 'a record')
      const old = this.#staged.get(page) ?? this.image[page] ?? 0
      this.#staged.set(page, kind === COMPLETE ? value : (old + value) % PAGE_VALUES)
    }
  }

  /** Whole or not at all. */
  apply(root?: bigint): void {
    const image = this.image.slice()
    for (const [page, value] of this.#staged) image[page] = value
    if (root !== undefined && rootOf(image) !== root) throw new ToyError('ERR_RAM_IMAGE', 'root')
    this.image.set(image)
    this.#staged.clear()
  }

  discard(): void {
    this.#staged.clear()
  }
}
