/** A cluster of real host processes for tests, with a guest under TCG. */
import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  writeSync,
} from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type GuestLoad,
  guestKernelArguments,
  prepareGuestImage,
  probeQemu,
} from '@mycelium/endophyte'
import { onTestFinished } from 'vitest'
import { Cluster, type ClusterInit } from '../src/demo/cluster.ts'
import type { HostProcess } from '../src/demo/host-process.ts'

/** What is empty around a damaged byte. */
const EMPTY_BYTES = 2 ** 20

/** Bound on one wait: a busy machine boots a guest in ten seconds. */
const PATIENCE_MS = 60_000

/** The sources, run as a person runs the bundle: what is covered is what is tested. */
const PROGRAM = {
  path: fileURLToPath(new URL('../src/bin.ts', import.meta.url)),
  nodeArguments: ['--conditions=@mycelium/source'],
}

export interface FaultKit {
  readonly cluster: Cluster
  readonly folder: string
  readonly signal: AbortSignal
  /** An active whose guest prints, and a backup in sync. */
  protectedPair(): Promise<{ readonly active: HostProcess; readonly backup: HostProcess }>
  protect(active: HostProcess, backup: HostProcess): Promise<void>
}

export interface FaultInit {
  readonly load?: GuestLoad
  readonly changes?: Partial<ClusterInit>
}

/** Ends all that it started when the test has finished. */
export async function makeFaultKit({ load, changes }: FaultInit = {}): Promise<FaultKit> {
  const folder = await mkdtemp(join(tmpdir(), 'mycelium-fault-'))
  const qemu = await probeQemu()
  const guest = await prepareGuestImage()
  const cluster = new Cluster(
    { folder, program: PROGRAM },
    {
      vm: 'tested',
      qemu,
      accelerator: 'tcg',
      guest,
      kernelArguments: guestKernelArguments(qemu.architecture, {
        memoryMebibytes: 8,
        pagesPerTick: 50,
        ...load,
      }),
      memoryBytes: 96 * 2 ** 20,
      intervalMs: 50,
      ttlMs: 1_000,
      ...changes,
    },
  )
  onTestFinished(async () => {
    await cluster.stop()
    await rm(folder, { recursive: true, force: true })
  })
  const signal = AbortSignal.timeout(PATIENCE_MS)
  await cluster.startLeaseServer(signal)
  const protect = async (active: HostProcess, backup: HostProcess): Promise<void> => {
    await backup.until(() => backup.isReady, signal)
    active.tell({ type: 'peers', peers: [backup.id] })
    await active.until(() => active.inSync.includes(backup.id), signal)
  }
  return {
    cluster,
    folder,
    signal,
    protect,
    protectedPair: async () => {
      const active = cluster.startHost('active')
      const backup = cluster.startHost('backup')
      await active.until(() => active.firstTick, signal)
      await protect(active, backup)
      return { active, backup }
    },
  }
}

/** Waits until the guest has printed `count` more counters than now. */
export async function ticks(host: HostProcess, count: number, signal: AbortSignal): Promise<void> {
  const from = host.lastTick?.tick ?? 0
  await host.until(() => (host.lastTick?.tick ?? 0) >= from + count, signal)
}

/** Kills an active host and its QEMU as a power failure would: at once. */
export function killHost(host: HostProcess): void {
  host.kill('SIGKILL')
  signalIfAlive(host.qemuPid, 'SIGKILL')
}

/**
 * Changes one byte of the memory that a waiting QEMU holds, as a broken RAM chip would: in a page
 * that is empty, and among many empty ones, so that its guest has no use for it soon.
 */
export function damageMemory({ qemuPid }: HostProcess): void {
  const folder = `/proc/${qemuPid}/fd`
  const memory = readdirSync(folder).find((name) =>
    readlinkSync(`${folder}/${name}`).startsWith('/memfd:mycelium-guest'),
  )
  const file = openSync(`${folder}/${memory}`, 'r+')
  try {
    const { size } = fstatSync(file)
    const span = Buffer.alloc(EMPTY_BYTES)
    for (let start = 0; start + span.length <= size; start += span.length) {
      readSync(file, span, 0, span.length, start)
      if (span.some((byte) => byte !== 0)) continue
      writeSync(file, Buffer.of(1), 0, 1, start + span.length / 2)
      return
    }
    throw new Error('no memory of the guest is empty')
  } finally {
    closeSync(file)
  }
}

export function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It is gone, which is what the caller wants or will find out.
  }
}
