import type {
  BulkChannelProvider,
  Clock,
  FencingLease,
  MonotonicMs,
  NodeId,
} from '@mycelium/interface'
import {
  type Acknowledgement,
  type Checkpoint,
  createPrimary,
  formatName,
  JOIN_PAGES_MAX,
  type RamPrimary,
} from '@mycelium/ram'
import { PRECOPY_ROUNDS_MAX, UPDATE_RETRY_MS } from './constants.ts'
import { type CapturedLines, OutputGate } from './core/output-gate.ts'
import { ProtectionCore, type ProtectionEffect, type ProtectionInput } from './core/protection.ts'
import { decodeVmRecord, encodeVmRecord } from './core/vm-record.ts'
import { GuestEndedError, QmpLostError, VmLeaseLostError } from './errors.ts'
import { type EpochMeasures, EpochTaker } from './epoch-taker.ts'
import type { EndophyteEvents, EndophyteStats, EpochReport, VmConfig } from './index.ts'
import { giveBack } from './lease/give-back.ts'
import type { Machine } from './machine.ts'
import { PeerDialer } from './peer-dialer.ts'
import { sleep } from './sleep.ts'

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
  readonly #protection: ProtectionCore
  readonly #primary: RamPrimary
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
  readonly #output = new OutputGate()
  #closing: Promise<unknown> = Promise.resolve()
  #loop: Promise<void> = Promise.resolve()

  constructor(deps: ActiveDeps, config: VmConfig, record: Uint8Array) {
    this.#deps = deps
    this.#config = config
    this.#protection = new ProtectionCore(decodeVmRecord(record))
    const { machine, clock, lease } = deps
    this.#primary = createPrimary(
      { region: machine.region, clock },
      {
        name: `vm/${config.vm}`,
        fencing: lease.epoch,
        ...(machine.writerPid !== undefined && { writer: { pid: machine.writerPid } }),
        ...(config.tier && { tier: config.tier }),
        ...(config.compression && { compression: config.compression }),
      },
    )
    this.#taker = this.#makeTaker()
    this.#dialer = new PeerDialer(
      {
        channels: deps.channels,
        clock,
        purpose: `ram/${config.vm}/${lease.epoch}`,
        signal: this.#stopping.signal,
        isAttached: (peer) => this.#primary.backups().some(({ id }) => id === peer),
        attach: (channel) => {
          this.#primary.attach(channel)
        },
      },
      config.peers,
    )
  }

  #makeTaker(): EpochTaker {
    const { machine, clock } = this.#deps
    return new EpochTaker({
      machine,
      primary: this.#primary,
      clock,
      mayTake: () => !this.#stopping.signal.aborted && !this.#isShutDown && !this.#isPausedByOther,
      captured: () => {
        this.#captured = this.#output.capture()
      },
      paused: () => {
        if (!this.#isShutDown) this.#pausedByOther(true)
      },
      torn: () => {
        this.#status('somebody continued the guest during an epoch, which is given up')
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
    this.#listenToPrimary()
    const { machine, lease } = this.#deps
    const loseLease = (): void => this.#finish(this.#leaseLost())
    if (lease.lost.aborted) loseLease()
    lease.lost.addEventListener('abort', loseLease, { signal: this.#stopping.signal })
    this.#protect({ type: 'begin' })
    await machine.cont()
    await this.#primary.start()
    this.#deps.emit('tracker', this.#primary.tracker)
    this.#loop = this.#run().catch((error: unknown) => {
      // Of a QEMU that is gone its exit tells more.
      if (!(error instanceof QmpLostError)) this.#fail(error)
    })
    this.#dialer.start()
  }

  #listenToMachine(): void {
    const { machine } = this.#deps
    const { signal } = this.#stopping
    machine.addEventListener(
      'console',
      ({ detail }) => {
        this.#print(detail.lines)
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
        this.#status('the guest restarted')
        this.#deps.emit('reset', {})
      },
      { signal },
    )
    machine.addEventListener(
      'shutdown',
      () => {
        this.#isShutDown = true
        this.#protect({ type: 'shutdown' })
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

  #listenToPrimary(): void {
    const { signal } = this.#stopping
    this.#primary.addEventListener(
      'backup:phase',
      ({ detail: { id, phase } }) => {
        this.#deps.emit('backup', { id, phase })
        if (phase !== 'in-sync' && phase !== 'joining') this.#protect({ type: 'left', backup: id })
        this.#wake()
      },
      { signal },
    )
    this.#primary.addEventListener(
      'backup:lost',
      ({ detail: { id, reason } }) => {
        this.#deps.emit('backup', { id, phase: 'lost', reason: reason.message })
        this.#protect({ type: 'left', backup: id })
        this.#dialer.redial(id)
      },
      { signal },
    )
    this.#primary.addEventListener(
      'acknowledged',
      ({ detail: { name, by } }) => {
        this.#protect({ type: 'acknowledged', epoch: name.counter, by })
      },
      { signal },
    )
  }

  /** Nodes that may be backups; connects to those that are new, gives up those that are no more. */
  setPeers(peers: readonly NodeId[]): void {
    this.#dialer.setPeers(peers)
    const removed = this.#primary.backups().filter(({ id }) => !peers.includes(id))
    for (const { id } of removed) void this.#primary.detach(id)
  }

  /** Page hashes with each epoch, which every backup compares: slow. */
  setHashing(isOn: boolean): void {
    this.#taker.isHashing = isOn
  }

  stats(): EndophyteStats {
    const { epochs, lastEpochBytes, sentBytes, pages, backlogPages } = this.#primary.stats()
    const last = this.#lastEpoch
    return {
      epochs,
      epochBytes: lastEpochBytes,
      sentBytes,
      pages,
      backlogPages,
      inSync: this.#protection.inSync,
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
      this.#primary.stop().then(() => this.#loop),
    ])
  }

  async #endGuest(reason: Error | undefined): Promise<void> {
    const { machine, lease, clock } = this.#deps
    await machine.stop()
    await giveBack(lease, clock)
    this.#end.resolve(reason)
  }

  // ---- epochs ----------------------------------------------------------------------------------

  async #run(): Promise<void> {
    const { clock } = this.#deps
    const { signal } = this.#stopping
    let due = clock.now()
    while (!signal.aborted) {
      await this.#until(due)
      if (signal.aborted) return
      if (this.#isShutDown || this.#isPausedByOther || this.#primary.backups().length === 0) {
        await this.#woken()
        continue
      }
      due = clock.now() + this.#config.intervalMs
      await this.#precopy()
      await this.#epoch()
    }
  }

  /** While nobody is in sync dirty pages are first copied with the guest running. */
  async #precopy(): Promise<void> {
    for (let round = 0; round < PRECOPY_ROUNDS_MAX; round++) {
      if (this.#stopping.signal.aborted) return
      if ((await this.#primary.precopy()) <= JOIN_PAGES_MAX) return
    }
  }

  async #epoch(): Promise<void> {
    const taken = await this.#taker.take()
    const lines = this.#captured
    this.#captured = undefined
    if (taken === undefined) return
    const { checkpoint, measures } = taken
    if (lines) this.#show(this.#output.sealed(lines, checkpoint.name.counter))
    await this.#report(checkpoint, measures)
  }

  async #report(
    { name, dirtyPages, acknowledged }: Checkpoint,
    measured: EpochMeasures,
  ): Promise<void> {
    let acknowledgement: Acknowledgement
    try {
      acknowledgement = await acknowledged
    } catch {
      return // stopped meanwhile
    }
    const { by, mismatchPages } = acknowledgement
    const report: EpochReport = {
      ...measured,
      name: formatName(name),
      dirtyPages,
      bytes: this.#primary.stats().lastEpochBytes,
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
    this.#status(
      isPaused
        ? 'somebody paused the guest: no epochs until it is continued'
        : 'the guest was continued',
    )
    this.#wake()
  }

  // ---- output and record -----------------------------------------------------------------------

  #print(lines: readonly string[]): void {
    const at = this.#deps.clock.now()
    this.#deps.emit('console', { lines, at })
    const wasFull = this.#output.isFull
    this.#show(this.#output.print(lines))
    if (this.#output.isFull && !wasFull) {
      this.#status('too much output waits for the backups: what comes now is dropped')
    }
  }

  #show(lines: readonly string[]): void {
    if (lines.length > 0) this.#deps.emit('output', { lines })
  }

  #protect(input: ProtectionInput): void {
    for (const effect of this.#protection.step(input)) this.#perform(effect)
  }

  #perform(effect: ProtectionEffect): void {
    switch (effect.type) {
      case 'update':
        void this.#update(encodeVmRecord(effect.record))
        break
      case 'hold':
        this.#output.hold()
        break
      case 'release':
        this.#show(this.#output.release(effect.epoch))
        break
      case 'open':
        this.#show(this.#output.open())
        break
      case 'in-sync':
        this.#deps.emit('in-sync', { members: effect.members })
        break
      case 'stopped':
        // The record says so: nobody restarts the guest from a checkpoint.
        this.#finish(new GuestEndedError('the guest has shut down'))
        break
    }
  }

  async #update(record: Uint8Array): Promise<void> {
    try {
      await this.#deps.lease.update(record, { signal: this.#stopping.signal })
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      const text = error instanceof Error ? error.message : String(error)
      this.#status(`the record was not updated, trying again: ${text}`)
      await sleep(this.#deps.clock, UPDATE_RETRY_MS, this.#stopping.signal)
      this.#protect({ type: 'update-failed' })
      return
    }
    this.#protect({ type: 'updated' })
  }

  #status(text: string): void {
    this.#deps.emit('status', { text })
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
