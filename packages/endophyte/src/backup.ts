import type {
  BulkChannel,
  BulkChannelProvider,
  Clock,
  LeaseView,
  MonotonicMs,
} from '@mycelium/interface'
import { type AppliedEpoch, createBackup, formatName, type RamBackup } from '@mycelium/ram'
import { RECONNECT_MS } from './constants.ts'
import {
  applyStateDifference,
  decodeDeviceState,
  type DeviceState,
} from './core/state-difference.ts'
import { decodeVmRecord, encodeVmRecord, type VmRecord } from './core/vm-record.ts'
import { GuestEndedError, NotInSyncError, StateError } from './errors.ts'
import type { EndophyteEvents, HeldLeases, VmConfig } from './index.ts'
import { giveBack } from './lease/give-back.ts'
import type { HeldLease } from './lease/held-lease.ts'
import type { Machine } from './machine.ts'
import { sleep } from './sleep.ts'
import { StatusLines } from './status-lines.ts'

export interface BackupDeps {
  readonly machine: Machine
  readonly leases: HeldLeases
  readonly channels: BulkChannelProvider
  readonly clock: Clock
  emit<Name extends keyof EndophyteEvents>(name: Name, detail: EndophyteEvents[Name]): void
}

/** What a backup that has taken over hands on. The guest is loaded, paused, and unique. */
export interface TakenOver {
  readonly lease: HeldLease
  /** As committed with the grant. */
  readonly record: Uint8Array
}

/** Holds the image of a VM beside a waiting QEMU, and takes over when the active is gone. */
export class BackupVm {
  readonly #deps: BackupDeps
  readonly #config: VmConfig
  readonly #lines: StatusLines
  readonly #stopping = new AbortController()
  readonly #outcome = Promise.withResolvers<TakenOver | Error>()
  #replica: RamBackup | undefined
  #state: DeviceState | undefined
  #contending: AbortController | undefined
  /** Settles, never rejects, when the last attempt to take over has ended. */
  #contention: Promise<void> = Promise.resolve()
  /** When the active was first missed. */
  #missedAt: MonotonicMs | undefined
  #isTakingOver = false

  constructor(deps: BackupDeps, config: VmConfig) {
    this.#deps = deps
    this.#config = config
    this.#lines = new StatusLines((text) => deps.emit('status', { text }))
  }

  /** Settles with the VM taken over, or with why it never will be (an error after `stop`, too). */
  get outcome(): Promise<TakenOver | Error> {
    return this.#outcome.promise
  }

  async start(): Promise<void> {
    const { machine } = this.#deps
    machine.addEventListener(
      'exited',
      ({ detail }) => {
        this.#outcome.resolve(new GuestEndedError(`the waiting QEMU ended: ${detail.reason}`))
      },
      { signal: this.#stopping.signal },
    )
    await machine.start()
    this.#stopping.signal.throwIfAborted()
    // After QEMU's start: whatever it wrote into the RAM by then is part of the image.
    this.#replica = createBackup(
      { region: machine.region },
      {
        name: `vm/${this.#config.vm}`,
        onApplied: (epoch) => {
          this.#applied(epoch)
        },
      },
    )
    this.#replica.addEventListener(
      'detached',
      ({ detail }) => {
        this.#missed(detail.reason?.message ?? 'the active closed the channel')
      },
      { signal: this.#stopping.signal },
    )
    this.#replica.addEventListener(
      'refused',
      ({ detail }) => {
        this.#lines.say(`refused an epoch: ${detail.text}`, 'refused')
      },
      { signal: this.#stopping.signal },
    )
    void this.#accept()
  }

  /** Kills the waiting QEMU. A lease that was granted meanwhile is given back. Idempotent. */
  async stop(): Promise<void> {
    const reason = new GuestEndedError('the backup was stopped')
    this.#stopping.abort(reason)
    this.#contending?.abort(reason)
    this.#outcome.resolve(reason)
    await this.#deps.machine.stop()
    await this.#contention
    await this.#replica?.stop()
  }

  // ---- replication -----------------------------------------------------------------------------

  async #accept(): Promise<void> {
    const { signal } = this.#stopping
    const prefix = `ram/${this.#config.vm}/`
    try {
      for await (const channel of this.#deps.channels.accept(prefix, { signal })) {
        await this.#attach(channel)
      }
    } catch (error) {
      if (!signal.aborted) this.#outcome.resolve(errorOf(error))
    }
  }

  async #attach(channel: BulkChannel): Promise<void> {
    const replica = this.#replica
    const fencing = fencingOf(channel.purpose)
    if (
      replica === undefined ||
      this.#isTakingOver ||
      fencing === undefined ||
      fencing < replica.fencing
    ) {
      channel.abort(new NotInSyncError(`this backup serves no ${channel.purpose}`))
      return
    }
    channel.addEventListener('suspended', () => {
      this.#missed('the link is down')
    })
    channel.addEventListener('resumed', () => {
      this.#returned()
    })
    this.#returned()
    await replica.attach(channel)
  }

  #applied({ version, attachment, mismatchPages }: AppliedEpoch): void {
    switch (attachment.kind) {
      case 'full':
        this.#state = decodeDeviceState(attachment.bytes)
        break
      case 'difference':
        if (this.#state === undefined) throw new StateError('device state: no base')
        this.#state = {
          head: this.#state.head,
          tail: applyStateDifference(this.#state.tail, attachment.bytes),
        }
        break
      case 'none':
        throw new StateError('an epoch of a VM came without device state')
    }
    this.#lines.over('refused')
    this.#deps.emit('applied', {
      name: formatName(version.name),
      ...(mismatchPages !== undefined && { mismatchPages }),
    })
  }

  // ---- taking over -----------------------------------------------------------------------------

  #returned(): void {
    this.#missedAt = undefined
    this.#contending?.abort()
    this.#contending = undefined
  }

  /** The active is silent. Who is right, it or we, is the lease's to say. */
  #missed(why: string): void {
    if (this.#stopping.signal.aborted || this.#isTakingOver) return
    if (this.#contending !== undefined) return
    this.#missedAt = this.#deps.clock.now()
    this.#lines.over('lease')
    this.#lines.say(`the active is missed: ${why}`)
    const contending = new AbortController()
    this.#contending = contending
    // An attempt that was given up must have ended before the next begins.
    this.#contention = this.#contention
      .then(() => this.#contend(contending.signal))
      .catch((error: unknown) => {
        this.#outcome.resolve(errorOf(error))
      })
  }

  async #contend(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const view = await this.#deps.leases.read(this.#config.vm, { signal })
        const record = decodeVmRecord(view.record)
        if (record.state === 'stopped') {
          this.#outcome.resolve(new GuestEndedError('the guest has shut down'))
          return
        }
        const problem = this.#whyNot(record)
        if (problem !== undefined) {
          if (await this.#changes(view, signal)) continue
          if (signal.aborted) return
          this.#deps.emit('refused-takeover', { text: problem.message, code: problem.code })
          return
        }
        await this.#takeOver(view, record, signal)
        return
      } catch (error) {
        if (signal.aborted) return
        const { code } = error as { code?: string }
        if (code === 'ERR_LEASE_CHANGED') continue
        const text = TRANSIENT_REFUSALS.get(code)
        if (text === undefined) throw error
        this.#lines.say(`${text}, trying again`, 'lease')
        await sleep(this.#deps.clock, RECONNECT_MS, signal)
      }
    }
  }

  /** Why this backup may not take over, if it may not. */
  #whyNot(record: VmRecord): NotInSyncError | undefined {
    const { self, vm } = this.#config
    if (!record.inSync.includes(self)) {
      return new NotInSyncError(`${self} is not in the in-sync set of ${vm}: it does not take over`)
    }
    if (this.#replica?.applied === undefined || this.#state === undefined) {
      return new NotInSyncError(`${self} holds no complete epoch of ${vm}: it does not take over`)
    }
    return undefined
  }

  /**
   * Whether the record changes after `view`, within the time that an update of a dead active may
   * take: the one that makes this node a member may be on its way.
   */
  async #changes({ version }: LeaseView, signal: AbortSignal): Promise<boolean> {
    const { leases, clock } = this.#deps
    const { vm, ttlMs } = this.#config
    const waiting = new AbortController()
    const either = AbortSignal.any([signal, waiting.signal])
    const cancel = clock.schedule(clock.now() + ttlMs, () => {
      waiting.abort()
    })
    try {
      for await (const view of leases.watch(vm, { signal: either })) {
        if (view.version > version) return true
        if (view.holder === undefined) return false // nobody can change it any more
      }
    } catch (error) {
      if (!either.aborted) throw error
    } finally {
      cancel()
    }
    return false
  }

  async #takeOver(view: LeaseView, record: VmRecord, signal: AbortSignal): Promise<void> {
    const { leases, machine, clock } = this.#deps
    const { vm, ttlMs } = this.#config
    // All whom it names hold everything that was seen outside, until this side releases more. It
    // still names this node, which may have to ask again if nobody knows whether it was granted.
    const granted = encodeVmRecord(record)
    const missedAt = this.#missedAt ?? clock.now()
    const lease = await leases.acquire(
      vm,
      { ttlMs, record: granted, expectVersion: view.version, wait: true },
      { signal },
    )
    const grantedAt = clock.now()
    this.#isTakingOver = true
    this.#deps.emit('lease', { epoch: lease.epoch, at: grantedAt })
    try {
      const version = await this.#promote()
      machine.bind(lease)
      const { head, tail } = this.#state ?? { head: undefined, tail: undefined }
      if (head === undefined) throw new StateError('there is no device state')
      await machine.load(head, tail)
      const loadedAt = clock.now()
      const verified =
        this.#config.verify === true ? { mismatchPages: await this.#compareLoaded() } : {}
      this.#stopping.signal.throwIfAborted()
      this.#deps.emit('takeover', {
        epoch: formatName(version.name),
        fencing: lease.epoch,
        missedAt,
        grantedAt,
        loadedAt,
        ...verified,
      })
    } catch (error) {
      // The guest never ran here: another backup may have its turn at once.
      await machine.stop()
      await giveBack(lease, clock)
      throw error
    }
    this.#outcome.resolve({ lease, record: granted })
  }

  #hashes: Uint8Array | undefined

  async #promote(): Promise<{ readonly name: { fencing: bigint; counter: number } }> {
    const replica = this.#replica
    if (replica === undefined) throw new NotInSyncError('the backup is not started')
    const version = await replica.promote()
    this.#hashes = replica.hashes()
    return version
  }

  /** Pages in which the RAM differs from the last epoch applied, now that the state is loaded. */
  async #compareLoaded(): Promise<number> {
    const loaded = await this.#deps.machine.region.hashPages()
    const applied = this.#hashes
    let count = 0
    for (let page = 0; page * 8 < loaded.length; page++) {
      const isSame =
        applied !== undefined &&
        loaded
          .subarray(page * 8, page * 8 + 8)
          .every((byte, index) => byte === applied[page * 8 + index])
      if (!isSame) count++
    }
    return count
  }
}

/** Refusals of the lease after which it is asked for again, and how people are told. */
const TRANSIENT_REFUSALS: ReadonlyMap<string | undefined, string> = new Map([
  ['ERR_LEASE_UNAVAILABLE', 'the lease server does not answer'],
  ['ERR_LEASE_OUTCOME_UNKNOWN', 'the lease server does not know whether it granted the lease'],
])

/** `ram/<vm>/<fencing epoch>` */
function fencingOf(purpose: string): bigint | undefined {
  const digits = /\/(\d{1,19})$/.exec(purpose)?.[1]
  return digits === undefined ? undefined : BigInt(digits)
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
