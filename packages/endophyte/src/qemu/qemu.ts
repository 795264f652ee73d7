import { open, type FileHandle } from 'node:fs/promises'
import { fstatSync, readSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { TypedEventEmitter } from 'main-event'
import type { AbortOptions, EventSource } from '@mycelium/interface'
import { ConsoleLines } from '../core/console-lines.ts'
import { cutHead, STATE_BYTES_MAX } from '../core/migration-stream.ts'
import {
  buildQemuArguments,
  DESCRIPTOR,
  DESCRIPTOR_COUNT,
  INCOMING_URI,
  STATE_PATH,
  type QemuMachine,
} from '../core/qemu-command.ts'
import { MachineStateError, QemuClosedError, QemuPausedError, QemuStartError } from '../errors.ts'
import { connectQmp, type QmpClient } from '../qmp/client.ts'
import type { QmpGuestCause } from '../qmp/commands.ts'
import { migrationEnd, receiveMigration } from './migration.ts'
import { openNamelessFile } from './nameless-file.ts'
import type { QemuDescriptor, QemuExit, QemuProcess, QemuSpawner, QemuUser } from './spawner.ts'

export interface QemuDeps {
  readonly spawner: QemuSpawner
}

export interface QemuInit {
  /** The program, from `probeQemu`. */
  readonly binary: string
  readonly machine: QemuMachine
  /** `wait`: a backup, which waits for a state. */
  readonly role: 'run' | 'wait'
  /** Guest RAM: a memory file of exactly `machine.memoryBytes`. Stays the caller's. */
  readonly memoryFd: number
  readonly kernelPath: string
  readonly initrdPath: string
  /**
   * An unprivileged user for QEMU; needs root. It must be able to read kernel, initrd and the
   * memory file by their own permissions; folders above them do not matter.
   *
   * @default the user of this process
   */
  readonly user?: QemuUser
  /**
   * Where a private folder may be made for the milliseconds that `saveHead` takes. `user` must be
   * able to pass through it.
   *
   * @default os.tmpdir()
   */
  readonly runtimeFolder?: string
}

export interface QemuEvents {
  /** A line of the guest's serial console. */
  console: { readonly line: string }
  /** Somebody else paused the guest: what they paused is not ours to continue. */
  paused: object
  /** Somebody else continued the guest. If we had paused it, what is being captured is torn. */
  resumed: object
  /** The guest shut down, or somebody else ended the machine. If the guest did, QEMU lives on,
   * paused, so that the end can be recorded before a backup sees QEMU die and takes over. */
  shutdown: QmpGuestCause
  /** The guest, or somebody else, reset the machine; it runs on. One restart may cause several. */
  reset: QmpGuestCause
  panicked: { readonly action: string }
  /** Once, when QEMU is gone, whatever the reason. */
  exited: QemuExit
}

/** What a pause gives: two moments of one pipeline. */
export interface SavedState {
  /** The guest stands still: RAM may be captured, beside the saving. */
  readonly stopped: Promise<void>
  /** The device state, for `joinStream`; a copy that belongs to the caller. Devices may write to
   * RAM while they are saved: a tail scan comes after this. */
  readonly state: Promise<Uint8Array>
}

/**
 * One QEMU process. Methods reject with `ERR_ENDOPHYTE_CLOSED` before `start` and after `stop`,
 * with `ERR_ENDOPHYTE_QMP_LOST` if QEMU ends meanwhile, and with `ERR_ENDOPHYTE_QMP` if it refuses.
 * At most one of `stopAndSaveState`, `cont`, `saveHead` and `load` may be under way at a time.
 */
export interface Qemu extends EventSource<QemuEvents>, AsyncDisposable {
  /** @throws {QemuClosedError} `ERR_ENDOPHYTE_CLOSED`: not started, or stopped */
  readonly pid: number
  /** For everything else. Its `stop` and `cont` count as somebody else's. */
  readonly qmp: QmpClient
  /** Thread ids of the vCPUs: for throttling, and to see whether the guest runs. */
  readonly vcpuThreads: readonly number[]
  /** Somebody else paused the guest, or it has shut down. */
  readonly pausedByOther: boolean
  /** Settles when QEMU is gone. Never rejects; never settles if it was never started. */
  readonly exited: Promise<QemuExit>
  /**
   * Starts the process; the guest is paused, or waits. Once only.
   *
   * Rejects with `ERR_ENDOPHYTE_QEMU_START`, and with the system's error if a file cannot be
   * opened.
   */
  start(options?: AbortOptions): Promise<void>
  /**
   * Pauses the guest (if it runs) and saves the state of its devices, in one write to QEMU.
   *
   * Both promises reject with `ERR_ENDOPHYTE_PAUSED` if somebody else paused it, or it has shut
   * down.
   */
  stopAndSaveState(): SavedState
  /**
   * Continues the guest.
   *
   * Rejects with `ERR_ENDOPHYTE_PAUSED` if somebody else paused it, or it has shut down.
   */
  cont(): Promise<void>
  /**
   * The head for `joinStream`: configuration and what lies outside of guest RAM. Pauses a running
   * guest for about a millisecond. Take it again after hot-plug. It also makes QEMU check that the
   * machine may be migrated at all.
   *
   * Rejects with `ERR_ENDOPHYTE_MACHINE_STATE` and `ERR_ENDOPHYTE_STREAM`.
   */
  saveHead(options?: AbortOptions): Promise<Uint8Array>
  /**
   * Role `wait`, once: loads a stream from `joinStream`. Guest RAM must be complete already. The
   * guest is paused afterwards.
   *
   * Rejects with `ERR_ENDOPHYTE_MACHINE_STATE`: the stream does not fit; QEMU is then of no use.
   */
  load(stream: Uint8Array): Promise<void>
  /** `load` and `cont`. */
  loadAndContinue(stream: Uint8Array): Promise<void>
  /** Types on the guest's console. False: the guest does not read, nothing more should be typed. */
  type(text: string): boolean
  /** Kills QEMU at once; nothing of a guest is kept inside it. Idempotent; settles when it is
   * gone. */
  stop(): Promise<void>
}

type EventMap = { [Name in keyof QemuEvents]: CustomEvent<QemuEvents[Name]> }

/** What QEMU printed, from its end, for the error that says why it did not start. */
const OUTPUT_BYTES_MAX = 4_096
/** 100 GB/s: the default of 128 MiB/s would stretch the saving of the head. */
const BANDWIDTH_BYTES_PER_S = 100_000_000_000

/** @throws {RangeError} `init.machine` is out of bounds */
export function createQemu(deps: QemuDeps, init: QemuInit): Qemu {
  return new ProcessQemu(deps, init)
}

class ProcessQemu extends TypedEventEmitter<EventMap> implements Qemu {
  readonly exited: Promise<QemuExit>
  readonly #deps: QemuDeps
  readonly #init: QemuInit
  readonly #arguments: readonly string[]
  #resolveExited: (exit: QemuExit) => void = () => {}
  #phase: 'new' | 'starting' | 'up' | 'gone' = 'new'
  #process: QemuProcess | undefined
  #qmp: QmpClient | undefined
  #state: FileHandle | undefined
  #vcpuThreads: readonly number[] = []
  #output = ''
  /** Whose the next STOP or RESUME is. */
  #expects: { stop: boolean; resume: boolean } = { stop: false, resume: false }
  #paused: 'no' | 'by-us' | 'by-other' = 'by-us'
  #loaded = false
  #outputEnded: Promise<unknown> = Promise.resolve()

  constructor(deps: QemuDeps, init: QemuInit) {
    super()
    this.#deps = deps
    this.#init = Object.freeze({ ...init })
    this.#arguments = buildQemuArguments(init.machine, init.role)
    this.exited = new Promise((resolve) => {
      this.#resolveExited = resolve
    })
  }

  get pid(): number {
    if (!this.#process) throw this.#closed()
    return this.#process.pid
  }

  get qmp(): QmpClient {
    if (!this.#qmp || this.#phase !== 'up') throw this.#closed()
    return this.#qmp
  }

  get vcpuThreads(): readonly number[] {
    return this.#vcpuThreads
  }
  get pausedByOther(): boolean {
    return this.#paused === 'by-other'
  }

  async start(options: AbortOptions = {}): Promise<void> {
    if (this.#phase !== 'new') throw this.#closed()
    this.#phase = 'starting'
    try {
      options.signal?.throwIfAborted()
      await this.#spawn(options)
      await this.#prepare(options)
      this.#phase = 'up'
    } catch (error) {
      await this.stop()
      if (options.signal?.aborted) throw options.signal.reason
      if (!this.#process) throw error
      const reason = error instanceof Error ? error.message : String(error)
      throw new QemuStartError({ reason, output: this.#output }, { cause: error })
    }
  }

  stopAndSaveState(): SavedState {
    const { qmp } = this
    if (this.#paused === 'by-other') {
      const refused = Promise.reject<never>(new QemuPausedError())
      refused.catch(() => {})
      return { stopped: refused, state: refused }
    }
    this.#expects.stop = this.#paused === 'no'
    const [stop, save] = qmp.pipeline([
      { execute: 'stop' },
      { execute: 'xen-save-devices-state', arguments: { filename: STATE_PATH, live: false } },
    ])
    const stopped = stop.then(() => {
      this.#expects.stop = false
    })
    const state = save.then(() => this.#readState())
    // The caller may await one before the other fails.
    stopped.catch(() => {})
    state.catch(() => {})
    return { stopped, state }
  }

  async cont(): Promise<void> {
    const { qmp } = this
    if (this.#paused === 'by-other') throw new QemuPausedError()
    this.#expects.resume = this.#paused !== 'no'
    try {
      await qmp.execute('cont')
    } finally {
      this.#expects.resume = false
    }
  }

  async saveHead(options: AbortOptions = {}): Promise<Uint8Array> {
    const { qmp } = this
    const ran = this.#paused === 'no'
    this.#expects.stop = ran
    const migration = await receiveMigration(qmp, {
      ...(options.signal && { signal: options.signal }),
      ...(this.#init.runtimeFolder && { folder: this.#init.runtimeFolder }),
      ...(this.#init.user && { user: this.#init.user }),
    }).finally(() => {
      this.#expects.stop = false
    })
    const state = await this.stopAndSaveState().state
    if (ran) await this.cont()
    return cutHead(migration, state)
  }

  async load(stream: Uint8Array): Promise<void> {
    const { qmp } = this
    const incoming = this.#process?.sockets[DESCRIPTOR.incoming]
    if (this.#init.role !== 'wait' || this.#loaded || !incoming) {
      throw new MachineStateError({ doing: 'load', reason: 'this QEMU does not wait for a state' })
    }
    this.#loaded = true
    const ended = migrationEnd(qmp)
    incoming.end(stream)
    try {
      await qmp.execute('migrate-incoming', { uri: INCOMING_URI })
      const status = await ended
      const { status: runState } = await qmp.execute('query-status')
      if (status !== 'completed' || runState !== 'paused') {
        throw new MachineStateError({ doing: 'load', reason: `${status}, ${runState}` })
      }
    } catch (cause) {
      // QEMU prints why, and mostly ends by itself.
      await this.stop()
      await this.#outputEnded
      const reason = this.#output.trim() || (cause instanceof Error ? cause.message : String(cause))
      throw new MachineStateError({ doing: 'load', reason }, { cause })
    }
  }

  async loadAndContinue(stream: Uint8Array): Promise<void> {
    await this.load(stream)
    await this.cont()
  }

  type(text: string): boolean {
    const console = this.#process?.sockets[DESCRIPTOR.console]
    if (!console || this.#phase !== 'up') throw this.#closed()
    return console.write(text)
  }

  async stop(): Promise<void> {
    if (!this.#process) {
      this.#phase = 'gone'
      await this.#state?.close()
      return
    }
    this.#process.kill()
    await this.exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #spawn(options: AbortOptions): Promise<void> {
    const { binary, kernelPath, initrdPath, memoryFd, user } = this.#init
    await using kernel = await open(kernelPath, 'r')
    await using initrd = await open(initrdPath, 'r')
    this.#state = await openNamelessFile()
    const descriptors = Array<QemuDescriptor>(DESCRIPTOR_COUNT).fill('socket')
    descriptors[0] = 'ignore'
    descriptors[DESCRIPTOR.memory] = memoryFd
    descriptors[DESCRIPTOR.state] = this.#state.fd
    descriptors[DESCRIPTOR.kernel] = kernel.fd
    descriptors[DESCRIPTOR.initrd] = initrd.fd
    const process = await this.#deps.spawner.spawn(binary, this.#arguments, descriptors, {
      ...options,
      ...(user && { user }),
    })
    this.#process = process
    for (const socket of process.sockets) socket?.on('error', () => {}) // its end is `exited`
    this.#outputEnded = Promise.all([1, 2].map((index) => this.#collect(process.sockets[index])))
    this.#listenToConsole(process.sockets[DESCRIPTOR.console])
    void process.exited.then((exit) => this.#gone(exit))
  }

  async #prepare(options: AbortOptions): Promise<void> {
    const socket = this.#process?.sockets[DESCRIPTOR.qmp]
    if (!socket) throw new TypeError('spawner gave no socket for QMP')
    try {
      const qmp = await connectQmp({ socket }, options)
      this.#qmp = qmp
      this.#listenToEvents(qmp)
      await qmp.execute('migrate-set-capabilities', {
        capabilities: ['events', 'x-ignore-shared'].map((capability) => ({
          capability,
          state: true,
        })),
      })
      await qmp.execute('migrate-set-parameters', { 'max-bandwidth': BANDWIDTH_BYTES_PER_S })
      const cpus = await qmp.execute('query-cpus-fast')
      this.#vcpuThreads = cpus.map((cpu) => cpu['thread-id'])
    } catch (error) {
      await this.stop()
      await this.#outputEnded
      throw error
    }
  }

  /** STOP and RESUME come before the replies to the commands that cause them. */
  #listenToEvents(qmp: QmpClient): void {
    qmp.addEventListener('STOP', () => {
      const ours = this.#expects.stop
      this.#expects.stop = false
      const wasPaused = this.#paused === 'by-other'
      this.#paused = ours ? 'by-us' : 'by-other'
      if (!ours && !wasPaused) this.safeDispatchEvent('paused', { detail: {} })
    })
    qmp.addEventListener('RESUME', () => {
      const ours = this.#expects.resume
      this.#expects.resume = false
      this.#paused = 'no'
      if (!ours) this.safeDispatchEvent('resumed', { detail: {} })
    })
    qmp.addEventListener('SHUTDOWN', ({ detail: { guest, reason } }) => {
      this.#paused = 'by-other' // a STOP follows, which is not one more piece of news
      this.safeDispatchEvent('shutdown', { detail: { guest, reason } })
    })
    qmp.addEventListener('RESET', ({ detail: { guest, reason } }) => {
      this.safeDispatchEvent('reset', { detail: { guest, reason } })
    })
    qmp.addEventListener('GUEST_PANICKED', ({ detail: { action } }) => {
      this.safeDispatchEvent('panicked', { detail: { action } })
    })
  }

  #listenToConsole(socket: Duplex | undefined): void {
    const lines = new ConsoleLines()
    socket?.on('data', (bytes: Uint8Array) => {
      for (const line of lines.push(bytes)) this.safeDispatchEvent('console', { detail: { line } })
    })
  }

  async #collect(socket: Duplex | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      socket?.on('data', (bytes: Uint8Array) => {
        this.#output = (this.#output + Buffer.from(bytes).toString()).slice(-OUTPUT_BYTES_MAX)
      })
      socket?.once('close', resolve)
    })
  }

  /** Synchronous: 33 KB from memory, 0.05 ms, less than a way through the thread pool. */
  #readState(): Uint8Array {
    const fd = this.#state?.fd
    if (fd === undefined) throw this.#closed()
    const { size } = fstatSync(fd)
    if (size > STATE_BYTES_MAX) {
      throw new MachineStateError({ doing: 'save', reason: `${size} bytes of device state` })
    }
    const state = new Uint8Array(size)
    const length = readSync(fd, state, 0, size, 0)
    if (length !== size) {
      throw new MachineStateError({ doing: 'save', reason: `${length} of ${size} bytes read` })
    }
    return state
  }

  async #gone(exit: QemuExit): Promise<void> {
    this.#phase = 'gone'
    await this.#qmp?.close()
    await this.#state?.close()
    // What nobody reads would never see its end.
    for (const socket of this.#process?.sockets ?? []) socket?.resume().end()
    this.safeDispatchEvent('exited', { detail: exit })
    this.#resolveExited(exit)
  }

  #closed(): QemuClosedError {
    return new QemuClosedError(this.#phase === 'gone' ? 'QEMU is gone' : 'QEMU is not started')
  }
}
