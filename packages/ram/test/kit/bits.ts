/** Numbers of the pages in a bitmap of the addon, ascending. */
export function pagesOf(bitmap: Uint8Array): number[] {
  const pages: number[] = []
  for (const [index, byte] of bitmap.entries()) {
    for (let bit = 0; bit < 8; bit++) if (((byte >> bit) & 1) === 1) pages.push(index * 8 + bit)
  }
  return pages
}
