/** How often rare things happened: a simulation that never saw one has not tested it. */
export interface Coverage {
  hit(event: string, times?: number): void
  /** In order of the names. */
  readonly counts: Readonly<Record<string, number>>
}

export function createCoverage(): Coverage {
  const counts = new Map<string, number>()
  return {
    hit: (event, times = 1) => {
      counts.set(event, (counts.get(event) ?? 0) + times)
    },
    get counts() {
      return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
    },
  }
}

/** The sum of several runs. */
export function sumCounts(
  runs: readonly Readonly<Record<string, number>>[],
): Readonly<Record<string, number>> {
  const sum = createCoverage()
  for (const run of runs) {
    for (const [event, times] of Object.entries(run)) sum.hit(event, times)
  }
  return sum.counts
}
