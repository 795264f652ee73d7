/**
 * Sets of pages as bitmaps: bit `i % 8` of byte `i / 8` stands for page `i`.
 */

export function pageSetBytes(pages: number): number {
  return Math.ceil(pages / 8)
}

/** Adds the pages of `other` to `target`. */
export function unite(target: Uint8Array, other: Uint8Array): void {
  if (other.length !== target.length) {
    throw new RangeError(`other must have ${target.length} bytes, got ${other.length}`)
  }
  for (let index = 0; index < target.length; index++) {
    const bits = other[index] ?? 0
    if (bits !== 0) target[index] = (target[index] ?? 0) | bits
  }
}

export function countPages(set: Uint8Array): number {
  let count = 0
  for (let bits of set) {
    for (; bits !== 0; bits &= bits - 1) count++
  }
  return count
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
