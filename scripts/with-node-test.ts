/**
 * Runs scripts/with-node.sh on a machine that is made up: a scratch checkout, and a PATH with only
 * the programs that a case wants, some of them doubles; TAP.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, describe, test } from 'node:test'
import { root } from './system.ts'

const scratch = mkdtempSync(join(tmpdir(), 'with-node-'))
after(() => {
  rmSync(scratch, { recursive: true })
})

/** What the script uses of the system. */
const SYSTEM = ['cat', 'env', 'find', 'flock', 'id', 'mkdir', 'mv', 'sed', 'setsid', 'sh', 'sleep']
const TOOLCHAIN = ['g++', 'make', 'python3']
/** Bound on waiting for a process to be there or gone. */
const EVENT_TIMEOUT_MS = 15_000

interface Machine {
  readonly checkout: string
  readonly env: NodeJS.ProcessEnv
  /** Adds a program to the PATH. */
  program(name: string, script: string): void
  readonly bin: string
}

function which(name: string): string {
  return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim()
}

let machines = 0
/** A checkout that has just been cloned, on a machine with git, Node and a C++ toolchain. */
function createMachine(tools: readonly string[] = TOOLCHAIN): Machine {
  const folder = join(scratch, `machine-${++machines}`)
  const checkout = join(folder, 'checkout')
  const bin = join(folder, 'bin')
  mkdirSync(join(checkout, 'scripts'), { recursive: true })
  mkdirSync(join(checkout, 'packages/node/src'), { recursive: true })
  mkdirSync(bin)
  cpSync(join(root, 'scripts/with-node.sh'), join(checkout, 'scripts/with-node.sh'))
  writeFileSync(join(checkout, 'program.js'), "console.log('ran', ...process.argv.slice(2))\n")
  const scripts = { start: 'exec sh scripts/with-node.sh', build: 'fake-build' }
  const manifest = { scripts, devDependencies: { pnpm: '1.2.3' } }
  writeFileSync(join(checkout, 'package.json'), JSON.stringify(manifest, null, 1))
  writeFileSync(join(checkout, 'pnpm-lock.yaml'), '')
  const program = (name: string, script: string): void => {
    rmSync(join(bin, name), { force: true })
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  for (const name of SYSTEM) symlinkSync(which(name), join(bin, name))
  symlinkSync(process.execPath, join(bin, 'node'))
  for (const name of tools) program(name, ':')
  program('npx', 'echo "installed with $*"')
  program('npm', 'mkdir -p packages/node/dist && : >packages/node/dist/bin.js && echo built')
  return { checkout, bin, program, env: { PATH: bin, HOME: folder } }
}

function withNode({ checkout, env }: Machine, ...args: string[]) {
  const script = join(checkout, 'scripts/with-node.sh')
  const { status, stdout, stderr } = spawnSync('sh', [script, ...args], { env, encoding: 'utf8' })
  return { status, stdout, stderr }
}

test('installs, builds, runs; the second time it only runs', () => {
  const machine = createMachine()
  const first = withNode(machine, 'program.js', 'a', 'b')
  assert.equal(first.stdout, 'ran a b\n')
  assert.match(first.stderr, /installed with --yes pnpm@1\.2\.3 install --frozen-lockfile\nbuilt\n/)
  assert.deepEqual(withNode(machine, 'program.js'), { status: 0, stdout: 'ran\n', stderr: '' })
  writeFileSync(join(machine.checkout, 'packages/node/src/new.ts'), '')
  assert.match(withNode(machine, 'program.js').stderr, /^built\n$/)
})

test('exit codes of the program and of a failed install or build', () => {
  const machine = createMachine()
  writeFileSync(join(machine.checkout, 'exit.js'), 'process.exit(3)\n')
  assert.equal(withNode(machine, 'exit.js').status, 3)
  machine.program('npm', 'exit 5')
  writeFileSync(join(machine.checkout, 'packages/node/src/new.ts'), '')
  assert.equal(withNode(machine, 'program.js').status, 5)
  const fresh = createMachine()
  fresh.program('npx', 'exit 7')
  assert.equal(withNode(fresh, 'program.js').status, 1)
})

test('set-up keeps compiled code in the checkout; what runs afterwards keeps none', () => {
  const machine = createMachine()
  const tell = 'echo "keeps it in $NODE_COMPILE_CACHE"'
  machine.program('npx', tell)
  machine.program('npm', `mkdir -p packages/node/dist && : >packages/node/dist/bin.js && ${tell}`)
  const show = "console.log(process.env.NODE_COMPILE_CACHE ?? 'nowhere')\n"
  writeFileSync(join(machine.checkout, 'program.js'), show)
  const { stdout, stderr } = withNode(machine, 'program.js')
  const line = `keeps it in ${machine.checkout}/node_modules/.cache/node-compile-cache\n`
  assert.deepEqual({ stdout, stderr }, { stdout: 'nowhere\n', stderr: line.repeat(2) })
})

describe('what this machine lacks', () => {
  /** apt-get that writes down how it was called, and installs by making QEMU appear. */
  function withApt(machine: Machine, hasLists: boolean): void {
    const { bin } = machine
    machine.program('apt-cache', `[ -e ${bin}/lists ]`)
    machine.program(
      'apt-get',
      `echo "$*" >>${bin}/calls
      case $1 in update) : >${bin}/lists ;; install) : >${bin}/qemu-system-x86_64
        chmod +x ${bin}/qemu-system-x86_64 ;; esac`,
    )
    symlinkSync(which('chmod'), join(bin, 'chmod'))
    if (hasLists) writeFileSync(join(bin, 'lists'), '')
  }
  const calls = ({ bin }: Machine): string[] =>
    readFileSync(join(bin, 'calls'), 'utf8').trim().split('\n')
  const install =
    'install --yes --no-install-recommends qemu-system-x86 -qq -o DPkg::Lock::Timeout=300'

  test('as root it is installed, and said', () => {
    const machine = createMachine()
    machine.program('id', 'echo 0')
    withApt(machine, true)
    const { stdout, stderr } = withNode(machine, '--needs', 'qemu', 'program.js')
    assert.equal(stdout, 'ran\n')
    assert.match(stderr, /missing: qemu-system-x86; as root: apt-get install /)
    assert.deepEqual(calls(machine), [install])
  })

  test('without lists of packages they are fetched first', () => {
    const machine = createMachine()
    machine.program('id', 'echo 0')
    withApt(machine, false)
    assert.equal(withNode(machine, '--needs', 'qemu', 'program.js').status, 0)
    assert.deepEqual(calls(machine), ['update -qq', install])
  })

  test('as anybody else: the exact command, exit code 3, nothing done', () => {
    const machine = createMachine([])
    machine.program('id', 'echo 1000')
    withApt(machine, true)
    const { status, stdout, stderr } = withNode(machine, '--needs', 'qemu', 'program.js')
    assert.deepEqual({ status, stdout }, { status: 3, stdout: '' })
    assert.match(
      stderr,
      /^missing: g\+\+ make python3 qemu-system-x86\ntry: sudo apt-get install [^\n]+\n$/,
    )
    assert.equal(existsSync(join(machine.bin, 'calls')), false)
  })

  test('what is only wanted does not stop it', () => {
    const machine = createMachine()
    machine.program('id', 'echo 1000')
    const { status, stderr } = withNode(machine, '--wants', 'format', 'program.js')
    assert.equal(status, 0)
    assert.match(stderr, /going on without: clang-format\n/)
  })
})

// ---- Whatever ends the command ends its processes -----------------------------------------------

const isAlive = (pid: number): boolean => {
  try {
    // A zombie has ended; only its parent has not looked yet.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + EVENT_TIMEOUT_MS
  while (!isTrue()) {
    assert.ok(performance.now() < deadline, `${what} did not happen in ${EVENT_TIMEOUT_MS} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe('ended during the install', () => {
  const ways: Readonly<Record<string, (npm: number) => void>> = {
    'SIGTERM to npm': (npm) => process.kill(npm, 'SIGTERM'),
    'SIGINT to npm': (npm) => process.kill(npm, 'SIGINT'),
    'Ctrl-C: SIGINT to npm and all it started': (npm) => process.kill(-npm, 'SIGINT'),
    'closed terminal: SIGHUP to npm and all it started': (npm) => process.kill(-npm, 'SIGHUP'),
    'SIGKILL to npm': (npm) => process.kill(npm, 'SIGKILL'),
  }
  for (const [name, kill] of Object.entries(ways)) {
    test(`${name}: nothing is left`, async () => {
      const machine = createMachine()
      const pids = join(dirname(machine.bin), 'pids')
      // An installer with children, one of which does not care about SIGTERM.
      machine.program(
        'npx',
        `sleep 1000 & a=$!
        sh -c 'trap "" TERM HUP INT; sleep 1000 & wait; wait' & b=$!
        echo "$$ $a $b" >${pids}.new && mv ${pids}.new ${pids}; wait`,
      )
      const npm = spawn(which('npm'), ['run', '--silent', 'start', '--', 'program.js'], {
        cwd: machine.checkout,
        detached: true,
        stdio: 'ignore',
        env: { ...machine.env, PATH: `${machine.bin}:${dirname(which('npm'))}` },
      })
      const ended = once(npm, 'exit')
      await until(() => existsSync(pids), 'the install')
      const started = readFileSync(pids, 'utf8').trim().split(' ').map(Number)
      assert.deepEqual(started.map(isAlive), [true, true, true])
      kill(npm.pid ?? assert.fail('npm did not start'))
      await ended
      await until(() => !started.some(isAlive), 'the end of the install')
    })
  }
})
