/**
 * Boots an arm64 guest and runs the tests of the C++ core in it; TAP. User-mode emulation (see
 * `arm64-test.ts`) has no userfaultfd and no ptrace, so only here tiers A and B of the trackers
 * and the injection of descriptors run on arm64. It takes minutes: beside CI, not in it.
 *
 *     npm run arm64-guest -- [--flavor FLAVOR] [FILTER]
 *
 * FLAVOR is the end of a Debian kernel's name: `cloud-arm64`, or `arm64-16k` for pages of 16 KiB.
 * FILTER is part of the names of the tests to run.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { writeCpio } from '../packages/endophyte/src/core/cpio.ts'
import { KERNELS_TRIED_MAX } from '../packages/endophyte/src/core/guest-plan.ts'
import { GuestImageError } from '../packages/endophyte/src/errors.ts'
import { createAptDownloads } from '../packages/endophyte/src/guest/apt.ts'
import { buildNativeTests } from './native-build.ts'
import { missingTools, root } from './system.ts'

/** The first Linux with asynchronous write protection and PAGEMAP_SCAN on arm64. */
const KERNEL_MIN = [6, 10, 0]
/** Three times what it took on 2 busy cores of x86-64, in milliseconds. */
const GUEST_TIMEOUT_MS = 900_000
const GUEST_MEBIBYTES = 1024
/** The arm64 code of the codec is fuzzed at length in user-mode emulation. */
const TEST_ROUNDS_DIVISOR = 100

const emulator = 'qemu-system-aarch64'
const prefix = 'aarch64-linux-gnu-'
const cache = join(root, 'node_modules/.cache/arm64-guest')
/** The last line of native/test/guest/init.c. */
const END = /^# ended with exit code (\d+)$/

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { flavor: { type: 'string', default: 'cloud-arm64' } },
})
const missing = missingTools(
  [emulator, `${prefix}g++`, 'setpriv'],
  'qemu-system-arm g++-aarch64-linux-gnu util-linux',
)
if (missing === undefined) await test()
else console.log(`1..0 # SKIP ${missing}`)

async function test(): Promise<void> {
  mkdirSync(cache, { recursive: true })
  let kernel: string
  try {
    kernel = await fetchKernel(values.flavor)
  } catch (error) {
    if (!(error instanceof GuestImageError)) throw error
    console.log(`1..0 # SKIP ${error.message}`)
    return
  }
  const name = 'native-test-arm64-static'
  const program = await buildNativeTests({ name, prefix, flags: ['-O1', '-static'] })
  const initramfs = buildInitramfs(program)
  if (!(await boot(kernel, initramfs))) process.exitCode = 1
}

/** The path of the newest kernel that apt offers, from the cache or downloaded; no root needed. */
async function fetchKernel(flavor: string): Promise<string> {
  const folder = join(cache, `kernel-${flavor}`)
  if (!existsSync(folder)) {
    const temporary = mkdtempSync(join(cache, 'temporary-'))
    try {
      const onProgress = (line: string): void => {
        console.error(line)
      }
      const apt = createAptDownloads(temporary, 'arm64', { onProgress })
      const what = `a kernel linux-image-*-${flavor}, ${KERNEL_MIN.join('.')} or newer`
      const pattern = `^linux-image-[0-9.]+[0-9][^-]*-${flavor}$`
      const { file } = await apt.download(what, async (show) => newest(await show(pattern)))
      const tree = join(temporary, 'tree')
      execFileSync('dpkg-deb', ['-x', file, tree], { stdio: ['ignore', 2, 2] })
      const kept = join(temporary, 'kept')
      mkdirSync(kept)
      for (const image of globSync('vmlinuz-*', { cwd: join(tree, 'boot') })) {
        copyFileSync(join(tree, 'boot', image), join(kept, image))
      }
      renameSync(kept, folder)
    } finally {
      rmSync(temporary, { recursive: true, force: true })
    }
  }
  const [image] = readdirSync(folder)
  if (image === undefined) throw new Error(`${folder} holds no kernel; remove it`)
  return join(folder, image)
}

/**
 * Names of kernels that are new enough, newest first.
 *
 * @param records - what `apt-cache show` prints
 */
function newest(records: string): string[] {
  const kernels = [...records.matchAll(/^Package: (linux-image-(\d+)\.(\d+)\.(\d+).*)$/gm)]
    .map(([, name = '', ...version]) => ({ name, version: version.map(Number) }))
    .filter(({ version }) => compare(version, KERNEL_MIN) >= 0)
    .sort((left, right) => compare(right.version, left.version))
  return [...new Set(kernels.map(({ name }) => name))].slice(0, KERNELS_TRIED_MAX)
}

/** Of two versions; negative if `left` is the older one. */
function compare(left: readonly number[], right: readonly number[]): number {
  const at = left.findIndex((part, index) => part !== right[index])
  return at < 0 ? 0 : (left[at] ?? 0) - (right[at] ?? 0)
}

/** @returns the path of the archive */
function buildInitramfs(program: string): string {
  const init = join(cache, 'init')
  const source = join(root, 'native/test/guest/init.c')
  const strict = ['-std=gnu17', '-O1', '-Wall', '-Wextra', '-Werror', '-static']
  execFileSync(`${prefix}gcc`, [...strict, source, '-o', init], { stdio: ['ignore', 2, 2] })
  const archive = join(cache, 'initramfs')
  const content = writeCpio([
    ...['dev', 'proc', 'sys', 'tmp'].map(
      (path) => ({ type: 'directory', path, mode: 0o755 }) as const,
    ),
    // The kernel opens it for process 1 before anything is mounted.
    { type: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { type: 'file', path: 'init', mode: 0o755, content: readFileSync(init) },
    { type: 'file', path: 'core_test', mode: 0o755, content: readFileSync(program) },
  ])
  writeFileSync(archive, content)
  return archive
}

/** The kernel gives init what it does not know itself: variables, and arguments after `--`. */
function kernelArguments(): string {
  const seed = process.env['TEST_SEED']
  return [
    'console=ttyAMA0 quiet loglevel=1 panic=-1',
    `TEST_ROUNDS_DIVISOR=${TEST_ROUNDS_DIVISOR}`,
    ...(seed === undefined ? [] : [`TEST_SEED=${seed}`]),
    ...(positionals.length === 0 ? [] : ['--', `"${positionals.join(' ')}"`]),
  ].join(' ')
}

/** Passes the guest's TAP through. @returns whether all tests ran and passed */
async function boot(kernel: string, initramfs: string): Promise<boolean> {
  const startedAt = performance.now()
  // Whatever ends this process ends the guest: hence setpriv.
  const guest = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', emulator, '-nodefaults', '-display', 'none', '-no-reboot'],
      // The architecture's own algorithm of pointer authentication is slow to emulate.
      ...['-M', 'virt', '-accel', 'tcg', '-cpu', 'max,pauth-impdef=on', '-smp', '2'],
      ...['-m', String(GUEST_MEBIBYTES), '-serial', 'stdio'],
      ...['-kernel', kernel, '-initrd', initramfs, '-append', kernelArguments()],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'], timeout: GUEST_TIMEOUT_MS, killSignal: 'SIGKILL' },
  )
  const exited = once(guest, 'exit')
  let planned = Number.NaN // equals no count
  let passed = 0
  let failed = 0
  let exitCode: number | undefined
  for await (const line of createInterface({ input: guest.stdout })) {
    if (exitCode !== undefined) continue // the kernel says that it powers off
    console.log(line)
    planned = Number(/^1\.\.(\d+)$/.exec(line)?.[1] ?? planned)
    if (line.startsWith('ok ')) passed++
    if (line.startsWith('not ok ')) failed++
    const end = END.exec(line)
    if (end) exitCode = Number(end[1])
  }
  await exited
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  const linux = kernel.replace(/.*vmlinuz-/, 'Linux ')
  console.log(`# ${linux}: ${passed} passed, ${failed} failed, ${seconds} s`)
  if (exitCode === undefined) console.log('Bail out! the guest ended before its tests')
  return exitCode === 0 && failed === 0 && passed === planned
}
