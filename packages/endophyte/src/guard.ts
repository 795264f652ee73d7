import { spawn } from 'node:child_process'
import type { ChildProcess, StdioOptions } from 'node:child_process'
import { accessSync, constants, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { getSystemErrorName } from 'node:util'
import type { MonotonicMs } from '@mycelium/interface'
import { GuardMissingError, GuardStartError } from './errors.ts'

/**
 * Memory of one page that the guard maps as well: `createMemory(4096, 'mycelium-deadline')` of
 * `@mycelium/ram`. Zeroes at first; used for one guard only.
 */
export interface DeadlinePage {
  readonly fd: number
  /** The mapping itself. Unmap it after the guarded process has ended. */
  readonly buffer: ArrayBuffer
}

const DEADLINE_PAGE_BYTES = 4096
/** "MYCGUARD". The layout is that of native/src/guard/deadline_page.h. */
const MAGIC = 0x445241554743594dn
const VERSION = 1n
const RELEASE_OFFSET = 128
const RELEASE_BYTES_MAX = 1024
const NS_PER_MS = 1_000_000
/** How often a dying program without a guard is looked at. */
const GONE_POLL_MS = 5

/** Indices of the 64-bit words. */
const WORD = {
  magic: 0,
  version: 1,
  deadlineNs: 2,
  guardPid: 3,
  childPid: 4,
  state: 5,
  reason: 6,
  status: 7,
  armedNs: 8,
  diedAtNs: 9,
  isLocked: 10,
  releaseBytes: 11,
} as const

const STATE_STARTING = 0n
const STATE_FAILED = 3n
const REASONS = ['unknown', 'exit', 'deadline', 'host-died', 'signal', 'bad-deadline'] as const

export interface GuardedInit {
  readonly command: string
  readonly args: readonly string[]
  readonly page: DeadlinePage
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /**
   * As for `spawn`; entry n becomes descriptor n of the program.
   *
   * @default ['ignore', 'inherit', 'inherit']
   */
  readonly stdio?: readonly Exclude<StdioOptions, string>[number][]
  /** The program runs as this user, without supplementary groups. Needs root. */
  readonly user?: { readonly uid: number; readonly gid: number }
  /** The lease server's socket, for {@link GuardedProcess.setReleaseMessage}. */
  readonly releasePath?: string
  /** @default the one that ships with this package */
  readonly guardPath?: string
}

export interface GuardedExit {
  /** Of the program. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** `unknown`: the guard itself was killed, by the kernel's timer or by somebody. */
  readonly reason: (typeof REASONS)[number]
}

/** A program that dies with its deadline and with this process. */
export interface GuardedProcess {
  /** Of the program itself, not of the guard. */
  readonly pid: number
  readonly guardPid: number
  /** The guard; its standard streams are the program's. */
  readonly guard: ChildProcess
  /** The guard's memory cannot be swapped out. False where RLIMIT_MEMLOCK forbids it. */
  readonly isLocked: boolean
  /** For which deadline the kernel's timer stands; undefined: none yet. */
  readonly armedUntil: MonotonicMs | undefined
  /**
   * The program dies at `at` at the latest (CLOCK_BOOTTIME). Without a deadline it may live on: set
   * one before it may act. Earlier than the last one: ignored, deadlines only grow. Synchronous,
   * one store into shared memory. At most 120 s ahead, else the guard kills at once.
   */
  setDeadline(at: MonotonicMs): void
  /**
   * What the guard sends to `releasePath` once the program is reaped before its deadline (see
   * `HeldLease.releaseMessage`), whoever died first; undefined: nothing. Take it back before a
   * program ends whose work nobody shall take over.
   *
   * @throws {RangeError} more than 1,024 bytes
   */
  setReleaseMessage(message: Uint8Array | undefined): void
  /** Kills the program (SIGKILL) by way of the guard. Idempotent. */
  kill(): void
  /** When the program is dead: it executes nothing any more. Never rejects. */
  readonly exited: Promise<GuardedExit>
}

/**
 * The guard executable that ships with this package.
 *
 * @param root - the folder that holds `prebuilds/`; by default the same step up, which is right
 * from src/, from dist/, and from a bundle's dist/
 * @throws {GuardMissingError}
 */
export function findGuard(root: string = fileURLToPath(new URL('..', import.meta.url))): string {
  const path = join(root, `prebuilds/linux-${process.arch}/mycelium-guard`)
  try {
    accessSync(path, constants.X_OK)
  } catch (cause) {
    throw new GuardMissingError([path], `${process.platform}-${process.arch}`, { cause })
  }
  return path
}

/**
 * Starts a program under a guard. Resolves when it runs. The calling thread must be the main
 * thread: the guard takes the end of the thread that started it for the end of the host.
 *
 * @throws {GuardMissingError} as a rejection
 * @throws {GuardStartError} as a rejection: no such program, no permission
 * @throws {RangeError} as a rejection: the page is too small
 */
export async function spawnGuarded(init: GuardedInit): Promise<GuardedProcess> {
  const words = preparePage(init.page)
  const stdio = init.stdio ?? ['ignore', 'inherit', 'inherit']
  const deadlineFd = stdio.length
  const readyFd = deadlineFd + 1
  const args = ['--deadline-fd', `${deadlineFd}`, '--ready-fd', `${readyFd}`]
  args.push('--host-pid', `${process.pid}`)
  if (init.user !== undefined) args.push('--uid', `${init.user.uid}`, '--gid', `${init.user.gid}`)
  if (init.releasePath !== undefined) args.push('--release-path', init.releasePath)
  for (const [fd, entry] of stdio.entries()) {
    if (fd > 2 && entry !== 'ignore') args.push('--keep-fd', `${fd}`)
  }
  const guard = spawn(init.guardPath ?? findGuard(), [...args, '--', init.command, ...init.args], {
    stdio: [...stdio, init.page.fd, 'pipe'],
    ...(init.env === undefined ? {} : { env: init.env }),
    ...(init.cwd === undefined ? {} : { cwd: init.cwd }),
  })
  const exited = new Promise<GuardedExit>((resolve) => {
    guard.once('exit', (code, signal) => {
      const reason = REASONS[Number(load(words, WORD.reason))] ?? 'unknown'
      const exit = { code, signal, reason }
      const isReaped = load(words, WORD.diedAtNs) !== 0n
      if (isReaped) resolve(exit)
      else untilGone(Number(load(words, WORD.childPid)), () => resolve(exit))
    })
  })
  await untilReady(guard, guard.stdio[readyFd] as Readable, words)
  return new SpawnedProcess(guard, init.page.buffer, words, exited)
}

/** 0 after the page was unmapped: too early, and yet no reason to end this process. */
function load(words: BigUint64Array, index: number): bigint {
  return words.length === 0 ? 0n : Atomics.load(words, index)
}

function preparePage({ buffer }: DeadlinePage): BigUint64Array {
  if (buffer.byteLength < DEADLINE_PAGE_BYTES) {
    const bytes = buffer.byteLength
    throw new RangeError(`page must have at least ${DEADLINE_PAGE_BYTES} bytes, got ${bytes}`)
  }
  new Uint8Array(buffer, 0, DEADLINE_PAGE_BYTES).fill(0)
  const words = new BigUint64Array(buffer, 0, DEADLINE_PAGE_BYTES / 8)
  Atomics.store(words, WORD.version, VERSION)
  Atomics.store(words, WORD.magic, MAGIC)
  return words
}

/**
 * A guard that was killed did not see the end of its program. The kernel kills that with it, but a
 * moment later, and until then nobody may be told that it is dead.
 */
function untilGone(pid: number, callback: () => void): void {
  if (isGone(pid)) callback()
  else setTimeout(() => untilGone(pid, callback), GONE_POLL_MS)
}

/** A zombie executes nothing, once none of its threads is left. */
function isGone(pid: number): boolean {
  if (pid === 0) return true // it was never started
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const state = line.charAt(line.lastIndexOf(')') + 2)
    return state === 'Z' && readdirSync(`/proc/${pid}/task`).length === 1
  } catch {
    return true
  }
}

/** The guard says one byte when the program runs; if it cannot, it ends. */
function untilReady(guard: ChildProcess, ready: Readable, words: BigUint64Array): Promise<void> {
  return new Promise((resolve, reject) => {
    guard.once('error', (cause) => reject(new GuardStartError('it does not run', { cause })))
    ready.once('data', () => resolve())
    ready.once('error', () => undefined) // 'exit' follows
    guard.once('exit', (code, signal) => {
      const state = load(words, WORD.state)
      const errno = Number(load(words, WORD.status))
      if (state === STATE_FAILED) reject(new GuardStartError(getSystemErrorName(-errno)))
      else if (state === STATE_STARTING) {
        reject(new GuardStartError(`it ended with ${code ?? signal}`))
      } else resolve() // it ran, and was over before its byte was read
    })
  })
}

class SpawnedProcess implements GuardedProcess {
  readonly guard: ChildProcess
  readonly guardPid: number
  readonly pid: number
  readonly exited: Promise<GuardedExit>
  readonly #buffer: ArrayBuffer
  readonly #words: BigUint64Array

  constructor(
    guard: ChildProcess,
    buffer: ArrayBuffer,
    words: BigUint64Array,
    exited: Promise<GuardedExit>,
  ) {
    this.guard = guard
    this.exited = exited
    this.#buffer = buffer
    this.#words = words
    this.guardPid = Number(load(words, WORD.guardPid))
    this.pid = Number(load(words, WORD.childPid))
  }

  get isLocked(): boolean {
    return load(this.#words, WORD.isLocked) === 1n
  }

  get armedUntil(): MonotonicMs | undefined {
    const armedNs = load(this.#words, WORD.armedNs)
    return armedNs === 0n ? undefined : Number(armedNs) / NS_PER_MS
  }

  setDeadline(at: MonotonicMs): void {
    if (!Number.isFinite(at) || at <= 0) throw new RangeError(`at must be a time, got ${at}`)
    const deadlineNs = BigInt(Math.floor(at * NS_PER_MS))
    if (this.#words.length === 0 || deadlineNs <= load(this.#words, WORD.deadlineNs)) return
    Atomics.store(this.#words, WORD.deadlineNs, deadlineNs)
  }

  setReleaseMessage(message: Uint8Array | undefined): void {
    const length = message?.length ?? 0
    if (length > RELEASE_BYTES_MAX) {
      throw new RangeError(`message must have at most ${RELEASE_BYTES_MAX} bytes, got ${length}`)
    }
    if (this.#words.length === 0) return
    // The length last: the guard never sees it with other bytes.
    Atomics.store(this.#words, WORD.releaseBytes, 0n)
    if (message === undefined) return
    new Uint8Array(this.#buffer, RELEASE_OFFSET, length).set(message)
    Atomics.store(this.#words, WORD.releaseBytes, BigInt(length))
  }

  kill(): void {
    this.guard.kill('SIGTERM')
  }
}
