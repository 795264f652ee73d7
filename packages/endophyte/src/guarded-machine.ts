import { Duplex } from 'node:stream'
import { createRegion, type Region } from '@mycelium/ram'
import { TypedEventEmitter } from 'main-event'
import { cpuModelOf } from './core/qemu-probe.ts'
import { joinStream } from './core/migration-stream.ts'
import type { QemuAccelerator } from './core/qemu-command.ts'
import { type GuardedExit, type GuardedProcess, spawnGuarded } from './guard.ts'
import type { HeldLease } from './lease/held-lease.ts'
import type { Machine, MachineEvents, StoppedState } from './machine.ts'
import { Preload } from './preload.ts'
import type { QemuProbe } from './qemu/probe.ts'
import { createQemu, type Qemu } from './qemu/qemu.ts'
import type { QemuExit, QemuProcess, QemuSpawner, QemuUser } from './qemu/spawner.ts'

type Events = { [Name in keyof MachineEvents]: CustomEvent<MachineEvents[Name]> }

/** Kernel and first file system of a guest; readable by everybody. */
export interface GuestFiles {
  readonly kernelPath: string
  readonly initrdPath: string
}

/** What runs a guest on this host. Equal on all hosts of one VM but for paths. */
export interface GuardedMachineInit {
  readonly qemu: QemuProbe
  readonly accelerator: QemuAccelerator
  readonly guest: GuestFiles
  /** The guest kernel's command line. */
  readonly kernelArguments: string
  /** A multiple of 1 MiB, at least 64 MiB. */
  readonly memoryBytes: number
  /** Socket of the lease server, for the guard. */
  readonly leaseSocket?: string
  /** @default 1 */
  readonly vcpus?: number
  /** Further arguments of QEMU, in order. @default [] */
  readonly deviceArguments?: readonly string[]
}

/** Debian's nobody and nogroup, Ubuntu's too: owns no file. */
const NOBODY: QemuUser = { uid: 65_534, gid: 65_534 }

/** A machine of QEMU under a guard. */
export function createGuardedMachine(init: GuardedMachineInit, role: 'run' | 'wait'): Machine {
  return new GuardedMachine(init, role)
}

class GuardedMachine extends TypedEventEmitter<Events> implements Machine {
  readonly region: Region
  readonly accelerator: string
  /** Shared with the guard: how long QEMU may live. */
  readonly #page: Region
  readonly #qemu: Qemu
  readonly #releasePath: string | undefined
  #preload: Preload | undefined
  #guarded: GuardedProcess | undefined
  readonly #unbinding = new AbortController()
  #isStopped = false

  constructor(init: GuardedMachineInit, role: 'run' | 'wait') {
    super()
    const { qemu, accelerator, guest, memoryBytes, kernelArguments, leaseSocket } = init
    this.accelerator = accelerator
    this.#releasePath = leaseSocket
    this.region = createRegion({ bytes: memoryBytes, name: 'mycelium-guest' })
    this.#page = createRegion({ bytes: 4096, name: 'mycelium-deadline' })
    const user = process.getuid?.() === 0 ? NOBODY : undefined
    this.#qemu = createQemu(
      { spawner: this.#createSpawner() },
      {
        binary: qemu.binary,
        role,
        memoryFd: this.region.fd,
        kernelPath: guest.kernelPath,
        initrdPath: guest.initrdPath,
        ...(user && { user }),
        machine: {
          architecture: qemu.architecture,
          accelerator,
          machineType: qemu.machineType,
          cpuModel: cpuModelOf(qemu.architecture, accelerator),
          memoryBytes,
          vcpus: init.vcpus ?? 1,
          kernelArguments,
          deviceArguments: init.deviceArguments ?? [],
        },
      },
    )
    this.#forward()
  }

  get pid(): number {
    return this.#qemu.pid
  }

  get writerPid(): number {
    return this.pid
  }

  get vcpuThreads(): readonly number[] {
    return this.#qemu.vcpuThreads
  }

  get shimSocketFd(): number | undefined {
    return this.#preload?.socketFd
  }

  async start(): Promise<void> {
    await this.#qemu.start()
  }

  bind(lease: HeldLease): void {
    const { signal } = this.#unbinding
    const extend = (): void => {
      this.#deadline = lease.validUntil
      this.#guarded?.setDeadline(lease.validUntil)
    }
    lease.addEventListener('renewed', extend, { signal })
    extend()
    this.#release = lease.releaseMessage()
    this.#guarded?.setReleaseMessage(this.#release)
  }

  #deadline: number | undefined
  #release: Uint8Array | undefined

  stopAndSaveState(): StoppedState {
    return this.#qemu.stopAndSaveState()
  }

  cont(): Promise<void> {
    return this.#qemu.cont()
  }

  saveHead(): Promise<Uint8Array> {
    return this.#qemu.saveHead()
  }

  load(head: Uint8Array, state: Uint8Array): Promise<void> {
    return this.#qemu.load(joinStream(head, state))
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return await this.#closed
    this.#isStopped = true
    this.#closed = this.#close()
    await this.#closed
  }

  #closed: Promise<void> = Promise.resolve()

  async #close(): Promise<void> {
    this.#unbinding.abort()
    await this.#qemu.stop()
    await this.#guarded?.exited
    this.#preload?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    this.region.close()
    this.#page.close()
  }

  #forward(): void {
    this.#qemu.addEventListener('console', ({ detail }) => {
      this.safeDispatchEvent('console', { detail: { lines: [detail.line] } })
    })
    for (const name of ['paused', 'resumed', 'reset'] as const) {
      this.#qemu.addEventListener(name, () => {
        this.safeDispatchEvent(name, { detail: {} })
      })
    }
    this.#qemu.addEventListener('shutdown', ({ detail }) => {
      this.safeDispatchEvent('shutdown', { detail: { cause: detail.reason } })
    })
    this.#qemu.addEventListener('exited', ({ detail }) => {
      const reason = detail.signal ?? `exit code ${detail.code ?? 'unknown'}`
      this.safeDispatchEvent('exited', { detail: { reason } })
    })
  }

  /** QEMU's real parent is the guard, which dies with this process and takes QEMU with it. */
  #createSpawner(): QemuSpawner {
    return {
      spawn: async (command, args, descriptors, { user } = {}): Promise<QemuProcess> => {
        const { fd, buffer } = this.#page
        const preload = Preload.open()
        this.#preload = preload
        const first = descriptors.length
        const guarded = await spawnGuarded({
          command,
          args,
          page: { fd, buffer: buffer.buffer as ArrayBuffer },
          cwd: '/',
          stdio: [
            ...descriptors.map((one) => (one === 'socket' ? 'pipe' : one)),
            ...(preload?.descriptors ?? []),
          ],
          ...(preload && { env: { ...process.env, ...preload.environment([first, first + 1]) } }),
          ...(user && { user }),
          ...(this.#releasePath !== undefined && { releasePath: this.#releasePath }),
        })
        preload?.handedOn()
        this.#guarded = guarded
        if (this.#deadline !== undefined) guarded.setDeadline(this.#deadline)
        guarded.setReleaseMessage(this.#release)
        const { stdio } = guarded.guard
        return {
          pid: guarded.pid,
          sockets: stdio.map((stream) => (stream instanceof Duplex ? stream : undefined)),
          exited: guarded.exited.then(toQemuExit),
          kill: () => {
            guarded.kill()
          },
        }
      },
    }
  }
}

function toQemuExit({ code, signal }: GuardedExit): QemuExit {
  return { ...(code !== null && { code }), ...(signal !== null && { signal }) }
}
