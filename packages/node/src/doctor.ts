import { constants } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { arch, release } from 'node:os'
import { dirname } from 'node:path'
import { prepareGuestImage, probeAccelerator, probeQemu, probeTiers } from '@mycelium/endophyte'
import type { AbortOptions } from '@mycelium/interface'
import { examine, type DoctorFacts, type DoctorReport, type Finding } from './core/doctor.ts'
import { createDemoFolder } from './demo/folder.ts'

export { renderReport } from './core/doctor.ts'
export type { DoctorReport } from './core/doctor.ts'

export interface DoctorOptions extends AbortOptions {
  /** Called with one line when something slow begins: the download of the guest image. */
  readonly onProgress?: (line: string) => void
}

/** CAP_SYS_PTRACE of linux/capability.h. */
const CAP_SYS_PTRACE = 19n
/** A file without a name, as QEMU's device state is kept in; Node has no name for it. */
const O_TMPFILE = 0o20_000_000 | constants.O_DIRECTORY
/** The kernel's names of what Node names otherwise. */
const MACHINES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' }

/**
 * Examines this machine. Nothing is installed; the image of the demo guest is put into the cache,
 * as the demo would, because that alone proves that it can be made. Rejects only on abort.
 */
export async function doctor(options: DoctorOptions = {}): Promise<DoctorReport> {
  options.signal?.throwIfAborted()
  const [guest, system] = await Promise.all([findGuest(options), findSystem()])
  options.signal?.throwIfAborted()
  return examine({ ...guest, ...system })
}

type GuestFacts = Pick<DoctorFacts, 'qemu' | 'guestImage' | 'accelerator' | 'tiers'>

async function findGuest(options: DoctorOptions): Promise<GuestFacts> {
  const { signal, onProgress } = options
  const abortable = signal ? { signal } : {}
  const qemu = await attempt(() => probeQemu(abortable))
  const image = await attempt(() =>
    prepareGuestImage({ ...abortable, ...(onProgress && { onProgress }) }),
  )
  const guests =
    'value' in qemu && 'value' in image ? { qemu: qemu.value, guest: image.value } : undefined
  const accelerator =
    guests && (await probeAccelerator({ ...abortable, qemu: guests.qemu, image: guests.guest }))
  const tiers = await attempt(() => probeTiers({ ...abortable, ...(guests && { guests }) }))
  return {
    qemu: map(
      qemu,
      ({ binary, version: { major, minor, micro } }) => `${binary} ${major}.${minor}.${micro}`,
    ),
    guestImage: map(image, ({ kernelPackage }) => kernelPackage),
    accelerator: accelerator && {
      name: accelerator.accelerator,
      reason: accelerator.reason,
      fix: accelerator.fix,
    },
    tiers,
  }
}

async function findSystem(): Promise<Omit<DoctorFacts, keyof GuestFacts>> {
  const [status, memory, scope, maps, clock] = await Promise.all([
    read('/proc/self/status'),
    read('/proc/meminfo'),
    read('/proc/sys/kernel/yama/ptrace_scope'),
    read('/proc/self/smaps'),
    read('/sys/devices/system/clocksource/clocksource0/current_clocksource'),
  ])
  const capabilities = BigInt(`0x${/^CapEff:\s*([\da-f]+)$/m.exec(status)?.[1] ?? '0'}`)
  const kilobytes = (text: string, name: string): number | undefined => {
    const match = new RegExp(`^${name}:\\s*(\\d+) kB$`, 'm').exec(text)
    return match ? Number(match[1]) * 1_024 : undefined
  }
  return {
    kernelRelease: release(),
    architecture: MACHINES[arch()] ?? arch(),
    pageBytes: kilobytes(maps, 'KernelPageSize'),
    clockSource: clock.trim() || undefined,
    ptraceScope: scope === '' ? undefined : Number(scope),
    mayTraceAll: (capabilities & (1n << CAP_SYS_PTRACE)) !== 0n,
    isRoot: process.getuid?.() === 0,
    memoryAvailableBytes: kilobytes(memory, 'MemAvailable'),
    temporaryFolder: await attempt(async () => {
      await using folder = await createDemoFolder()
      return dirname(folder.path)
    }),
    memoryFile: await attempt(async () => {
      const file = await open('/dev/shm', constants.O_RDWR | O_TMPFILE, 0o600)
      await file.close()
      return true as const
    }),
  }
}

async function attempt<Value>(work: () => Promise<Value>): Promise<Finding<Value>> {
  try {
    return { value: await work() }
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    const { fix } = error as { readonly fix?: unknown }
    return typeof fix === 'string' ? { problem: withoutFix(problem, fix), fix } : { problem }
  }
}

/** A message may end with what to do, for whoever sees nothing else; a check says it beside. */
function withoutFix(message: string, fix: string): string {
  if (!message.endsWith(fix)) return message
  return message.slice(0, -fix.length).replace(/\. To [a-z ]+: $/, '')
}

function map<From, To>(finding: Finding<From>, change: (value: From) => To): Finding<To> {
  return 'value' in finding ? { value: change(finding.value) } : finding
}

async function read(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '')
}
