/**
 * Runs a command of this checkout as a person does, ends it in one of several ways, and tells what
 * is left. A terminal is a real one, made by `script` (Debian: bsdutils, which every system has).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  familyOf,
  foreignNamespaces,
  killAll,
  namespacesLeft,
  type Process,
  survivors,
  until,
  withEnvironment,
} from './process-family.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Bound on the end where it is noticed at the next line of output: that of a test of minutes. */
const NEXT_LINE_TIMEOUT_MS = 120_000

const CTRL_C = '\x03'

interface Running {
  /** npm, or the terminal that it runs in. */
  readonly child: ChildProcess
  readonly pid: number
}

interface Way {
  readonly isInTerminal: boolean
  readonly end: (running: Running) => unknown
  /** Bound on the end of all processes; by default the one of {@link survivors}. */
  readonly timeoutMs?: number
}

/** Whatever ends a command. */
export const ways: Readonly<Record<string, Way>> = {
  'Ctrl-C': { isInTerminal: true, end: ({ child }) => child.stdin?.write(CTRL_C) },
  'Ctrl-C, impatiently': {
    isInTerminal: true,
    end: ({ child }) => child.stdin?.write(CTRL_C + CTRL_C),
  },
  'SIGINT to all': { isInTerminal: false, end: ({ pid }) => process.kill(-pid, 'SIGINT') },
  'SIGTERM to npm': { isInTerminal: false, end: ({ child }) => child.kill('SIGTERM') },
  'SIGKILL to npm': { isInTerminal: false, end: ({ child }) => child.kill('SIGKILL') },
  'a closed terminal': { isInTerminal: true, end: ({ child }) => child.kill('SIGKILL') },
  'a closed pipe': {
    isInTerminal: false,
    end: ({ child }) => child.stdout?.destroy(),
    timeoutMs: NEXT_LINE_TIMEOUT_MS,
  },
}

/** What a command left behind, one line each. */
export interface Leftovers {
  readonly processes: readonly string[]
  readonly sharedMemory: readonly string[]
  readonly namespaces: readonly string[]
  /** In its temporary folder. */
  readonly files: readonly string[]
}

export const NOTHING_LEFT: Leftovers = {
  processes: [],
  sharedMemory: [],
  namespaces: [],
  files: [],
}

/** What a command that runs looks like from outside. */
export interface Seen {
  readonly family: readonly Process[]
  /** Both streams, as they came. */
  readonly output: string
}

/**
 * Starts `npm ARGS`, waits until `isUnderWay`, ends it in this way, and returns what is left.
 *
 * @throws it ended by itself, or was not under way in time; with all that it said
 */
export async function endCommand(
  way: Way,
  args: readonly string[],
  isUnderWay: (seen: Seen) => boolean,
): Promise<Leftovers> {
  const folder = mkdtempSync(join(tmpdir(), 'ended-'))
  chmodSync(folder, 0o711) // started by root, QEMU runs as somebody else
  const sharedMemory = new Set(readdirSync('/dev/shm'))
  const running = start(way, args, folder)
  const exited = once(running.child, 'exit')
  let output = ''
  for (const stream of [running.child.stdout, running.child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output += text))
  }
  let family: readonly Process[] = []
  try {
    await until(() => {
      if (running.child.exitCode !== null) throw new Error('it ended by itself')
      family = familyOf(running.pid)
      return isUnderWay({ family, output }) ? family : undefined
    })
    const namespaces = foreignNamespaces(family)
    way.end(running)
    await survivors(family, way.timeoutMs)
    // Those too that were started at the last moment, and have no parent any more.
    const known = new Set(family.map(({ pid }) => pid))
    const strays = withEnvironment(`TMPDIR=${folder}`).filter(({ pid }) => !known.has(pid))
    family = [...family, ...strays]
    const processes = await survivors(family)
    if (processes.length === 0) await exited
    return {
      processes,
      sharedMemory: readdirSync('/dev/shm').filter((name) => !sharedMemory.has(name)),
      namespaces: namespacesLeft(namespaces),
      files: readdirSync(folder).filter((name) => name.startsWith('mycelium')),
    }
  } catch (cause) {
    throw new Error(`npm ${args.join(' ')} said:\n${output}`, { cause })
  } finally {
    killAll(family) // a test that failed must not be in the way of the next
    rmSync(folder, { recursive: true, force: true })
  }
}

function start({ isInTerminal }: Way, args: readonly string[], folder: string): Running {
  // A terminal of 0 columns, which `script` makes without one of its own, nobody has.
  const line = `stty cols 100 rows 30; exec npm ${args.join(' ')}`
  const [program, programArgs] = isInTerminal
    ? ['script', ['--quiet', '--flush', '--return', '--command', line, '/dev/null']]
    : ['npm', args]
  const child = spawn(program, programArgs, {
    cwd: root,
    detached: true, // a group of its own, as a terminal gives it one
    // Of a terminal, its keyboard.
    stdio: [isInTerminal ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: folder },
  })
  child.on('error', () => {}) // no pid says it
  child.stdin?.on('error', () => {}) // the terminal is gone
  const { pid } = child
  if (pid === undefined) throw new Error(`${program} did not start; script is in Debian's bsdutils`)
  return { child, pid }
}
