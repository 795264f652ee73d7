/**
 * Breaks each structural rule on purpose in a scratch copy and expects its tool to say so; TAP.
 * The breakages of one tool are made together, and the tool runs once.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { root } from './system.ts'

type Edit = (text: string) => string
/** `says` is what the tool must print. */
type Breakage = readonly [rule: string, file: string, edit: Edit, says: RegExp | string]

const append =
  (line: string): Edit =>
  (text) =>
    `${text}\n${line}\n`
const replace =
  (what: string, by: string): Edit =>
  (text) => {
    if (!text.includes(what)) throw new Error(`nothing to break: no ${what}`)
    return text.replace(what, by)
  }
const statements = (count: number): string => '  f()\n'.repeat(count)

const detector = 'packages/failure-detector/src/core/detector.ts'
const shell = 'packages/failure-detector/src/failure-detector.ts'
const contracts = 'packages/interface/src/index.ts'
const constants = 'packages/failure-detector/src/constants.ts'
const clock = 'packages/clock/src/index.ts'
const manifest = 'packages/clock/package.json'

const breakages: Readonly<Record<string, readonly Breakage[]>> = {
  'check:layers': [
    ['upward import', contracts, append("import '../../clock/src/index.ts'"), 'layer-0-not-upward'],
    [
      'sideways import',
      clock,
      append("import '../../events/src/index.ts'"),
      'layer-1-not-sideways',
    ],
    [
      'import by path',
      shell,
      append("import '../../clock/src/index.ts'"),
      'no-relative-import-of-a-package',
    ],
    ['deep import', constants, append("import '../../checksum/src/addon.ts'"), 'no-deep-import'],
    ['core imports node:', detector, append("import 'node:fs'"), 'core-is-pure'],
    [
      'core imports the shell, which imports the core',
      detector,
      append("import '../failure-detector.ts'"),
      'no-circular',
    ],
    [
      'source imports a test',
      constants,
      append("import '../test/detector.spec.ts'"),
      'src-not-to-test',
    ],
    [
      'source imports a development dependency',
      shell,
      append("import 'fast-check'"),
      'no-dev-deps-in-src',
    ],
    ['undeclared package', clock, append("import '@mycelium/events'"), 'not-to-unresolvable'],
    [
      'package without a layer',
      'packages/stray/src/index.ts',
      append("import 'node:fs'"),
      'no-package-without-layer',
    ],
  ],
  'check:core': [
    [
      'timer in a core',
      detector,
      append('setTimeout(() => {}, 1)'),
      "Cannot find name 'setTimeout'",
    ],
    [
      'Node module in a core',
      detector,
      append("import { readFileSync } from 'node:fs'\nreadFileSync('x')"),
      /node:fs/,
    ],
  ],
  'check:types': [
    ['missing union case', detector, replace("case 'tick': return this.#tick(now)", ''), 'TS2366'],
    ['enum', constants, append('export enum Colour { red }'), 'TS1294'],
    ['export without a type', constants, append('export const sum = Math.max(1, 2)'), 'TS9010'],
    [
      'type import without `type`',
      shell,
      append("import { Startable } from '@mycelium/interface'\nexport type S = Startable"),
      'TS1484',
    ],
  ],
  'check:lint': [
    [
      'missing union case',
      shell,
      replace("case 'restored': this.emit('restored', effect); break", ''),
      'switch-exhaustiveness-check',
    ],
    ['floating promise', shell, append('Promise.resolve()'), 'no-floating-promises'],
    ['any', shell, append('export type A = any'), 'no-explicit-any'],
    ['console', shell, append('console.log(1)'), 'no-console'],
    ['default export', clock, append('export default 1'), 'no-restricted-exports'],
    ['export *', clock, append("export * from 'node:fs'"), 'Name what is exported'],
    [
      'clock in a core',
      detector,
      append('export const t = (): number => Date.now()'),
      /deterministic.*no-restricted-properties/,
    ],
    [
      'new Date() in a core',
      detector,
      append('export const d = (): Date => new Date()'),
      /deterministic.*no-restricted-syntax/,
    ],
    [
      'promise in a core',
      detector,
      append('export const p = async (): Promise<void> => { await p() }'),
      'is synchronous',
    ],
    ['long line', clock, append(`// ${'x'.repeat(100)}`), 'max-len'],
    [
      'long function',
      clock,
      append(`export function f(): void {\n${statements(70)}\n}`),
      'max-lines-per-function',
    ],
    ['long file', constants, append(`const f = (): void => {}\n${statements(400)}`), /max-lines$/m],
  ],
  'check:unused': [
    ['unused export', constants, append('export const UNUSED_MS = 1'), /UNUSED_MS/],
    [
      'unused dependency',
      manifest,
      replace('"dependencies": {', '"dependencies": { "fast-check": "4.10.2",'),
      /fast-check/,
    ],
    ['unlisted dependency', clock, append("import 'cborg'"), /cborg/],
  ],
  'check:publint': [
    ['types that do not exist', manifest, replace('index.d.ts', 'index.d.mts'), 'index.d.mts'],
  ],
  'check:attw': [
    [
      'types of another module system',
      manifest,
      replace('"type": "module",', ''),
      'Unexpected module syntax',
    ],
  ],
  'check:native': [
    [
      'Node header in the C++ core',
      'native/src/core/crc32.h',
      append('#include <napi.h>'),
      'napi.h',
    ],
  ],
  test: [
    [
      'bug in a source, with an older dist',
      detector,
      replace('silentMs >= ', 'silentMs > '),
      'suspects a peer once',
    ],
  ],
}

const scratch = mkdtempSync(join(tmpdir(), 'break-rules-'))
process.once('exit', () => {
  rmSync(scratch, { recursive: true })
})
const left = new Set(['.git', 'node_modules', 'coverage', 'docs', 'build'])
cpSync(root, scratch, { recursive: true, filter: (path) => !left.has(basename(path)) })
// Not links into our own node_modules: pnpm would write through them.
execFileSync('pnpm', ['install', '--frozen-lockfile', '--offline', '--silent'], { cwd: scratch })

let number = 0
for (const [tool, list] of Object.entries(breakages)) {
  const originals = new Map<string, string>()
  for (const [, file, edit] of list) {
    const path = join(scratch, file)
    const isNew = file.includes('/stray/')
    const text = isNew ? '' : readFileSync(path, 'utf8')
    if (!originals.has(path)) originals.set(path, text)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, edit(text))
  }
  const command = tool === 'test' ? ['node_modules/vitest/vitest.mjs', 'run'] : ['--run', tool]
  const { status, stdout, stderr } = spawnSync(process.execPath, command, {
    cwd: scratch,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  })
  const output = `${stdout}\n${stderr}`
  for (const [rule, , , says] of list) {
    const isFound =
      status !== 0 && (typeof says === 'string' ? output.includes(says) : says.test(output))
    console.log(`${isFound ? 'ok' : 'not ok'} ${++number} - ${tool}: ${rule}`)
    if (!isFound) {
      console.error(output)
      process.exitCode = 1
    }
  }
  for (const [path, text] of originals) writeFileSync(path, text)
}
console.log(`1..${number}`)
