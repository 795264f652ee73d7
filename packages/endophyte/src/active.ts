import type {
  BulkChannelProvider,
  Clock,
  FencingLease,
  MonotonicMs,
  NodeId,
} from '@mycelium/interface'
import {
  type Acknowledgement,
  type BackupStatus,
  type Checkpoint,
  formatName,
  JOIN_PAGES_MAX,
  type RamPrimary,
  type TrackerInfo,
} from '@mycelium/ram'
import { PRECOPY_ROUNDS_MAX } from './constants.ts'
import type { CapturedLines } from './core/output-gate.ts'
import { GuestEndedError, QmpLostError, VmLeaseLostError } from './errors.ts'
import { type EpochMeasures, EpochTaker } from './epoch-taker.ts'
import type { EndophyteEvents, EndophyteStats, EpochReport, VmConfig } from './index.ts'
import { giveBack } from './lease/give-back.ts'
import type { Machine } from './machine.ts'
import { OutputCommit } from './output-commit.ts'
import { PeerDialer } from './peer-dialer.ts'
import { startPrimary } from './start-primary.ts'
import { StatusLines } from './status-lines.ts'

export interface ActiveDeps {
  readonly machine: Machine
  readonly lease: FencingLease
  readonly channels: BulkChannelProvider
  readonly clock: Clock
  emit<Name extends keyof EndophyteEvents>(name: Name, detail: EndophyteEvents[Name]): void
}

/** Runs the guest and replicates it: the epoch loop. */
export class ActiveVm {
  readonly #deps: ActiveDeps
  readonly #config: VmConfig
  readonly #lines: StatusLines
  readonly #commit: OutputCommit
  /** From its start on. */
  #primary: RamPrimary | undefined
  readonly #end = Promise.withResolvers<Error | undefined>()
  readonly #stopping = new AbortController()
  readonly #dialer: PeerDialer
  #lastEpoch: EpochReport | undefined
  /** Between the starts of the last two epochs. */
  #epochMs: number | undefined
  readonly #taker: EpochTaker
  /** Of the epoch that is being taken. */
  #captured: CapturedLines | undefined
  #isPausedByOther = false
  #isShutDown = false
  #wake: () => void = () => {}
  #closing: Promise<unknown> = Promise.resolve()
  #loop: Promise<void> = Promise.resolve()

  constructor(deps: ActiveDeps, config: VmConfig, record: Uint8Array) {
    this.#deps = deps
    this.#config = config
    const { clock, lease, emit } = deps
    this.#lines = new StatusLines((text) => emit('status', { text }))
    this.#commit = new OutputCommit(
      {
        lease,
        clock,
        lines: this.#lines,
        signal: this.#stopping.signal,
        emit,
        stopped: () => {
          // The record says so: nobody restarts the guest from a checkpoint.
          this.#finish(new GuestEndedError('the guest has shut down'))
        },
      },
      record,
    )
    this.#taker = this.#makeTaker()
    this.#dialer = new PeerDialer(
      {
        channels: deps.channels,
        clock,
        purpose: `ram/${config.vm}/${lease.epoch}`,
        signal: this.#stopping.signal,
        isAttached: (peer) => this.#backups().some(({ id }) => id === peer),
        attach: (channel) => {
          this.#primary?.attach(channel)
        },
      },
      config.peers,
    )
  }

  #makeTaker(): EpochTaker {
    const { machine, clock } = this.#deps
    return new EpochTaker({
      machine,
      clock,
      mayTake: () => !this.#stopping.signal.aborted && !this.#isShutDown && !this.#isPausedByOther,
      captured: () => {
        this.#captured = this.#commit.capture()
      },
      paused: () => {
        if (!this.#isShutDown) this.#pausedByOther(true)
      },
      torn: () => {
        this.#lines.say('somebody continued the guest during an epoch, which is given up')
      },
    })
  }

  /** Settles when this VM does not run here any more: with the reason, or nothing after `stop`. */
  get ended(): Promise<Error | undefined> {
    return this.#end.promise
  }

  /** Lets the guest run, and replicates it from then on. If it rejects, everything is stopped. */
  async start(): Promise<void> {
    try {
      await this.#start()
    } catch (error) {
      this.#finish(errorOf(error))
      await this.stop()
      throw error
    }
  }

  async #start(): Promise<void> {
    this.#listenToMachine()
    const { machine, lease } = this.#deps
    const loseLease = (): void => this.#finish(this.#leaseLost())
    if (lease.lost.aborted) loseLease()
    lease.lost.addEventListener('abort', loseLease, { signal: this.#stopping.signal })
    this.#commit.protect({ type: 'begin' })
    await machine.cont()
    const primary = await this.#startPrimary()
    this.#primary = primary
    this.#listenTo(primary)
    this.#deps.emit('tracker', primary.tracker)
    this.#tellTracker(primary.tracker)
    this.#loop = this.#run(primary).catch((error: unknown) => {
      // Of a QEMU that is gone its exit tells more.
      if (!(error instanceof QmpLostError)) this.#fail(error)
    })
    this.#dialer.start()
  }

  async #startPrimary(): Promise<RamPrimary> {
    const { machine, clock, lease } = this.#deps
    const { vm, tier, compression } = this.#config
    const init = {
      name: `vm/${vm}`,
      fencing: lease.epoch,
      ...(tier && { tier }),
      ...(compression && { compression }),
    }
    const { signal } = this.#stopping
    const primary = await startPrimary(machine, clock, init, { signal })
    if (!signal.aborted) return primary
    await primary.stop()
    throw signal.reason
  }

  /** Others than the best make each epoch longer. */
  #tellTracker({ tier, rejected }: TrackerInfo): void {
    if (rejected.length === 0) return
    const process = `process ${this.#deps.machine.writerPid}`
    const reasons = Map.groupBy(rejected, ({ reason }) => reason.replaceAll(process, 'QEMU'))
    const why = [...reasons].map(
      ([reason, ones]) => `not by ${ones.map((one) => one.tier).join(', ')}: ${reason}`,
    )
    this.#lines.say(`dirty pages are found by tier ${tier}, ${why.join('; ')}`)
  }

  #listenToMachine(): void {
    const { machine, clock } = this.#deps
    const { signal } = this.#stopping
    machine.addEventListener(
      'console',
      ({ detail }) => {
        const { lines } = detail
        this.#deps.emit('console', { lines, at: clock.now() })
        this.#commit.print(lines)
      },
      { signal },
    )
    machine.addEventListener(
      'paused',
      () => {
        this.#pausedByOther(true)
      },
      { signal },
    )
    machine.addEventListener(
      'resumed',
      () => {
        this.#taker.resumed()
        this.#pausedByOther(false)
      },
      { signal },
    )
    machine.addEventListener(
      'reset',
      () => {
        this.#lines.say('the guest restarted')
        this.#deps.emit('reset', {})
      },
      { signal },
    )
    machine.addEventListener(
      'shutdown',
      () => {
        this.#isShutDown = true
        this.#commit.protect({ type: 'shutdown' })
      },
      { signal },
    )
    machine.addEventListener(
      'exited',
      ({ detail }) => {
        this.#fail(new GuestEndedError(`QEMU ended: ${detail.reason}`))
      },
      { signal },
    )
  }

  #listenTo(primary: RamPrimary): void {
    const { signal } = this.#stopping
    primary.addEventListener(
      'backup:phase',
      ({ detail: { id, phase } }) => {
        this.#deps.emit('backup', { id, phase })
        if (phase === 'in-sync') this.#lines.over(`backup ${id}`)
        else if (phase !== 'joining') this.#commit.protect({ type: 'left', backup: id })
        this.#wake()
      },
      { signal },
    )
    primary.addEventListener(
      'backup:lost',
      ({ detail: { id, reason } }) => {
        this.#deps.emit('backup', { id, phase: 'lost', reason: reason.message })
        this.#lines.say(`${id} is no backup any more: ${reason.message}`, `backup ${id}`)
        this.#commit.protect({ type: 'left', backup: id })
        this.#dialer.redial(id)
      },
      { signal },
    )
    primary.addEventListener(
      'acknowledged',
      ({ detail: { name, by } }) => {
        this.#commit.protect({ type: 'acknowledged', epoch: name.counter, by })
      },
      { signal },
    )
  }

  #backups(): readonly BackupStatus[] {
    return this.#primary?.backups() ?? []
  }

  /** Nodes that may be backups; connects to those that are new, gives up those that are no more. */
  setPeers(peers: readonly NodeId[]): void {
    this.#dialer.setPeers(peers)
    const removed = this.#backups().filter(({ id }) => !peers.includes(id))
    for (const { id } of removed) void this.#primary?.detach(id)
  }

  /** Page hashes with each epoch, which every backup compares: slow. */
  setHashing(isOn: boolean): void {
    this.#taker.isHashing = isOn
  }

  /** Nothing before its memory is tracked. */
  stats(): EndophyteStats | undefined {
    if (this.#primary === undefined) return undefined
    const { epochs, lastEpochBytes, sentBytes, pages, encodedBytes, backlogPages } =
      this.#primary.stats()
    const last = this.#lastEpoch
    return {
      epochs,
      epochBytes: lastEpochBytes,
      sentBytes,
      pages,
      encodedBytes,
      backlogPages,
      inSync: this.#commit.inSync,
      ...(this.#epochMs !== undefined && { epochMs: this.#epochMs }),
      ...(last && {
        pauseMs: last.pauseMs,
        lagMs: last.lagMs,
        dirtyPages: last.dirtyPages,
        lastAcknowledged: last.name,
      }),
    }
  }

  /** Stops the guest here, and gives the lease back once QEMU is gone. Idempotent. */
  async stop(): Promise<void> {
    this.#finish(undefined)
    await this.#closing
  }

  #leaseLost(): VmLeaseLostError {
    const { lease } = this.#deps
    const text = `lease ${lease.epoch} on ${this.#config.vm} is lost: the guest was stopped`
    return new VmLeaseLostError(text, { cause: lease.lost.reason })
  }

  /** Something broke. After the deadline that is what the guard does, and no cause of its own. */
  #fail(error: unknown): void {
    const { lease, clock } = this.#deps
    if (lease.lost.aborted || clock.now() >= lease.validUntil) this.#finish(this.#leaseLost())
    else this.#finish(errorOf(error))
  }

  #finish(reason: Error | undefined): void {
    if (this.#stopping.signal.aborted) return
    this.#stopping.abort(reason)
    this.#wake()
    this.#closing = Promise.all([
      // First of all the guest: everything else can wait.
      this.#endGuest(reason),
      // The loop may wait for an acknowledgement that only this ends.
      this.#primary?.stop().then(() => this.#loop),
    ])
  }

  async #endGuest(reason: Error | undefined): Promise<void> {
    const { machine, lease, clock } = this.#deps
    await machine.stop()
    await giveBack(lease, clock)
    this.#end.resolve(reason)
  }

  // ---- epochs ----------------------------------------------------------------------------------

  async #run(primary: RamPrimary): Promise<void> {
    const { clock } = this.#deps
    const { signal } = this.#stopping
    let due = clock.now()
    while (!signal.aborted) {
      await this.#until(due)
      if (signal.aborted) return
      if (this.#isShutDown || this.#isPausedByOther || this.#backups().length === 0) {
        await this.#woken()
        continue
      }
      due = clock.now() + this.#config.intervalMs
      await this.#precopy(primary)
      await this.#epoch(primary)
    }
  }

  /** While nobody is in sync dirty pages are first copied with the guest running. */
  async #precopy(primary: RamPrimary): Promise<void> {
    for (let round = 0; round < PRECOPY_ROUNDS_MAX; round++) {
      if (this.#stopping.signal.aborted) return
      if ((await primary.precopy()) <= JOIN_PAGES_MAX) return
    }
  }

  async #epoch(primary: RamPrimary): Promise<void> {
    const taken = await this.#taker.take(primary)
    const lines = this.#captured
    this.#captured = undefined
    if (taken === undefined) return
    const { checkpoint, measures } = taken
    if (lines) this.#commit.sealed(lines, checkpoint.name.counter)
    await this.#report(checkpoint, measures, primary)
  }

  async #report(
    { name, dirtyPages, acknowledged }: Checkpoint,
    measured: EpochMeasures,
    primary: RamPrimary,
  ): Promise<void> {
    let acknowledgement: Acknowledgement
    try {
      acknowledgement = await acknowledged
    } catch {
      return // stopped meanwhile
    }
    const { by, mismatchPages } = acknowledgement
    if (by.length === 0) return // nobody holds it: a backup is filled, or the last one was lost
    const report: EpochReport = {
      ...measured,
      name: formatName(name),
      dirtyPages,
      bytes: primary.stats().lastEpochBytes,
      lagMs: this.#deps.clock.now() - measured.startedAt - measured.pauseMs,
      acknowledgedBy: by,
      ...(mismatchPages !== undefined && { mismatchPages }),
    }
    if (this.#lastEpoch) this.#epochMs = report.startedAt - this.#lastEpoch.startedAt
    this.#lastEpoch = report
    this.#deps.emit('epoch', report)
  }

  #pausedByOther(isPaused: boolean): void {
    if (isPaused === this.#isPausedByOther) return
    this.#isPausedByOther = isPaused
    this.#lines.say(
      isPaused
        ? 'somebody paused the guest: no epochs until it is continued'
        : 'the guest was continued',
    )
    this.#wake()
  }

  // ---- waiting ---------------------------------------------------------------------------------

  /** Until `at`, or until the VM ends here. */
  async #until(at: MonotonicMs): Promise<void> {
    const { clock } = this.#deps
    while (clock.now() < at && !this.#stopping.signal.aborted) {
      const woken = this.#woken()
      const cancel = clock.schedule(at, () => {
        this.#wake()
      })
      await woken
      cancel()
    }
  }

  #woken(): Promise<void> {
    if (this.#stopping.signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
