/** Lines of a table: columns as wide as their longest cell, the last one as long as it is. */
export function renderTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  const all = [head, ...rows]
  const widths = head.map((_, column) =>
    Math.max(...all.map((row) => [...(row[column] ?? '')].length)),
  )
  return all.map((row) =>
    row
      .map((cell, column) => (column === head.length - 1 ? cell : pad(cell, widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
}

/** By characters, not by UTF-16 units. */
function pad(cell: string, width: number): string {
  return cell + ' '.repeat(Math.max(0, width - [...cell].length))
}

/** As people say it: `3 d`, `2 h`, `5 min`, `12 s`. */
export function renderDuration(ms: number): string {
  const seconds = Math.round(ms / 1_000)
  const units = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
  ] as const
  for (const [length, unit] of units) {
    if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${unit}`
  }
  return `${seconds} s`
}
