import {
  guestKernelArguments,
  type GuestFiles,
  type QemuAccelerator,
  type QemuProbe,
} from '@mycelium/endophyte'
import type { Clock } from '@mycelium/interface'
import type { CommandContext } from '../context.ts'
import type { HostEvent } from '../internal/host-protocol.ts'
import { Cluster } from './cluster.ts'
import { EventLog } from './event-log.ts'
import { GuestLife } from './guest-life.ts'
import type { HostProcess } from './host-process.ts'
import type { DemoOptions } from './options.ts'
import { type DemoReport, type EpochSample, type KillReport, makeReport } from './report.ts'
import { describeKill, LiveView } from './view.ts'

/** Time to live of the VM's lease. Renewed at a third of it; a host may stall for the rest. */
const LEASE_TTL_MS = 2_000

/** Milliseconds between two counters of the guest. */
const TICK_MS = 20

/** Epochs with page hashes that must be acknowledged before a kill may come. */
const HASHED_EPOCHS_MIN = 2

/** How long anything may take that the demo waits for; a slow machine boots in a minute. */
export const PATIENCE_MS = 120_000

/** Milliseconds after the grant for which the dead copy is watched. */
const WATCH_MS = 250

export interface DemoDeps {
  readonly clock: Clock
  readonly context: CommandContext
  readonly qemu: QemuProbe
  readonly accelerator: QemuAccelerator
  readonly guest: GuestFiles
  /** Empty, 0700, removed by the caller. */
  readonly folder: string
}

/** Three kinds of processes, and their deaths. */
export class Demo implements AsyncDisposable {
  readonly #deps: DemoDeps
  readonly #options: DemoOptions
  readonly #view: LiveView
  readonly #log: EventLog | undefined
  readonly #cluster: Cluster
  readonly #epochs: EpochSample[] = []
  readonly #failures: string[] = []
  #mismatchPages = 0
  #guestErrors = 0
  #secondCopies = 0
  /** The host that was killed last. */
  #killed: HostProcess | undefined
  /** Of its guest, from the moment on at which the lease went to another. */
  #afterlife: GuestLife | undefined
  /** Aborts when there is nothing more to show. */
  readonly #broken = new AbortController()
  #protectedMs = 0
  #protectedEpochs = 0
  #random: number

  constructor(deps: DemoDeps, options: DemoOptions) {
    this.#deps = deps
    this.#options = options
    this.#view = new LiveView(deps.context)
    this.#random = options.seed
    const { qemu, accelerator, guest, folder } = deps
    const { memory, interval, load, workingSet, seed, corrupt, tier, compression } = options
    this.#cluster = new Cluster(
      {
        folder,
        onEvent: (host, event) => {
          this.#heard(host, event)
        },
      },
      {
        vm: 'demo',
        qemu,
        accelerator,
        guest,
        kernelArguments: guestKernelArguments(qemu.architecture, {
          memoryMebibytes: workingSet,
          pagesPerTick: Math.ceil((load * TICK_MS) / interval),
          tickMs: TICK_MS,
          seed,
          ...(corrupt !== undefined && { corruptAtTick: corrupt }),
        }),
        memoryBytes: memory * 2 ** 20,
        intervalMs: interval,
        ttlMs: LEASE_TTL_MS,
        ...(tier && { tier }),
        ...(compression && { compression }),
      },
    )
    if (options.log !== undefined) {
      this.#log = new EventLog(options.log, (line) => {
        this.#view.note(line)
      })
    }
  }

  /** Rejects when nothing can be shown: a process does not start, the guest does not boot. */
  async run(): Promise<DemoReport> {
    const { context } = this.#deps
    await this.#cluster.startLeaseServer(this.#patience())
    let active = this.#cluster.startHost('active')
    let backup = this.#cluster.startHost('backup')
    context.progress(
      `${active.id} (pid ${active.pid}) boots a guest of ${this.#options.memory} MiB; ` +
        `${backup.id} (pid ${backup.pid}) is to be its backup`,
    )
    await active.until(() => active.firstTick, this.#patience(), 'the first output of the guest')
    await this.#protect(active, backup)
    const kills: KillReport[] = []
    for (let number = 1; number <= this.#options.kills; number++) {
      await this.#replicate(active, this.#options.seconds * 1000)
      const kill = await this.#kill(number, active, backup)
      if (kill === undefined) break
      kills.push(kill)
      active = backup
      backup = this.#cluster.startHost('backup')
      await this.#protect(active, backup)
    }
    // Of a kill that was not survived nothing runs any more.
    const isAlive = kills.length === this.#options.kills
    if (isAlive) await this.#replicate(active, this.#options.seconds * 1000)
    this.#view.end()
    this.#guestErrors = Math.max(this.#guestErrors, active.guestErrors)
    return makeReport({
      accel: active.accelerator,
      tracker: active.tracker,
      guestMemoryBytes: this.#options.memory * 2 ** 20,
      intervalMs: this.#options.interval,
      seed: this.#options.seed,
      protectedMs: this.#protectedMs,
      protectedEpochs: this.#protectedEpochs,
      epochs: this.#epochs,
      kills,
      killsWanted: this.#options.kills,
      guestErrors: this.#guestErrors,
      ramMismatchPages: this.#mismatchPages,
      secondCopies: this.#secondCopies,
      failures: this.#failures,
    })
  }

  async stop(): Promise<void> {
    this.#view.end()
    await this.#cluster.stop()
    await this.#log?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #heard(host: HostProcess, event: HostEvent): void {
    this.#log?.write(host.id, event)
    if (event.type !== 'event') return
    switch (event.name) {
      case 'status':
        this.#view.note(`${host.id}: ${event.detail.text}`)
        break
      case 'reset':
        this.#broken.abort(
          new Error(
            'the guest restarted by itself: its kernel panicked, perhaps ' +
              'because --memory is too small for --working-set',
          ),
        )
        break
      case 'refused-takeover':
        this.#view.note(`${host.id}: ${event.detail.text}`)
        break
      case 'epoch':
        this.#epochs.push(event.detail)
        this.#mismatchPages += event.detail.mismatchPages ?? 0
        this.#view.epoch(host, event.detail)
        break
      case 'lease':
        if (this.#killed !== undefined && host !== this.#killed) {
          this.#afterlife ??= new GuestLife(this.#killed.qemuPid, this.#killed.vcpuThreads)
        }
        break
      case 'applied':
      case 'backup':
      case 'console':
      case 'in-sync':
      case 'machine':
      case 'output':
      case 'takeover':
      case 'tracker':
        break
    }
  }

  // ---- acts ------------------------------------------------------------------------------------

  async #protect(active: HostProcess, backup: HostProcess): Promise<void> {
    const { clock } = this.#deps
    const startedAt = clock.now()
    await backup.until(() => backup.isReady, this.#patience(), 'its waiting QEMU')
    active.tell({ type: 'peers', peers: [backup.id] })
    await active.until(
      () => active.inSync.includes(backup.id),
      this.#patience(),
      `protection by ${backup.id}`,
    )
    const seconds = ((clock.now() - startedAt) / 1000).toFixed(1)
    this.#view.note(`protected: ${backup.id} holds the memory of ${active.id}, after ${seconds} s`)
  }

  /** Lets it run for a while, and waits for at least one epoch. */
  async #replicate(active: HostProcess, ms: number): Promise<void> {
    const { clock } = this.#deps
    const startedAt = clock.now()
    const before = active.lastEpoch?.name
    const count = this.#epochs.length
    await active.until(
      () => {
        return clock.now() - startedAt >= ms && active.lastEpoch?.name !== before
      },
      this.#patience(ms),
      'an epoch',
    )
    this.#protectedMs += clock.now() - startedAt
    this.#protectedEpochs += this.#epochs.length - count
  }

  async #kill(
    number: number,
    active: HostProcess,
    backup: HostProcess,
  ): Promise<KillReport | undefined> {
    const { clock } = this.#deps
    // From here on every epoch carries the hashes of the whole memory, so that whichever the kill
    // leaves as the last one is known to be right on the backup.
    active.tell({ type: 'hashing', isOn: true })
    let hashed = 0
    let counted: string | undefined
    await active.until(
      () => {
        const epoch = active.lastEpoch
        if (epoch?.mismatchPages === undefined || epoch.name === counted) return false
        counted = epoch.name
        return ++hashed >= HASHED_EPOCHS_MIN
      },
      this.#patience(),
      'an epoch with page hashes',
    )
    // Anywhere in an epoch: in its pause, on its way, between two.
    await this.#wait(this.#draw(this.#options.interval * 2))
    const { qemuPid } = active
    this.#killed = active
    this.#afterlife = undefined
    const killedAt = clock.now()
    active.kill('SIGKILL')
    killProcess(qemuPid)
    this.#view.note(
      `kill ${number} of ${this.#options.kills}: SIGKILL to ${active.id} ` +
        `(pid ${active.pid}) and to its QEMU (pid ${qemuPid})`,
    )
    await active.exited
    try {
      await backup.until(() => backup.takeover ?? backup.refusal, this.#patience(), 'the takeover')
      const { takeover, refusal } = backup
      if (takeover === undefined) throw new Error(refusal)
      const first = await backup.until(
        () => backup.firstTick,
        this.#patience(),
        'output of the guest',
      )
      await this.#watch()
      this.#mismatchPages += this.#mismatches(active, backup, takeover)
      this.#guestErrors = Math.max(this.#guestErrors, active.guestErrors)
      const report: KillReport = {
        detectMs: Math.round(takeover.missedAt - killedAt),
        leaseMs: Math.round(takeover.grantedAt - takeover.missedAt),
        loadMs: Math.round(takeover.loadedAt - takeover.grantedAt),
        firstOutputMs: Math.round(first.at - takeover.loadedAt),
        totalMs: Math.round(first.at - killedAt),
        ticksLost: (active.lastTick?.tick ?? 0) - first.tick,
      }
      for (const line of describeKill(report, takeover, active.lastTick?.tick, first.tick)) {
        this.#view.note(line)
      }
      return report
    } catch (error) {
      if (this.#deps.context.signal.aborted || this.#broken.signal.aborted) throw error
      const text = error instanceof Error ? error.message : String(error)
      this.#failures.push(`kill ${number} was not survived: ${text}`)
      return undefined
    }
  }

  /** Pages that were wrong when the backup had applied the epoch, and after loading. */
  #mismatches(
    active: HostProcess,
    backup: HostProcess,
    { epoch, mismatchPages: afterLoad }: NonNullable<HostProcess['takeover']>,
  ): number {
    const applied = backup.lastApplied
    if (applied?.name !== epoch || applied.mismatchPages === undefined) {
      this.#failures.push(`epoch ${epoch} was not compared`)
      return 0
    }
    if (afterLoad === undefined) this.#failures.push('the loaded memory was not compared')
    // Those of the epoch were counted with its acknowledgement, if that was heard of.
    const isCounted = active.lastEpoch?.name === epoch
    return (isCounted ? 0 : applied.mismatchPages) + (afterLoad ?? 0)
  }

  /** The copy that was killed must not gain processor time after the lease has gone elsewhere. */
  async #watch(): Promise<void> {
    await this.#wait(WATCH_MS)
    if (this.#afterlife === undefined) this.#failures.push('the dead copy was not watched')
    else if (this.#afterlife.hasRun) this.#secondCopies++
  }

  /** Aborts when the program is to end, or after a bound on one wait of at least `ms`. */
  #patience(ms = 0): AbortSignal {
    const { signal } = this.#deps.context
    return AbortSignal.any([signal, this.#broken.signal, AbortSignal.timeout(PATIENCE_MS + ms)])
  }

  #wait(ms: number): Promise<void> {
    const {
      clock,
      context: { signal },
    } = this.#deps
    return new Promise((resolve, reject) => {
      const cancel = clock.schedule(clock.now() + ms, resolve)
      signal.addEventListener(
        'abort',
        () => {
          cancel()
          reject(signal.reason as Error)
        },
        { once: true },
      )
    })
  }

  /** 0 to `bound`: a linear congruential step (Knuth, MMIX) is random enough for a moment. */
  #draw(bound: number): number {
    const next = BigInt(this.#random) * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n
    this.#random = Number(BigInt.asUintN(64, next) >> 32n)
    return (this.#random / 2 ** 32) * bound
  }
}

function killProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone already: its guard was faster.
  }
}
