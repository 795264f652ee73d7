/**
 * One QEMU with everything that belongs to it on this host: its RAM, its guard, its console. What
 * the roles (active, backup) see of it; `guarded-machine.ts` makes it.
 */
import type { EventSource } from '@mycelium/interface'
import type { Region } from '@mycelium/ram'
import type { HeldLease } from './lease/held-lease.ts'

export interface MachineEvents {
  /** Lines of the guest's serial console, without their ends. */
  console: { readonly lines: readonly string[] }
  /** Somebody else stopped or continued the guest. */
  paused: object
  resumed: object
  /** The guest shut down or panicked; QEMU still lives. */
  shutdown: { readonly cause: string }
  /** The guest restarted itself. */
  reset: object
  /** QEMU is gone, for whatever reason. */
  exited: { readonly reason: string }
}

export interface StoppedState {
  /** The guest stands still. */
  readonly stopped: Promise<void>
  /** Its device state, complete. */
  readonly state: Promise<Uint8Array>
}

export interface Machine extends EventSource<MachineEvents>, AsyncDisposable {
  /** Guest RAM. */
  readonly region: Region
  /** QEMU's process. */
  readonly pid: number
  /** The process that writes to the RAM through a mapping of its own; none: this one. */
  readonly writerPid: number | undefined
  /** A connection on which that process has sent, or will send, a userfaultfd of its memory, once;
   * none: it does not. */
  readonly shimSocketFd: number | undefined
  /** Its threads that run the guest; none before {@link start}, or without QEMU. */
  readonly vcpuThreads: readonly number[]
  /** `kvm` or `tcg`. */
  readonly accelerator: string
  /** Starts QEMU, paused, and its guard. */
  start(): Promise<void>
  /** From now on the guest runs only as long as `lease` is valid: the guard kills QEMU at that
   * moment, and gives the lease back if QEMU dies before. To be called before the guest runs. */
  bind(lease: HeldLease): void
  /** One request for both, since each way to QEMU costs time in which the guest stands still.
   * Rejects `ERR_ENDOPHYTE_PAUSED` if somebody else has paused the guest. */
  stopAndSaveState(): StoppedState
  cont(): Promise<void>
  /** The part of a loadable stream that comes before the device state. Pauses the guest shortly;
   * continues it, unless it was paused before. */
  saveHead(): Promise<Uint8Array>
  /** Loads head and device state into a waiting QEMU. The guest stays paused. */
  load(head: Uint8Array, state: Uint8Array): Promise<void>
  /** Kills QEMU and waits until it is gone. Idempotent. */
  stop(): Promise<void>
}
