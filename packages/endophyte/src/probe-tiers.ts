import type { AbortOptions } from '@mycelium/interface'
import { createBoottimeClock, createRegion, MemoryError, type TrackerTierName } from '@mycelium/ram'
import { createGuardedMachine, type GuestFiles } from './guarded-machine.ts'
import type { QemuProbe } from './qemu/probe.ts'
import { startPrimary } from './start-primary.ts'

export interface TierProbe {
  /** Ways to find dirty pages that work here, best first. */
  readonly works: readonly TrackerTierName[]
  /** Those that do not, and why. */
  readonly rejected: readonly { readonly tier: TrackerTierName; readonly reason: string }[]
}

export interface TierProbeInit extends AbortOptions {
  /** What would run guests. Absent: only the memory of this process is tried. */
  readonly guests?: { readonly qemu: QemuProbe; readonly guest: GuestFiles }
}

/** Best first. */
const TIERS: readonly TrackerTierName[] = ['async', 'sync', 'hash', 'shadow']
/** The smallest guest; nothing of it is ever run. */
const GUEST_BYTES = 64 * 1_048_576
const REGION_BYTES = 1_048_576

/**
 * Lets the tracker test each of its ways on a real QEMU, started as one for a guest is (its user,
 * its sandbox, its guard) and never run: what this process may do may be forbidden there. Takes
 * 0.1 s.
 *
 * Rejects with what keeps QEMU or the tracker from starting at all, as `ERR_ENDOPHYTE_NO_GUARD`,
 * `ERR_ENDOPHYTE_QEMU_START` or `ERR_RAM_NO_ADDON`.
 */
export async function probeTiers({ guests, signal }: TierProbeInit = {}): Promise<TierProbe> {
  signal?.throwIfAborted()
  if (guests === undefined) {
    using region = createRegion({ bytes: REGION_BYTES, name: 'mycelium-probe' })
    return await tryEach({ region, writerPid: undefined, shimSocketFd: undefined }, signal)
  }
  await using machine = createGuardedMachine(
    {
      ...guests,
      accelerator: 'tcg', // makes no difference to memory, and is everywhere
      kernelArguments: '',
      memoryBytes: GUEST_BYTES,
    },
    'run',
  )
  await machine.start()
  return await tryEach(machine, signal)
}

async function tryEach(
  machine: Parameters<typeof startPrimary>[0],
  signal: AbortSignal | undefined,
): Promise<TierProbe> {
  const works: TrackerTierName[] = []
  const rejected: { tier: TrackerTierName; reason: string }[] = []
  for (const tier of TIERS) {
    signal?.throwIfAborted()
    try {
      await using _primary = await startPrimary(machine, createBoottimeClock(), { tier })
      works.push(tier)
    } catch (error) {
      if (!(error instanceof MemoryError)) throw error
      const { message } = error.cause instanceof Error ? error.cause : error
      rejected.push({ tier, reason: message.replaceAll(`process ${machine.writerPid}`, 'QEMU') })
    }
  }
  return { works, rejected }
}
