/** What the reports of the commands of CI come to. No report, or half of one, is a failure. */

export interface Counts {
  readonly passed: number
  readonly failed: number
  /** One line for each that was skipped. */
  readonly skipped: readonly string[]
  /** What is wrong with the report itself, one line each; counted in `failed`. */
  readonly faults: readonly string[]
}

const NOTHING: Counts = { passed: 0, failed: 0, skipped: [], faults: [] }

const faulty = (fault: string): Counts => ({ ...NOTHING, failed: 1, faults: [fault] })

interface VitestReport {
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly assertionResults: readonly {
      readonly status: string
      readonly fullName: string
      readonly meta: { readonly skipReason?: string }
    }[]
  }[]
}

/** Of vitest's JSON; `undefined`: there is none. */
export function countVitest(report: string | undefined): Counts {
  if (report === undefined) return faulty('no report of vitest')
  let files: VitestReport['testResults']
  try {
    files = (JSON.parse(report) as VitestReport).testResults
  } catch (error) {
    return faulty(`vitest's report is no JSON: ${String(error)}`)
  }
  const tests = files.flatMap(({ assertionResults }) => assertionResults)
  const ofStatus = (status: string) => tests.filter((test) => test.status === status)
  // A file that cannot be loaded, or a hook that fails, fails none of its tests.
  const faults = files
    .filter(({ status, assertionResults }) => {
      return status === 'failed' && !assertionResults.some((test) => test.status === 'failed')
    })
    .map(({ name }) => `${name} failed outside of its tests`)
  if (tests.length === 0) faults.push('vitest ran no test')
  return {
    passed: ofStatus('passed').length,
    failed: ofStatus('failed').length + faults.length,
    // The reason is in its name, or was given when it ran: see vitest-skip-reasons.ts.
    skipped: tests
      .filter(({ status }) => status !== 'passed' && status !== 'failed')
      .map(({ fullName, meta: { skipReason } }) =>
        skipReason === undefined ? fullName : `${fullName}: ${skipReason}`,
      ),
    faults,
  }
}

/** A test of TAP, at any depth, with what node:test says of it: a suite is no test. */
const TAP_TEST = /^( *)(not ok|ok) \d+(?: - )?(.*)\n(?: *---\n([^]*?)\n *[.]{3}$)?/gm

/** Tests with a reason beside their names, instead of a verdict. */
const TAP_DIRECTIVE = /^(.*?) # (?:SKIP|TODO)(?: (.*))?$/i

/** Of the standard output of a command that reports with TAP: one report, or one after another. */
export function countTap(output: string): Counts {
  let planned: number | undefined
  const skipped: string[] = []
  for (const [, count = '', reason] of output.matchAll(/^1\.\.(\d+)(?: # SKIP (.*))?$/gm)) {
    planned = (planned ?? 0) + Number(count)
    if (reason !== undefined) skipped.push(reason)
  }
  let passed = 0
  let failed = 0
  let reported = 0
  for (const [, indent, status, line = '', details = ''] of `${output}\n`.matchAll(TAP_TEST)) {
    if (indent === '') reported++
    const [directive, name = '', reason = 'no reason given'] = TAP_DIRECTIVE.exec(line) ?? []
    if (directive !== undefined) skipped.push(unescapeTap(`${name}: ${reason}`))
    else if (details.includes("type: 'suite'")) continue
    else if (status === 'ok') passed++
    else failed++
  }
  const faults: string[] = []
  // A program that ends in the middle, even with exit code 0, has told the truth only so far.
  if (planned !== reported) faults.push(`TAP with ${reported} of ${planned ?? 'unknown'} tests`)
  else if (reported + skipped.length === 0) faults.push('TAP of no test')
  return { passed, failed: failed + faults.length, skipped, faults }
}

function unescapeTap(text: string): string {
  return text.replaceAll(/\\([#\\])/g, '$1')
}

/** Of a command: what it reported, if it reports, and how it ended (`null`: by a signal). */
export function judge(report: Counts | undefined, exitCode: number | null): Counts {
  const isOk = exitCode === 0
  if (report === undefined) return { ...NOTHING, passed: isOk ? 1 : 0, failed: isOk ? 0 : 1 }
  if (isOk || report.failed > 0) return report
  // A tool that failed without saying so in its report (a crash, a bad set-up) failed once.
  const fault = `ended with ${exitCode ?? 'a signal'}, which its report does not explain`
  return { ...report, failed: 1, faults: [fault] }
}

/** The sum, as the last line of CI. */
export function summarize(all: readonly Counts[]): {
  readonly line: string
  readonly isOk: boolean
} {
  const sum = (of: (counts: Counts) => number): number =>
    all.reduce((total, counts) => total + of(counts), 0)
  const [passed, failed] = [sum((counts) => counts.passed), sum((counts) => counts.failed)]
  const skipped = sum((counts) => counts.skipped.length)
  const line = `${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`
  return { line, isOk: failed === 0 && passed > 0 }
}
