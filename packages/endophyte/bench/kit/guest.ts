/** Guests for benchmarks: QEMU under a guard, so that none outlives a benchmark that is killed. */
import { Duplex } from 'node:stream'
import { createRegion, type Region } from '@mycelium/ram'
import { guestKernelArguments, type GuestLoad } from '../../src/core/guest-plan.ts'
import { cpuModelOf } from '../../src/core/qemu-probe.ts'
import { spawnGuarded } from '../../src/guard.ts'
import { type GuestImage, prepareGuestImage } from '../../src/guest/image.ts'
import { probeAccelerator, probeQemu, type QemuProbe } from '../../src/qemu/probe.ts'
import { createQemu, type Qemu } from '../../src/qemu/qemu.ts'
import type { QemuSpawner } from '../../src/qemu/spawner.ts'

/** How long a guest may take to boot: emulated and on a busy machine. */
const BOOT_MS_MAX = 120_000

/** What all guests of a benchmark have in common. Crosses processes as a message. */
export interface GuestHost {
  readonly qemu: QemuProbe
  readonly accelerator: 'kvm' | 'tcg'
  readonly image: GuestImage
}

export interface GuestInit {
  readonly role: 'run' | 'wait'
  readonly memoryBytes: number
  readonly load: GuestLoad
  /** As in production; QEMU's own migration is measured without. @default true */
  readonly isSandboxed?: boolean
}

export interface Guest extends AsyncDisposable {
  readonly qemu: Qemu
  /** Its RAM. */
  readonly region: Region
}

export async function prepareGuestHost(): Promise<GuestHost> {
  const [qemu, image] = [await probeQemu(), await prepareGuestImage()]
  const { accelerator } = await probeAccelerator({ qemu, image })
  return { qemu, accelerator, image }
}

/** Started, paused or waiting. */
export async function startGuest(host: GuestHost, init: GuestInit): Promise<Guest> {
  const { memoryBytes, role, load, isSandboxed = true } = init
  const { architecture, binary, machineType } = host.qemu
  const region = createRegion({ bytes: memoryBytes, name: 'bench-guest' })
  const page = createRegion({ bytes: 4096, name: 'bench-deadline' })
  const qemu = createQemu(
    { spawner: createGuardSpawner(page, isSandboxed) },
    {
      binary,
      role,
      memoryFd: region.fd,
      kernelPath: host.image.kernelPath,
      initrdPath: host.image.initrdPath,
      machine: {
        architecture,
        accelerator: host.accelerator,
        machineType,
        cpuModel: cpuModelOf(architecture, host.accelerator),
        memoryBytes,
        vcpus: 1,
        kernelArguments: guestKernelArguments(architecture, load),
        deviceArguments: [],
      },
    },
  )
  await qemu.start()
  return {
    qemu,
    region,
    async [Symbol.asyncDispose]() {
      await qemu.stop()
      region.close()
      page.close()
    },
  }
}

/** Lets the guest run until it has filled its memory and `ticks` have passed. */
export async function boot({ qemu }: Guest, ticks: number): Promise<void> {
  const ticked = ticksOf(qemu, ticks)
  await qemu.cont()
  await ticked
}

/** Resolves when the guest, which runs, has printed so many lines more. */
export async function ticksOf(qemu: Qemu, count: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(() => {
    reject(new Error(`the guest did not tick ${count} times in ${BOOT_MS_MAX} ms`))
  }, BOOT_MS_MAX)
  let left = count
  const listening = new AbortController()
  qemu.addEventListener(
    'console',
    ({ detail }) => {
      if (detail.line.startsWith('tick ') && --left === 0) resolve()
    },
    listening,
  )
  try {
    await promise
  } finally {
    clearTimeout(timer)
    listening.abort()
  }
}

/** No deadline is ever set: the program dies with this process, or when it is killed. */
function createGuardSpawner(page: Region, isSandboxed: boolean): QemuSpawner {
  return {
    spawn: async (command, args, descriptors) => {
      const guarded = await spawnGuarded({
        command,
        args: isSandboxed ? args : withoutOption(args, '-sandbox'),
        page: { fd: page.fd, buffer: page.buffer.buffer as ArrayBuffer },
        cwd: '/',
        stdio: descriptors.map((one) => (one === 'socket' ? 'pipe' : one)),
      })
      const { stdio } = guarded.guard
      return {
        pid: guarded.pid,
        sockets: stdio.map((stream) => (stream instanceof Duplex ? stream : undefined)),
        exited: guarded.exited.then(({ code, signal }) => ({
          ...(code !== null && { code }),
          ...(signal !== null && { signal }),
        })),
        kill: () => guarded.kill(),
      }
    },
  }
}

function withoutOption(args: readonly string[], option: string): readonly string[] {
  const at = args.indexOf(option)
  return at < 0 ? args : [...args.slice(0, at), ...args.slice(at + 2)]
}
