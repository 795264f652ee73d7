/** What a drill of a network found. Figures that it did not come to are null. */
export interface NetworkReport {
  readonly ok: boolean
  readonly nodes: number
  /** From the start of the last daemon until all are connected with all. */
  readonly formationMs: number | null
  /** Why strangers were refused, as it stands in the audit log of every member. */
  readonly refused: readonly string[]
  /** From the command until every member has dropped the revoked one. */
  readonly revokedDroppedMs: number | null
  /** From the start of a killed daemon until all are connected with all; the slowest. */
  readonly healedMs: number | null
  /** Resident memory of a daemon, at the end. */
  readonly rssBytesMedian: number | null
  /** The promise that was broken; absent if none was. */
  readonly problem?: string
}

export function renderNetworkReport(report: NetworkReport): readonly string[] {
  const { ok, nodes, formationMs, refused, revokedDroppedMs, healedMs, rssBytesMedian } = report
  const ms = (value: number | null): string => (value === null ? '-' : `${value} ms`)
  const mebibytes = rssBytesMedian === null ? '-' : `${Math.round(rssBytesMedian / 2 ** 20)} MiB`
  return [
    `nodes      ${nodes}`,
    `formed     ${ms(formationMs)} after the last start`,
    `refused    ${refused.join(', ') || '-'}`,
    `revoked    dropped everywhere after ${ms(revokedDroppedMs)}`,
    `healed     ${ms(healedMs)} after a restart`,
    `memory     ${mebibytes} (median)`,
    ok ? 'ok' : `FAILED     ${report.problem ?? ''}`,
  ]
}

export function medianOf(values: readonly number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? null
}
