/**
 * Endophytes: unmodified VMs whose memory and device state are replicated to backup hosts, and
 * which run on there from their last checkpoint when the active host dies.
 *
 * @packageDocumentation
 */
import type {
  AbortOptions,
  BulkChannelProvider,
  Clock,
  EventSource,
  FencingEpoch,
  FencingLeases,
  LeaseInit,
  MonotonicMs,
  NodeId,
} from '@mycelium/interface'
import type {
  BackupPhase,
  Compression,
  EncodedBytes,
  EncodingStats,
  TrackerInfo,
  TrackerTierName,
} from '@mycelium/ram'
import { INTERVAL_MS_MAX, INTERVAL_MS_MIN } from './constants.ts'
import { LEASE_TTL_MS_MAX, LEASE_TTL_MS_MIN } from './core/lease-messages.ts'
import { createGuardedMachine, type GuardedMachineInit } from './guarded-machine.ts'
import { VmHost } from './host.ts'
import type { HeldLease } from './lease/held-lease.ts'

export {
  type GuestLoad,
  guestKernelArguments,
  type GuestTick,
  parseGuestTick,
} from './core/guest-plan.ts'
export type { QemuAccelerator, QemuArchitecture } from './core/qemu-command.ts'
export type { GuardedMachineInit, GuestFiles } from './guarded-machine.ts'
export { type GuestImage, type GuestImageInit, prepareGuestImage } from './guest/image.ts'
export type { HeldLease } from './lease/held-lease.ts'
export {
  createLeaseClient,
  type LeaseClient,
  type LeaseClientDeps,
  type LeaseClientInit,
} from './lease/lease-client.ts'
export {
  createLeaseServer,
  type LeaseServer,
  type LeaseServerDeps,
  type LeaseServerInit,
} from './lease/lease-server.ts'
export type { QmpVersion } from './core/qmp-session.ts'
export type { QemuVersion } from './core/qemu-probe.ts'
export { connectQmp, type QmpClient, type QmpClientDeps } from './qmp/client.ts'
export type {
  QmpCommand,
  QmpCommandName,
  QmpCommands,
  QmpEvents,
  QmpExecuteArguments,
  QmpGuestCause,
  QmpMigration,
  QmpMigrationParameters,
  QmpPipelineCommand,
  QmpPipelineReturns,
  QmpRunState,
} from './qmp/commands.ts'
export {
  createDirectSpawner,
  type QemuDescriptor,
  type QemuExit,
  type QemuProcess,
  type QemuSpawner,
  type QemuSpawnOptions,
  type QemuUser,
} from './qemu/spawner.ts'
export {
  type AcceleratorProbe,
  type AcceleratorProbeInit,
  probeAccelerator,
  probeQemu,
  type QemuProbe,
  type QemuProbeInit,
} from './qemu/probe.ts'
export { probeTiers, type TierProbe, type TierProbeInit } from './probe-tiers.ts'
export {
  GuardMissingError,
  GuardStartError,
  GuestEndedError,
  GuestImageError,
  LeaseChangedError,
  LeaseClosedError,
  LeaseFolderLockedError,
  LeaseFrameError,
  LeaseFullError,
  LeaseHeldError,
  LeaseLogCorruptError,
  LeaseLogWriteError,
  LeaseLostError,
  LeaseOutcomeUnknownError,
  LeaseUnavailableError,
  MachineStateError,
  MigrationStreamError,
  NoCompilerError,
  NoQemuError,
  NotInSyncError,
  QemuClosedError,
  QemuFeatureError,
  QemuPausedError,
  QemuStartError,
  QemuVersionError,
  QmpBusyError,
  QmpError,
  QmpLostError,
  RecordError,
  StateError,
  VmLeaseLostError,
} from './errors.ts'

/** Leases whose grants a guard can watch over. */
export interface HeldLeases extends FencingLeases {
  acquire(name: string, init: LeaseInit, options?: AbortOptions): Promise<HeldLease>
}

/** One VM, as this host sees it. */
export interface VmConfig {
  /** Its name: of its lease, of its region, in the purposes of its channels. */
  readonly vm: string
  /** This node. */
  readonly self: NodeId
  /** Nodes that may be its backups. */
  readonly peers: readonly NodeId[]
  /**
   * Milliseconds from the start of an epoch to the start of the next. Shorter: less is lost and
   * output waits less; longer: the guest is paused less often.
   */
  readonly intervalMs: number
  /** Time to live of the lease: after a silent death nobody takes over for so long. */
  readonly ttlMs: number
  /** @default the best that works */
  readonly tier?: TrackerTierName
  /** @default 'none' */
  readonly compression?: Compression
  /** Compare the RAM with the last epoch after loading, before the guest runs. @default false */
  readonly verify?: boolean
}

export interface EpochReport {
  /** `<fencing epoch>.<counter>` */
  readonly name: string
  /** CLOCK_BOOTTIME at which the guest was asked to stand still. */
  readonly startedAt: MonotonicMs
  /** From then until it ran again. */
  readonly pauseMs: number
  readonly dirtyPages: number
  /** Of them, found only after the device state was saved. */
  readonly tailPages: number
  /** Sent to all backups together. */
  readonly bytes: number
  /** From the end of the pause until every backup in sync held the epoch. */
  readonly lagMs: number
  readonly acknowledgedBy: readonly NodeId[]
  /** The whole memory was hashed during the pause, which made it longer. */
  readonly isHashed: boolean
  readonly mismatchPages?: number
}

/** How the replication of an active VM goes. Times in milliseconds. */
export interface EndophyteStats {
  /** Epochs acknowledged since this host became active. */
  readonly epochs: number
  /** From the start of the last epoch to the start of the one before. */
  readonly epochMs?: number
  readonly pauseMs?: number
  readonly lagMs?: number
  readonly dirtyPages?: number
  /** Bytes of the last epoch, to all backups together. */
  readonly epochBytes: number
  /** Bytes handed to channels, fills included. */
  readonly sentBytes: number
  /** Pages by encoding, of epochs and fills. */
  readonly pages: EncodingStats
  /** What these pages take in messages: their sum is all of it, but for heads. */
  readonly encodedBytes: EncodedBytes
  /** Pages that the backup furthest behind still lacks. */
  readonly backlogPages: number
  readonly lastAcknowledged?: string
  /** The committed in-sync set. */
  readonly inSync: readonly NodeId[]
}

export interface EndophyteEvents {
  /** What goes on, for people. */
  status: { readonly text: string }
  /** A lease was granted to this host. */
  lease: { readonly epoch: FencingEpoch; readonly at: MonotonicMs }
  /** QEMU is up (a backup's waits). */
  machine: {
    readonly pid: number
    readonly accelerator: string
    /** Thread ids of its vCPUs: whether the guest runs can be seen from outside. */
    readonly vcpuThreads: readonly number[]
  }
  tracker: TrackerInfo
  /** The guest restarted itself. */
  reset: object
  backup: {
    readonly id: NodeId
    readonly phase: BackupPhase | 'lost'
    readonly reason?: string
  }
  /** The committed in-sync set; empty: the VM is unprotected. */
  'in-sync': { readonly members: readonly NodeId[] }
  /** An epoch was acknowledged. */
  epoch: EpochReport
  /** What the guest printed, at once; a failover may undo it. */
  console: { readonly lines: readonly string[]; readonly at: MonotonicMs }
  /** What the guest printed and no failover will undo. */
  output: { readonly lines: readonly string[] }
  /** On a backup: an epoch was applied. */
  applied: { readonly name: string; readonly mismatchPages?: number }
  /** This backup does not take over. */
  'refused-takeover': { readonly code: string; readonly text: string }
  /** The guest runs here now. All times are CLOCK_BOOTTIME. */
  takeover: {
    /** The epoch from which it runs on. */
    readonly epoch: string
    readonly fencing: FencingEpoch
    readonly missedAt: MonotonicMs
    readonly grantedAt: MonotonicMs
    readonly loadedAt: MonotonicMs
    readonly mismatchPages?: number
  }
}

export interface EndophyteHostDeps {
  readonly leases: HeldLeases
  readonly channels: BulkChannelProvider
  readonly clock: Clock
  /** @internal What runs the guest. */
  readonly machine: GuardedMachineInit
}

/** One VM on one host, active or backup. */
export interface EndophyteHost extends AsyncDisposable, EventSource<EndophyteEvents> {
  /** Settles when the VM does not run or wait here any more: with the reason, or with nothing after
   * `stop`. */
  readonly ended: Promise<Error | undefined>
  /**
   * Boots the guest here. Rejects with `ERR_ENDOPHYTE_NOT_IN_SYNC` if it has run before and was not
   * shut down, with `ERR_LEASE_HELD` if it runs elsewhere.
   */
  startActive(): Promise<void>
  /** Waits as a backup, and goes on as the active when it takes over. */
  startBackup(): Promise<void>
  setPeers(peers: readonly NodeId[]): void
  /** Sends page hashes with every epoch, for backups to compare. Lengthens each pause. */
  setHashing(isOn: boolean): void
  /** Nothing while this host is not active. */
  stats(): EndophyteStats | undefined
  /** Stops the guest or the waiting QEMU. Idempotent. */
  stop(): Promise<void>
}

/** @throws {RangeError} a number of `config` is out of range */
export function createEndophyteHost(deps: EndophyteHostDeps, config: VmConfig): EndophyteHost {
  const { intervalMs, ttlMs } = config
  checkMs('intervalMs', intervalMs, INTERVAL_MS_MIN, INTERVAL_MS_MAX)
  checkMs('ttlMs', ttlMs, LEASE_TTL_MS_MIN, LEASE_TTL_MS_MAX)
  return new VmHost(deps, config, (role) => createGuardedMachine(deps.machine, role))
}

function checkMs(name: string, value: number, min: number, max: number): void {
  if (value >= min && value <= max) return
  throw new RangeError(`${name} must be ${min} to ${max}, got ${value}`)
}
