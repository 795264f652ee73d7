/** CI counts what reports say, and trusts none that is missing, cut off or too cheerful; TAP. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { familyOf, survivors, until } from '../packages/node/test/process-family.ts'
import { countTap, countVitest, judge, summarize } from './ci-report.ts'
import { root } from './system.ts'

const scratch = mkdtempSync(join(tmpdir(), 'ci-test-'))
after(() => {
  rmSync(scratch, { recursive: true })
})

const sample = (name: string): string =>
  readFileSync(join(import.meta.dirname, 'fixtures/reports', name), 'utf8')

describe('TAP', () => {
  const nodeTest = sample('node-test.tap')
  const twoReports = sample('core-test-arm64.tap')
  const reason = 'userfaultfd: this kernel has none: Function not implemented'

  test('of node:test: tests at any depth, no suites, no lines of messages', () => {
    assert.deepEqual(countTap(nodeTest), {
      passed: 3,
      failed: 1,
      skipped: ['c: why # x', 'todo: later'],
      faults: [],
    })
  })

  test('two reports, one after the other', () => {
    const { passed, failed, skipped, faults } = countTap(twoReports)
    assert.deepEqual({ passed, failed, faults }, { passed: 6, failed: 0, faults: [] })
    assert.equal(skipped.length, 4)
    assert.equal(
      skipped[0],
      `tracker async, own process: misses nothing in a storm of writes: ${reason}`,
    )
  })

  test('that could not begin: skipped, with its reason', () => {
    const { failed, skipped } = countTap('1..0 # SKIP missing: g++\n')
    assert.deepEqual({ failed, skipped }, { failed: 0, skipped: ['missing: g++'] })
  })

  test('a skipped suite and a test without a reason are counted', () => {
    const suite = "ok 1 - s # SKIP no KVM\n  ---\n  type: 'suite'\n  ...\n"
    assert.deepEqual(countTap(`${suite}ok 2 - t # SKIP\n1..2\n`).skipped, [
      's: no KVM',
      't: no reason given',
    ])
  })

  test('cut off anywhere it is a failure', () => {
    const lines = nodeTest.split('\n')
    const plan = lines.indexOf('1..3')
    for (let kept = 0; kept <= plan; kept++) {
      assert.ok(countTap(lines.slice(0, kept).join('\n')).failed > 0, `${kept} lines pass for all`)
    }
    const first = 'ok 1 - replicates random writes epoch by epoch'
    for (const last of ['ok 3 - tracker sync', first, 'ok 2 - gives the same hashes']) {
      const { faults } = countTap(twoReports.slice(0, twoReports.indexOf(`\n${last}`) + 40))
      assert.equal(faults.length, 1, `${last} passes for the end`)
    }
  })

  test('none, and none of any test, are failures', () => {
    for (const output of ['', 'all is well\n', '1..0\n', 'TAP version 13\n1..0\n']) {
      const { passed, failed, faults } = countTap(output)
      assert.deepEqual(
        { passed, failed, faults: faults.length },
        { passed: 0, failed: 1, faults: 1 },
      )
    }
  })
})

describe("vitest's JSON", () => {
  const report = sample('vitest.json')

  test('tests, hooks and files that failed, and what was skipped with its reason', () => {
    assert.deepEqual(countVitest(report), {
      passed: 1,
      failed: 3,
      skipped: [
        'a suite is skipped: no KVM here',
        'a suite is skipped when it runs: no userfaultfd',
        'a suite is to be written',
        'a hook that fails passes, but for the hook',
      ],
      faults: [
        '/home/me/packages/ram/test/three.spec.ts failed outside of its tests',
        '/home/me/packages/ram/test/two.spec.ts failed outside of its tests',
      ],
    })
  })

  test('missing, empty, of no test, or cut off anywhere it is a failure', () => {
    const cuts = Array.from({ length: 50 }, (_, index) => Math.floor((index * report.length) / 50))
    for (const text of [
      undefined,
      '{"testResults":[]}',
      ...cuts.map((cut) => report.slice(0, cut)),
    ]) {
      const { passed, failed, faults } = countVitest(text)
      assert.deepEqual(
        { passed, failed, faults: faults.length },
        { passed: 0, failed: 1, faults: 1 },
      )
    }
  })
})

test("vitest's report has the reason that a test gave when it ran", () => {
  const folder = join(scratch, 'vitest')
  mkdirSync(folder)
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  const spec = "import { it } from 'vitest'\nit('t', ({ skip }) => skip(true, 'no KVM'))\n"
  writeFileSync(join(folder, 'a.spec.ts'), spec)
  const reporter = join(root, 'scripts/vitest-skip-reasons.ts')
  const file = join(folder, 'report.json')
  const args = ['--root', folder, '--reporter=json', `--outputFile=${file}`, '--reporter', reporter]
  spawnSync(process.execPath, [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...args])
  assert.deepEqual(countVitest(readFileSync(file, 'utf8')).skipped, ['t: no KVM'])
})

describe('a command', () => {
  const good = countTap('ok 1 - a\n1..1\n')

  test('without a report counts as one, by its exit code', () => {
    assert.equal(judge(undefined, 0).passed, 1)
    for (const code of [1, null]) assert.deepEqual(summarize([judge(undefined, code)]).isOk, false)
  })

  test('that failed without saying so in its report failed once', () => {
    assert.equal(judge(good, 0), good)
    for (const code of [1, null]) assert.deepEqual(judge(good, code).failed, 1)
    const bad = countTap('not ok 1 - a\nnot ok 2 - b\n1..2\n')
    for (const code of [0, 1]) assert.equal(judge(bad, code).failed, 2)
  })

  test('the last line sums up, and says nothing of nothing', () => {
    const skipping = countTap('ok 1 - a # SKIP no KVM\n1..1\n')
    assert.deepEqual(summarize([good, good]), { line: '2 passed, 0 failed', isOk: true })
    const line = '2 passed, 0 failed, 1 skipped'
    assert.deepEqual(summarize([good, skipping, good]), { line, isOk: true })
    assert.equal(summarize([good, countTap('')]).isOk, false)
    assert.equal(summarize([]).isOk, false)
  })
})

// ---- The whole of it, in a checkout that is made up ---------------------------------------------

/** A double of `npm test` that writes `report` where vitest is told to, and its exit code. */
function doubleOfVitest(report: string, exitCode = 0): string {
  return `import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
const option = '--outputFile.json='
const file = process.argv.find((arg) => arg.startsWith(option)).slice(option.length)
mkdirSync(dirname(file), { recursive: true })
writeFileSync(file, ${JSON.stringify(report)})
process.exitCode = ${exitCode}
`
}

const status = (name: string) => ({ status: name, fullName: `it ${name}`, meta: {} })
const passing = JSON.stringify({
  testResults: [{ name: 'x', status: 'passed', assertionResults: [status('passed')] }],
})

/** A double of `npm test` with a process of its own. */
const PARENT = `import { spawn } from 'node:child_process'
spawn('sleep', ['600'], { stdio: 'ignore' })
`

let checkouts = 0
/** A checkout with these programs: `npm test`, and the others as `check:NAME`. */
function createCheckout(programs: Readonly<Record<string, string>>): string {
  const checkout = join(scratch, String(++checkouts))
  mkdirSync(join(checkout, 'scripts'), { recursive: true })
  for (const name of ['ci.ts', 'ci-report.ts', 'system.ts']) {
    cpSync(join(import.meta.dirname, name), join(checkout, 'scripts', name))
  }
  // `check:tool` is one that reports nothing.
  const scripts: Record<string, string> = { test: 'node test.js', 'check:tool': 'true' }
  for (const [name, code] of Object.entries(programs)) {
    writeFileSync(join(checkout, `${name}.js`), code)
    if (name !== 'test') scripts[`check:${name}`] = `node ${name}.js`
  }
  writeFileSync(join(checkout, 'package.json'), JSON.stringify({ type: 'module', scripts }))
  return checkout
}

function runCi(programs: Readonly<Record<string, string>>) {
  const ci = join(createCheckout(programs), 'scripts/ci.ts')
  const { status: code, stdout } = spawnSync(process.execPath, [ci], { encoding: 'utf8' })
  return { code, stdout, lastLine: stdout.trimEnd().split('\n').at(-1) }
}

describe('scripts/ci.ts', () => {
  const vitest = doubleOfVitest(passing)

  test('passes, with the reasons of what was skipped before the last line', () => {
    const tap = "console.log('ok 1 - a\\nok 2 - b # SKIP no KVM\\n# say: 92 %\\n1..2')"
    const { code, stdout, lastLine } = runCi({ test: vitest, tap })
    assert.deepEqual({ code, lastLine }, { code: 0, lastLine: '3 passed, 0 failed, 1 skipped' })
    assert.match(stdout, /^skipped: check:tap: b: no KVM\n3 passed/m)
    assert.match(stdout, /^ok +\d+\.\d s {2}check:tap: 1 passed\n +92 %$/m)
  })

  const failures: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    'vitest has failed': { test: doubleOfVitest(passing, 1) },
    'vitest writes no report': { test: '' },
    'vitest dies while it writes': { test: doubleOfVitest(passing.slice(0, -9)) },
    'a check fails': { test: vitest, tap: "console.log('not ok 1 - a\\n1..1')" },
    'a check ends in the middle, without a word': { test: vitest, tap: "console.log('ok 1 - a')" },
    'a check reports nothing': { test: vitest, tap: 'process.exit(0)' },
    'a check is killed after its report': {
      test: vitest,
      tap: "console.log('ok 1 - a\\n1..1'); process.kill(process.pid, 'SIGKILL')",
    },
  }
  for (const [what, programs] of Object.entries(failures)) {
    test(`fails when ${what}`, () => {
      const { code, lastLine } = runCi(programs)
      assert.equal(code, 1)
      assert.match(lastLine ?? '', /^\d passed, 1 failed$/)
    })
  }

  test('a report of an earlier run is not taken for one of this run', () => {
    const checkout = createCheckout({ test: '' })
    mkdirSync(join(checkout, 'coverage'))
    writeFileSync(join(checkout, 'coverage/vitest.json'), passing)
    const { status: code } = spawnSync(process.execPath, [join(checkout, 'scripts/ci.ts')])
    assert.equal(code, 1)
  })

  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGHUP', 129],
  ] as const) {
    test(`${signal} ends the command under way, with all of its processes`, async () => {
      const checkout = createCheckout({ test: PARENT })
      const ci = spawn(process.execPath, [join(checkout, 'scripts/ci.ts')], { stdio: 'ignore' })
      const ended = once(ci, 'exit')
      const family = await until(() => {
        const members = familyOf(ci.pid ?? assert.fail('it did not start'))
        return members.some(({ name }) => name === 'sleep') ? members : undefined
      })
      ci.kill(signal)
      assert.deepEqual(await ended, [code, null])
      assert.deepEqual(await survivors(family), [])
    })
  }
})

describe('check:prebuilds', () => {
  test('comes after check:arm64, which builds for the other architecture', () => {
    const manifest = readFileSync(join(root, 'package.json'), 'utf8')
    const { scripts } = JSON.parse(manifest) as { readonly scripts: Readonly<object> }
    const names = Object.keys(scripts)
    assert.ok(names.indexOf('check:arm64') < names.indexOf('check:prebuilds'))
    assert.ok(names.includes('check:arm64'))
  })

  test('says for each package that there is nothing for an architecture', () => {
    const checkout = join(scratch, 'prebuilds')
    cpSync(join(root, 'scripts'), join(checkout, 'scripts'), { recursive: true })
    for (const name of ['ram', 'endophyte', 'node']) {
      const folder = join(checkout, 'packages', name)
      const host = `prebuilds/linux-${process.arch}`
      cpSync(join(root, 'packages', name, host), join(folder, host), { recursive: true })
      const manifest = { name, version: '0.0.0', files: ['prebuilds'] }
      writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
    }
    const program = join(checkout, 'scripts/prebuilds-test.ts')
    const { status: code, stdout } = spawnSync(process.execPath, [program], { encoding: 'utf8' })
    const other = process.arch === 'x64' ? 'arm64' : 'x64'
    assert.deepEqual(
      countTap(stdout).skipped.filter((line) => line.includes('not built')),
      ['ram', 'endophyte', 'node'].map(
        (name) =>
          `packages/${name}/prebuilds/linux-${other}: ` +
          `not built here: node scripts/prebuild.ts ${other}`,
      ),
    )
    assert.equal(code, 0)
  })
})
