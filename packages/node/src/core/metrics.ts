/** Text of OpenMetrics 1.0 (openmetrics.io, "Text format"). Pure. */

export interface Metric {
  /** Without unit and suffix, as `mycelium_members`. */
  readonly name: string
  readonly type: 'gauge' | 'counter'
  readonly help: string
  readonly values: readonly {
    readonly value: number
    readonly labels?: Readonly<Record<string, string>>
  }[]
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/

/** @throws {RangeError} a name is not one */
export function renderMetrics(metrics: readonly Metric[]): string {
  const lines: string[] = []
  for (const { name, type, help, values } of metrics) {
    if (!NAME.test(name)) throw new RangeError(`name must be that of a metric, got ${name}`)
    lines.push(`# TYPE ${name} ${type}`, `# HELP ${name} ${escape(help)}`)
    const suffix = type === 'counter' ? '_total' : ''
    for (const { value, labels = {} } of values) {
      lines.push(`${name}${suffix}${renderLabels(labels)} ${renderNumber(value)}`)
    }
  }
  return `${[...lines, '# EOF'].join('\n')}\n`
}

function renderLabels(labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(([label, value]) => {
    if (!LABEL.test(label)) throw new RangeError(`label must be that of a metric, got ${label}`)
    return `${label}="${escape(value)}"`
  })
  return parts.length > 0 ? `{${parts.join(',')}}` : ''
}

function renderNumber(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf'
  return String(value)
}

function escape(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
