/** Robust statistics of samples, for benchmarks. */

/** The value that `share` (0..1) of the samples do not exceed. @throws {RangeError} no samples */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const index = Math.min(sorted.length - 1, Math.floor(share * sorted.length))
  const value = sorted[index]
  if (value === undefined) throw new RangeError('samples must not be empty')
  return value
}

/** @throws {RangeError} no samples */
export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5)
}

/** Distance between the quartiles, in the unit of the samples. @throws {RangeError} no samples */
export function spread(samples: readonly number[]): number {
  return quantile(samples, 0.75) - quantile(samples, 0.25)
}
