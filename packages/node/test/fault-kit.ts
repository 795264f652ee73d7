/** A cluster of real host processes for tests, with a guest under TCG. */
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

export function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It is gone, which is what the caller wants or will find out.
  }
}
