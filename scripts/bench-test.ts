/** `npm run bench`: its list, its report, what it refuses, in a checkout that is made up; TAP. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { root } from './system.ts'

const checkout = mkdtempSync(join(tmpdir(), 'bench-test-'))
after(() => {
  rmSync(checkout, { recursive: true })
})
cpSync(join(root, 'scripts'), join(checkout, 'scripts'), { recursive: true })
mkdirSync(join(checkout, 'packages/toy/bench/kit'), { recursive: true })
writeFileSync(join(checkout, 'package.json'), '{"type":"module"}\n')

const figure = {
  name: 'sum',
  unit: 'ms',
  samples: 5,
  ours: 3,
  oursSpread: 0.25,
  peerName: 'a loop',
  peer: 12,
}
const programs: Readonly<Record<string, string>> = {
  'toy.ts': `export async function bench() {
  console.error('progress')
  return [${JSON.stringify(figure)}]
}`,
  'broken.ts': "export const bench = async () => Promise.reject(new Error('no\\n  userfaultfd'))",
  'kit/timer.ts': "throw new Error('no benchmark')",
}
for (const [file, text] of Object.entries(programs)) {
  writeFileSync(join(checkout, 'packages/toy/bench', file), text)
}

function bench(folder: string, ...args: readonly string[]) {
  const command = [join(folder, 'scripts/bench.ts'), ...args]
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' })
  return { status, stdout, stderr }
}

describe('without a name it lists', () => {
  test('what there is', () => {
    assert.deepEqual(bench(checkout), { status: 0, stdout: 'broken\ntoy\n', stderr: '' })
  })

  test('what this checkout promises', () => {
    const names = bench(root).stdout.trim().split('\n')
    for (const name of ['encode', 'epoch', 'fullsync', 'scan', 'tracking']) {
      assert.ok(names.includes(name), `${name} is not in ${names.join(', ')}`)
    }
  })
})

describe('-o json', () => {
  test('the last line is the report; everything else goes to stderr', () => {
    const { status, stdout, stderr } = bench(checkout, 'toy', '-o', 'json')
    assert.equal(status, 0)
    assert.match(stdout, /^\{[^\n]*\}\n$/)
    const report = JSON.parse(stdout) as Readonly<Record<string, unknown>>
    const { machine, load, ...rest } = report
    assert.deepEqual(rest, {
      name: 'toy',
      node: process.version,
      commit: 'unknown',
      figures: [{ ...figure, ratio: 0.25 }],
    })
    assert.match(String(machine), /^\d+ x ./)
    assert.match(String(load), /^load [\d.,]+ before and [\d.,]+ after$/)
    assert.equal(
      stderr,
      'progress\nsum: 3 ms (median of 5, spread 0.25); a loop: 12 ms; ratio 0.25\n',
    )
  })

  test('names the commit, and says when it has been edited since', () => {
    const git = (...args: readonly string[]): string =>
      execFileSync('git', args, { cwd: checkout, encoding: 'utf8' }).trim()
    const commit = (): unknown => {
      const { stdout } = bench(checkout, 'toy', '-o', 'json')
      return (JSON.parse(stdout) as { readonly commit: unknown }).commit
    }
    git('init', '--quiet')
    git('add', '.')
    const author = ['-c', 'user.name=x', '-c', 'user.email=x@example.org']
    git(...author, '-c', 'commit.gpgsign=false', 'commit', '--quiet', '--message', 'x')
    const head = git('rev-parse', '--short', 'HEAD')
    assert.equal(commit(), head)
    writeFileSync(join(checkout, 'package.json'), '{ "type": "module" }\n')
    assert.equal(commit(), `${head}+`)
    rmSync(join(checkout, '.git'), { recursive: true })
  })
})

test('as a table: one line for each figure, and where it was measured', () => {
  const { status, stdout, stderr } = bench(checkout, 'toy')
  assert.deepEqual({ status, stderr }, { status: 0, stderr: 'progress\n' })
  const [line, where] = stdout.split('\n')
  assert.equal(line, 'sum: 3 ms (median of 5, spread 0.25); a loop: 12 ms; ratio 0.25')
  assert.match(where ?? '', /^\d+ x .*, load .*, Node v\d.*, commit unknown$/)
})

const refusals: readonly (readonly [args: readonly string[], exitCode: number, says: RegExp])[] = [
  [['nonesuch'], 2, /^bench: no benchmark is called nonesuch; there are: broken, toy\n$/],
  [['toy', 'broken'], 2, /^bench: NAME must be one benchmark[^\n]*\n$/],
  [['toy', '-o', 'yaml'], 2, /^bench: --output must be table or json, got yaml[^\n]*\n$/],
  [['broken', '-o', 'json'], 1, /^bench: no userfaultfd\n$/],
]
for (const [args, exitCode, says] of refusals) {
  test(`bench ${args.join(' ')}: one line, exit code ${exitCode}`, () => {
    const { status, stdout, stderr } = bench(checkout, ...args)
    assert.deepEqual({ status, stdout }, { status: exitCode, stdout: '' })
    assert.match(stderr, says)
  })
}
