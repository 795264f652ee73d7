/** Middle of `values`, by the lower of two. NaN if there are none. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** The smallest value that at least `share` of all do not exceed. NaN if there are none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

/** To a thousandth: what is below has no meaning here. */
export function round(value: number): number {
  return Math.round(value * 1000) / 1000
}
