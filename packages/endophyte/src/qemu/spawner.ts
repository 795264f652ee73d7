import { spawn, type StdioOptions } from 'node:child_process'
import { Duplex } from 'node:stream'
import type { AbortOptions } from '@mycelium/interface'

/**
 * One descriptor of a program, at the place in the list that is its number there:
 * - `ignore`: /dev/null
 * - `socket`: one end of a new pair of connected unix stream sockets; ours is in
 *   {@link QemuProcess.sockets}
 * - a number: that descriptor of ours, inherited; ours stays open and belongs to the caller
 */
export type QemuDescriptor = 'ignore' | 'socket' | number

/** Who runs the program. Only root may name somebody else. */
export interface QemuUser {
  readonly uid: number
  readonly gid: number
}

export interface QemuSpawnOptions extends AbortOptions {
  /** @default the user of this process */
  readonly user?: QemuUser
}

/** How a program ended: by `code`, or by `signal` (`SIGKILL`). Both absent: nobody could tell. */
export interface QemuExit {
  readonly code?: number
  readonly signal?: string
}

export interface QemuProcess {
  readonly pid: number
  /** Our ends, each at the number that the descriptor has in the program. */
  readonly sockets: readonly (Duplex | undefined)[]
  /** Settles once the program is gone. Never rejects. */
  readonly exited: Promise<QemuExit>
  /** SIGKILL. Does nothing once the program is gone. */
  kill(): void
}

/**
 * Starts QEMU. An interface, because in production the guard starts it (and kills it when the lease
 * runs out), and in tests {@link createDirectSpawner} does.
 */
export interface QemuSpawner {
  /**
   * @param command - absolute path of the program; its name on the command line too
   * @param args - without the program's name
   * @param descriptors - of the program, from 0 on; all others are closed in it
   * Rejects with the system's error (`ENOENT`, `EACCES`) if the program cannot be started.
   */
  spawn(
    command: string,
    args: readonly string[],
    descriptors: readonly QemuDescriptor[],
    options?: QemuSpawnOptions,
  ): Promise<QemuProcess>
}

/**
 * A spawner without a guard: the program outlives this process if that is killed, and no lease
 * binds it. For probes and tests.
 */
export function createDirectSpawner(): QemuSpawner {
  return { spawn: spawnDirectly }
}

async function spawnDirectly(
  command: string,
  args: readonly string[],
  descriptors: readonly QemuDescriptor[],
  options: QemuSpawnOptions = {},
): Promise<QemuProcess> {
  options.signal?.throwIfAborted()
  const stdio: StdioOptions = descriptors.map((one) => (one === 'socket' ? 'pipe' : one))
  const child = spawn(command, args, { stdio, cwd: '/', ...options.user })
  const exited = new Promise<QemuExit>((resolve) => {
    child.once('exit', (code, signal) => {
      resolve({ ...(code === null ? {} : { code }), ...(signal === null ? {} : { signal }) })
    })
  })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', reject)
  })
  const sockets = child.stdio.map((stream) => (stream instanceof Duplex ? stream : undefined))
  return {
    pid: child.pid ?? 0,
    sockets,
    exited,
    kill: () => {
      child.kill('SIGKILL')
    },
  }
}
