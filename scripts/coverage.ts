/**
 * The gate on coverage; TAP. Reads what `vitest run --coverage` left in coverage/, adds what the
 * processes that tests started wrote beside it (`NODE_V8_COVERAGE`: see child-coverage-setup.ts),
 * and prints the share of lines of TypeScript that ran.
 *
 * Both sides are converted by the same algorithm. The lines that count are vitest's: it also knows
 * the files that nothing ran. A process that was killed with SIGKILL leaves nothing.
 */
import type { Profiler } from 'node:inspector'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import astV8ToIstanbul from 'ast-v8-to-istanbul'
import { parseAstAsync } from 'vitest/node'
import { root } from './system.ts'

/** Of lines, in percent. */
const GATE = 90
/** Files with less are listed, so that a failed gate says where to look. */
const LISTED_BELOW = 80

interface FileCoverage {
  readonly statementMap: Readonly<Record<string, { readonly start: { readonly line: number } }>>
  readonly s: Readonly<Record<string, number>>
}
type Coverage = Readonly<Record<string, FileCoverage>>
type Source = Awaited<ReturnType<typeof readSource>>

/** By file, by line: how often it ran. */
const lines = new Map<string, Map<number, number>>()

function add(coverage: Coverage, isComplete: boolean): void {
  for (const [file, { statementMap, s: counts }] of Object.entries(coverage)) {
    const ofFile = lines.get(file) ?? new Map<number, number>()
    if (isComplete) lines.set(file, ofFile)
    for (const [id, { start }] of Object.entries(statementMap)) {
      const before = ofFile.get(start.line)
      if (before === undefined && !isComplete) continue
      ofFile.set(start.line, Math.max(before ?? 0, counts[id] ?? 0))
    }
  }
}

/** Of the sources that run without a build, and of bundles with a source map. */
async function readSource(file: string) {
  const text = readFileSync(file, 'utf8')
  // Types become blanks of the same length: all offsets stay right.
  const code = file.endsWith('.ts') ? stripTypeScriptTypes(text) : text
  const map = `${file}.map`
  const sourceMap = existsSync(map) ? { sourceMap: readMap(map) } : {}
  return { code, ast: await parseAstAsync(code), ...sourceMap }
}

function readMap(file: string): NonNullable<Parameters<typeof astV8ToIstanbul>[0]['sourceMap']> {
  return JSON.parse(readFileSync(file, 'utf8')) as never
}

const isOurs = (file: string): boolean =>
  /^packages\/[^/]+\/(?:src\/.*\.ts|dist\/.*\.js)$/.test(relative(root, file))

async function addChildren(): Promise<number> {
  const sources = new Map<string, Source>()
  const reports = globSync(join(root, 'coverage/children/*.json'))
  for (const report of reports) {
    const { result } = JSON.parse(readFileSync(report, 'utf8')) as {
      readonly result: readonly Profiler.ScriptCoverage[]
    }
    for (const script of result) {
      if (!script.url.startsWith('file://')) continue
      const file = fileURLToPath(script.url)
      if (!isOurs(file) || !existsSync(file)) continue
      const source = sources.get(file) ?? (await readSource(file))
      sources.set(file, source)
      add((await astV8ToIstanbul({ ...source, coverage: script })) as Coverage, false)
    }
  }
  return reports.length
}

interface Share {
  readonly covered: number
  readonly all: number
}
const percent = ({ covered, all }: Share): number => (100 * covered) / Math.max(all, 1)
const share = (counts: readonly number[]): Share => ({
  covered: counts.filter((count) => count > 0).length,
  all: counts.length,
})

const report = join(root, 'coverage/coverage-final.json')
if (!existsSync(report)) throw new Error(`${report} is missing: run vitest with --coverage`)
add(JSON.parse(readFileSync(report, 'utf8')) as Coverage, true)
const alone = percent(share([...lines.values()].flatMap((ofFile) => [...ofFile.values()])))
const children = await addChildren()
const total = share([...lines.values()].flatMap((ofFile) => [...ofFile.values()]))
const isEnough = percent(total) >= GATE
const reached = percent(total).toFixed(1)

for (const [file, ofFile] of [...lines].sort(([a], [b]) => (a < b ? -1 : 1))) {
  const ofThis = share([...ofFile.values()])
  if (percent(ofThis) >= LISTED_BELOW || ofThis.all === 0) continue
  const missed = [...ofFile].filter(([, count]) => count === 0).map(([line]) => line)
  console.log(`# ${percent(ofThis).toFixed(0).padStart(3)} % ${relative(root, file)}: ${missed}`)
}
console.log(
  `# say: ${reached} % of ${total.all} lines of TypeScript ran (gate ${GATE} %; ` +
    `${alone.toFixed(1)} % without the ${children} child processes)`,
)
console.log(`${isEnough ? 'ok' : 'not ok'} 1 - at least ${GATE} % of lines ran\n1..1`)
process.exitCode = isEnough ? 0 : 1
