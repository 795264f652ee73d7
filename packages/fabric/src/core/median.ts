/** The middle value, of an even count the mean of the two in the middle. None of none. */
export function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  if (upper === undefined || sorted.length % 2 === 1) return upper
  return (upper + (sorted[middle - 1] ?? upper)) / 2
}
