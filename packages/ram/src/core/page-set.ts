/**
 * Sets of pages as bitmaps: bit `i % 8` of byte `i / 8` stands for page `i`.
 */

export function pageSetBytes(pages: number): number {
  return Math.ceil(pages / 8)
}

/**
 * As many whole words of 32 bits as lie at the start of `set`: sets have 32 KiB for each GiB, are
 * gone through often, and by bytes that takes ten times as long. None if it is not aligned.
 */
function wordsOf(set: Uint8Array): Uint32Array {
  if (set.byteOffset % 4 !== 0) return new Uint32Array(0)
  return new Uint32Array(set.buffer, set.byteOffset, set.byteLength >> 2)
}

/** Adds the pages of `other` to `target`. */
export function unite(target: Uint8Array, other: Uint8Array): void {
  if (other.length !== target.length) {
    throw new RangeError(`other must have ${target.length} bytes, got ${other.length}`)
  }
  const words = wordsOf(target)
  const otherWords = wordsOf(other)
  const count = Math.min(words.length, otherWords.length)
  for (let index = 0; index < count; index++) {
    const bits = otherWords[index] ?? 0
    if (bits !== 0) words[index] = (words[index] ?? 0) | bits
  }
  for (let index = count * 4; index < target.length; index++) {
    target[index] = (target[index] ?? 0) | (other[index] ?? 0)
  }
}

export function countPages(set: Uint8Array): number {
  const words = wordsOf(set)
  let count = 0
  for (let index = 0; index < words.length; index++) count += countBits(words[index] ?? 0)
  for (const byte of set.subarray(words.length * 4)) count += countBits(byte)
  return count
}

/** Of 32 bits, by adding neighbours (Warren, Hacker's Delight, 5-1). */
function countBits(word: number): number {
  let sums = word - ((word >>> 1) & 0x5555_5555)
  sums = (sums & 0x3333_3333) + ((sums >>> 2) & 0x3333_3333)
  sums = (sums + (sums >>> 4)) & 0x0f0f_0f0f
  return Math.imul(sums, 0x0101_0101) >>> 24
}

/**
 * Adds to `target` the pages from `firstPage` on whose hashes (8 bytes each) differ.
 *
 * @param ours - hashes of all pages
 * @param theirs - hashes of the pages from `firstPage` on
 */
export function addDiffering(
  target: Uint8Array,
  ours: Uint8Array,
  theirs: Uint8Array,
  firstPage: number,
): void {
  const count = theirs.length / 8
  for (let index = 0; index < count; index++) {
    const page = firstPage + index
    for (let byte = 0; byte < 8; byte++) {
      if (ours[page * 8 + byte] === theirs[index * 8 + byte]) continue
      target[page >> 3] = (target[page >> 3] ?? 0) | (1 << (page & 7))
      break
    }
  }
}

/** How many 8-byte hashes of `theirs` differ from `ours`, which must be as long. */
export function countDiffering(ours: Uint8Array, theirs: Uint8Array): number {
  const set = new Uint8Array(pageSetBytes(ours.length / 8))
  addDiffering(set, ours, theirs, 0)
  return countPages(set)
}
