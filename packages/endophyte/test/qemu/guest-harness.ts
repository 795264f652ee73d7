import { readFileSync, readSync, writeSync, type PathLike } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { guestKernelArguments, type GuestLoad } from '../../src/core/guest-plan.ts'
import { cpuModelOf } from '../../src/core/qemu-probe.ts'
import { prepareGuestImage, type GuestImage } from '../../src/guest/image.ts'
import { openNamelessFile } from '../../src/qemu/nameless-file.ts'
import { probeQemu, type QemuProbe } from '../../src/qemu/probe.ts'
import { createQemu, type Qemu, type QemuEvents } from '../../src/qemu/qemu.ts'
import { createDirectSpawner, type QemuUser } from '../../src/qemu/spawner.ts'

export const MEMORY_BYTES = 128 * 1_048_576

/** Bound on one wait for a guest: a boot under emulation takes 2 s on an idle machine. */
const WAIT_LIMIT_MS = 60_000

export interface TestGuest extends AsyncDisposable {
  readonly qemu: Qemu
  readonly memory: FileHandle
  /** All lines so far. */
  readonly lines: readonly string[]
  /** The next line that fits, not one of those already there. */
  line(pattern: RegExp): Promise<string>
  event<Name extends keyof QemuEvents>(name: Name): Promise<QemuEvents[Name]>
}

export interface TestGuestInit {
  readonly role?: 'run' | 'wait'
  readonly load?: GuestLoad
  readonly kernelPath?: string
  readonly user?: QemuUser
  readonly runtimeFolder?: string
}

/** What all guests of a test file share. */
export async function prepareHost(): Promise<{ probe: QemuProbe; image: GuestImage }> {
  return { probe: await probeQemu(), image: await prepareGuestImage() }
}

/** A QEMU that was not started. */
export async function makeGuest(
  host: { readonly probe: QemuProbe; readonly image: GuestImage },
  init: TestGuestInit = {},
): Promise<TestGuest> {
  const memory = await openNamelessFile(MEMORY_BYTES)
  const { architecture, binary, machineType } = host.probe
  const { role = 'run', load, ...rest } = init
  const qemu = createQemu(
    { spawner: createDirectSpawner() },
    {
      binary,
      role,
      memoryFd: memory.fd,
      ...host.image,
      ...rest,
      machine: {
        architecture,
        accelerator: 'tcg',
        machineType,
        cpuModel: cpuModelOf(architecture, 'tcg'),
        memoryBytes: MEMORY_BYTES,
        vcpus: 1,
        deviceArguments: [],
        kernelArguments: guestKernelArguments(architecture, load),
      },
    },
  )
  const lines: string[] = []
  qemu.addEventListener('console', ({ detail }) => {
    lines.push(detail.line)
  })
  return {
    qemu,
    memory,
    lines,
    line: (pattern) =>
      deadline(
        new Promise((resolve) => {
          const found = new AbortController()
          qemu.addEventListener(
            'console',
            ({ detail }) => {
              if (!pattern.test(detail.line)) return
              found.abort()
              resolve(detail.line)
            },
            { signal: found.signal },
          )
        }),
        () => `line ${pattern}; the last are ${lines.slice(-3).join(' | ')}`,
      ),
    event: (name) =>
      deadline(
        new Promise((resolve) => {
          qemu.addEventListener(
            name,
            ({ detail }) => {
              resolve(detail)
            },
            { once: true },
          )
        }),
        () => `event ${name}; the last lines are ${lines.slice(-3).join(' | ')}`,
      ),
    async [Symbol.asyncDispose]() {
      await qemu.stop()
      await memory.close()
    },
  }
}

async function deadline<Value>(promise: Promise<Value>, what: () => string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`no ${what()}`))
    }, WAIT_LIMIT_MS)
  })
  return await Promise.race([promise, late]).finally(() => {
    clearTimeout(timer)
  })
}

/** As a replication of the whole memory would. */
export function copyMemory(from: TestGuest, to: TestGuest): void {
  const chunk = Buffer.alloc(1_048_576)
  for (let offset = 0; offset < MEMORY_BYTES; offset += chunk.length) {
    readSync(from.memory.fd, chunk, 0, chunk.length, offset)
    writeSync(to.memory.fd, chunk, 0, chunk.length, offset)
  }
}

/** A field of a file in /proc, as a number. */
export function procNumber(path: PathLike, field: string): number {
  const match = new RegExp(`^${field}:\\s*(\\d+)`, 'm').exec(readFileSync(path, 'utf8'))
  return Number(match?.[1])
}
