/**
 * Breaks each structural rule on purpose in a scratch copy and expects its tool to say so; TAP.
 * The breakages of one tool are made together, and the tool runs once. Most live in files of their
 * own, so that they do not depend on how the sources look today.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { root } from './system.ts'

/** Of a file that may not be there yet. */
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

const core = (name: string): string => `packages/ram/src/core/broken-${name}.ts`
const shell = (name: string): string => `packages/ram/src/broken-${name}.ts`
const index = 'packages/ram/src/index.ts'
const constants = 'packages/ram/src/constants.ts'
const manifest = 'packages/simulator/package.json'

const UNION = "type Shape = { readonly type: 'dot' } | { readonly type: 'line' }"

const breakages: Readonly<Record<string, readonly Breakage[]>> = {
  'check:layers': [
    [
      'upward import',
      'packages/interface/src/broken.ts',
      append("import '../../ram/src/index.ts'"),
      'layer-0-not-upward',
    ],
    [
      'import by path',
      shell('path'),
      append("import '../../interface/src/index.ts'"),
      'no-relative-import-of-a-package',
    ],
    [
      'deep import',
      shell('deep'),
      append("import '../../interface/src/errors.ts'"),
      'no-deep-import',
    ],
    ['core imports node:', core('node'), append("import 'node:fs'"), /core-is-pure.*broken-node/],
    [
      'core imports its shell',
      core('shell'),
      append("import '../region.ts'"),
      /core-is-pure.*broken-shell/,
    ],
    [
      'wire format imports node:',
      'packages/ram/src/wire.ts',
      append("import 'node:fs'"),
      'wire-is-pure',
    ],
    ['circle', shell('circle'), append("import './broken-circle.ts'"), 'no-circular'],
    [
      'source imports a test',
      shell('test'),
      append("import '../test/broken.spec.ts'"),
      /src-not-to-test|not-to-unresolvable/,
    ],
    [
      'source imports the simulator',
      shell('simulator'),
      append("import '@mycelium/simulator'"),
      'simulator-only-in-tests',
    ],
    [
      'source imports a development dependency',
      shell('development'),
      append("import 'fast-check'"),
      'no-dev-deps-in-src',
    ],
    [
      'undeclared package',
      'packages/interface/src/broken.ts',
      append("import '@mycelium/ram'"),
      'not-to-unresolvable',
    ],
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
      core('timer'),
      append('setTimeout(() => {}, 1)'),
      "Cannot find name 'setTimeout'",
    ],
    [
      'Node module in a core',
      core('node'),
      append("import { readFileSync } from 'node:fs'\nreadFileSync('x')"),
      /node:fs/,
    ],
  ],
  'check:types': [
    [
      'missing union case',
      core('union'),
      append(
        `export ${UNION}\nexport function f(shape: Shape): number {\n` +
          "  switch (shape.type) {\n    case 'dot':\n      return 1\n  }\n}",
      ),
      'TS2366',
    ],
    ['enum', shell('enum'), append('export enum Colour {\n  red,\n}'), 'TS1294'],
    ['export without a type', constants, append('export const SUM = Math.max(1, 2)'), 'TS9010'],
    [
      'type import without `type`',
      shell('import'),
      append("import { Startable } from '@mycelium/interface'\nexport type S = Startable"),
      'TS1484',
    ],
  ],
  'check:lint': [
    [
      'missing union case',
      shell('union'),
      append(
        `export ${UNION}\nexport function f(shape: Shape): void {\n` +
          "  switch (shape.type) {\n    case 'dot':\n      f(shape)\n  }\n}",
      ),
      'switch-exhaustiveness-check',
    ],
    [
      'floating promise',
      shell('promise'),
      append('Promise.resolve()\nexport {}'),
      'no-floating-promises',
    ],
    ['any', shell('any'), append('export type A = any'), 'no-explicit-any'],
    ['console', shell('console'), append('console.log(1)\nexport {}'), 'no-console'],
    ['default export', shell('default'), append('export default 1'), 'no-restricted-exports'],
    ['export *', shell('star'), append("export * from 'node:fs'"), 'Name what is exported'],
    [
      'clock in a core',
      core('clock'),
      append('export const t = (): number => Date.now()'),
      /deterministic.*no-restricted-properties/,
    ],
    [
      'new Date() in a core',
      core('date'),
      append('export const d = (): Date => new Date()'),
      /deterministic.*no-restricted-syntax/,
    ],
    [
      'promise in a core',
      core('promise'),
      append('export const p = async (): Promise<void> => {\n  await p()\n}'),
      'is synchronous',
    ],
    ['long line', shell('line'), append(`// ${'x'.repeat(100)}`), 'max-len'],
    [
      'long function',
      shell('function'),
      append(`export function f(): void {\n${statements(70)}\n}`),
      'max-lines-per-function',
    ],
    [
      'long file',
      shell('file'),
      append(`export const f = (): void => {}\n${statements(400)}`),
      /max-lines$/m,
    ],
  ],
  'check:format': [
    ['semicolon', shell('semicolon'), append('export const A = 1;'), 'broken-semicolon.ts'],
  ],
  'check:unused': [
    ['unused file', shell('file'), append('export const A = 1'), /broken-file/],
    ['unused export', constants, append('export const UNUSED_MS = 1'), /UNUSED_MS/],
    [
      'unused dependency',
      manifest,
      replace('"dependencies": {', '"dependencies": { "main-event": "1.0.5",'),
      /main-event/,
    ],
    ['unlisted dependency', index, append("import 'cborg'"), /cborg/],
  ],
  'check:publint': [
    [
      'types that do not exist',
      manifest,
      replace('./dist/index.d.ts', './dist/index.d.mts'),
      'index.d.mts',
    ],
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
      'native/src/core/page_bitmap.h',
      append('#include <napi.h>'),
      'napi.h',
    ],
  ],
  test: [
    [
      'tests run on sources, not on an older dist',
      'packages/interface/src/index.ts',
      append("export const AGE = 'new'"),
      "expected 'new' to be 'old'",
    ],
    [
      'a failing test',
      'packages/ram/test/broken.spec.ts',
      append(
        "import { expect, it } from 'vitest'\nimport * as contracts from '@mycelium/interface'\n" +
          "it('is of dist', () => expect((contracts as { AGE?: string }).AGE).toBe('old'))",
      ),
      'is of dist',
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
execFileSync('pnpm', ['install', '--frozen-lockfile', '--prefer-offline', '--silent'], {
  cwd: scratch,
  stdio: ['ignore', 2, 2],
})

function commandOf(tool: string): string[] {
  if (tool !== 'test') return ['--run', tool]
  return ['node_modules/vitest/vitest.mjs', 'run', 'packages/ram/test/broken.spec.ts']
}

let number = 0
for (const [tool, list] of Object.entries(breakages)) {
  const originals = new Map<string, string | undefined>()
  for (const [, file, edit] of list) {
    const path = join(scratch, file)
    const text = existsSync(path) ? readFileSync(path, 'utf8') : undefined
    if (!originals.has(path)) originals.set(path, text)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, edit(text ?? ''))
  }
  const { status, stdout, stderr } = spawnSync(process.execPath, commandOf(tool), {
    cwd: scratch,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  })
  const output = `${stdout}\n${stderr}`
  for (const [rule, , , says] of list) {
    const isSaid = typeof says === 'string' ? output.includes(says) : says.test(output)
    const isFound = status !== 0 && isSaid
    console.log(`${isFound ? 'ok' : 'not ok'} ${++number} - ${tool}: ${rule}`)
    if (!isFound) {
      console.error(`${rule}: expected ${String(says)} in\n${output}`)
      process.exitCode = 1
    }
  }
  for (const [path, text] of originals) {
    if (text === undefined) rmSync(path)
    else writeFileSync(path, text)
  }
}
console.log(`1..${number}`)
