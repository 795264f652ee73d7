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
import { PRECOPY_ROUNDS_MAX, RECONNECT_MS, UPDATE_RETRY_MS } from './constants.ts'
import { encodeDeviceState, encodeStateDifference } from './core/state-difference.ts'
import { ProtectionCore, type ProtectionEffect, type ProtectionInput } from './core/protection.ts'
import { decodeVmRecord, encodeVmRecord } from './core/vm-record.ts'
import { GuestEndedError, QemuPausedError, QmpLostError, VmLeaseLostError } from './errors.ts'
import type { EndophyteEvents, EpochReport, VmConfig } from './index.ts'
import type { Machine } from './machine.ts'

export interface ActiveDeps {
  readonly machine: Machine
  readonly lease: FencingLease
  readonly channels: BulkChannelProvider
  readonly clock: Clock
  emit<Name extends keyof EndophyteEvents>(name: Name, detail: EndophyteEvents[Name]): void
}

/** Console lines that came before the seal of an epoch, waiting for its release. */
interface HeldLines {
  readonly epoch: number
  readonly lines: readonly string[]
}

/** Runs the guest and replicates it: the epoch loop. */
export class ActiveVm {
  readonly #deps: ActiveDeps
  readonly #config: VmConfig
  readonly #protection: ProtectionCore
  readonly #primary: RamPrimary
  readonly #end = Promise.withResolvers<Error | undefined>()
  readonly #stopping = new AbortController()
  #peers: readonly NodeId[]
  readonly #dialing = new Set<NodeId>()
  #head: Uint8Array | undefined
  #lastState: Uint8Array | undefined
  #isHashing = false
  #isPausedByOther = false
  #isShutDown = false
  #wake: () => void = () => {}
  #isHolding = true
  #openLines: string[] = []
  #held: HeldLines[] = []
  #loop: Promise<void> = Promise.resolve()

  constructor(deps: ActiveDeps, config: VmConfig, record: Uint8Array) {
    this.#deps = deps
    this.#config = config
    this.#peers = config.peers
    this.#protection = new ProtectionCore(decodeVmRecord(record))
    const { machine, clock, lease } = deps
    this.#primary = createPrimary(
      { region: machine.region, clock },
      {
        name: `vm/${config.vm}`,
        fencing: lease.epoch,
        writer: { pid: machine.pid },
        ...(config.tier && { tier: config.tier }),
        ...(config.compression && { compression: config.compression }),
      },
    )
  }

  /** Settles when this VM does not run here any more: with the reason, or nothing after `stop`. */
  get ended(): Promise<Error | undefined> {
    return this.#end.promise
  }

  /** Lets the guest run, and replicates it from then on. */
  async start(): Promise<void> {
    const { machine, lease } = this.#deps
    const signal = this.#stopping.signal
    machine.addEventListener('console', ({ detail }) => { this.#print(detail.lines) }, { signal })
    machine.addEventListener('paused', () => { this.#pausedByOther(true) }, { signal })
    machine.addEventListener('resumed', () => { this.#pausedByOther(false) }, { signal })
    machine.addEventListener('reset', () => { this.#status('the guest restarted') }, { signal })
    machine.addEventListener('shutdown', () => {
      this.#isShutDown = true
      this.#protect({ type: 'shutdown' })
    }, { signal })
    machine.addEventListener('exited', ({ detail }) => {
      this.#fail(new GuestEndedError(`QEMU ended: ${detail.reason}`))
    }, { signal })
    const loseLease = (): void => {
      this.#finish(this.#leaseLost())
    }
    if (lease.lost.aborted) loseLease()
    lease.lost.addEventListener('abort', loseLease, { signal })
    this.#primary.addEventListener('backup:phase', ({ detail: { id, phase } }) => {
      this.#deps.emit('backup', { id, phase })
      if (phase !== 'in-sync' && phase !== 'joining') this.#protect({ type: 'left', backup: id })
      this.#wake()
    }, { signal })
    this.#primary.addEventListener('backup:lost', ({ detail: { id, reason } }) => {
      this.#deps.emit('backup', { id, phase: 'lost', reason: reason.message })
      this.#protect({ type: 'left', backup: id })
      void this.#dial(id)
    }, { signal })
    this.#primary.addEventListener('acknowledged', ({ detail: { name, by } }) => {
      this.#protect({ type: 'acknowledged', epoch: name.counter, by })
    }, { signal })
    this.#protect({ type: 'begin' })
    await machine.cont()
    await this.#primary.start()
    this.#deps.emit('tracker', this.#primary.tracker)
    this.#loop = this.#run().catch((error: unknown) => {
      // Of a QEMU that is gone its exit tells more.
      if (!(error instanceof QmpLostError)) this.#fail(error)
    })
    this.setPeers(this.#peers)
  }

  /** Nodes that may be backups; connects to those that are new. */
  setPeers(peers: readonly NodeId[]): void {
    this.#peers = peers
    for (const peer of peers) void this.#dial(peer)
  }

  /** Page hashes with each epoch, which every backup compares: slow. */
  setHashing(isOn: boolean): void {
    this.#isHashing = isOn
  }

  /** Stops the guest here. Releases the lease only if QEMU is surely gone, and it is. */
  async stop(): Promise<void> {
    this.#finish(undefined)
    // The loop may wait for an acknowledgement that only this ends.
    await this.#primary.stop()
    await this.#loop
    await this.#deps.machine.stop()
  }

  #leaseLost(): VmLeaseLostError {
    const { lease } = this.#deps
    const text = `lease ${lease.epoch} on ${this.#config.vm} is lost: the guest was stopped`
    return new VmLeaseLostError(text, { cause: lease.lost.reason })
  }

  /** Something broke. After the deadline that is what the guard does, and no cause of its own. */
  #fail(error: unknown): void {
    const { lease, clock } = this.#deps
    if (clock.now() >= lease.validUntil) this.#finish(this.#leaseLost())
    else this.#finish(error instanceof Error ? error : new Error(String(error)))
  }

  #finish(reason: Error | undefined): void {
    if (this.#stopping.signal.aborted) return
    this.#stopping.abort(reason)
    this.#wake()
    // First of all the guest: everything else can wait.
    void this.#deps.machine.stop().then(() => { this.#end.resolve(reason) })
  }

  // ---- backups ---------------------------------------------------------------------------------

  /** Tries until the peer is attached, is no peer any more, or this VM ends here. */
  async #dial(peer: NodeId): Promise<void> {
    if (this.#dialing.has(peer)) return
    this.#dialing.add(peer)
    const { signal } = this.#stopping
    try {
      while (!signal.aborted && this.#peers.includes(peer) && !this.#isAttached(peer)) {
        try {
          const { vm } = this.#config
          const purpose = `ram/${vm}/${this.#deps.lease.epoch}`
          this.#primary.attach(await this.#deps.channels.open(peer, purpose, { signal }))
        } catch {
          // Unreachable, or not ready yet: it is asked again, as long as it is a peer.
          await this.#sleep(RECONNECT_MS)
        }
      }
    } finally {
      this.#dialing.delete(peer)
    }
  }

  #isAttached(peer: NodeId): boolean {
    return this.#primary.backups().some(({ id }) => id === peer)
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
    const { machine, clock } = this.#deps
    if (this.#stopping.signal.aborted) return
    this.#head ??= await machine.saveHead()
    const capture = await this.#primary.beginEpoch()
    // What `beginEpoch` waited for may have taken long.
    if (this.#stopping.signal.aborted || this.#isShutDown || this.#isPausedByOther) {
      capture.abandon()
      return
    }
    const isHashed = this.#isHashing
    const startedAt = clock.now()
    const { stopped, state } = machine.stopAndSaveState()
    // Both are awaited below; this keeps an early failure from being an unhandled rejection.
    state.catch(() => {})
    try {
      await stopped
    } catch (error) {
      capture.abandon()
      if (!(error instanceof QemuPausedError)) throw error
      if (!this.#isShutDown) this.#pausedByOther(true)
      return
    }
    await capture.capture()
    const tail = await state
    const tailPages = await capture.captureTail()
    if (isHashed) await capture.hash()
    const lines = this.#openLines
    this.#openLines = []
    try {
      await machine.cont()
    } catch (error) {
      // Somebody paused the guest meanwhile, or it shut down: the epoch is good all the same.
      if (!(error instanceof QemuPausedError)) throw error
      if (!this.#isShutDown) this.#pausedByOther(true)
    }
    const pauseMs = clock.now() - startedAt
    const full = encodeDeviceState({ head: this.#head, tail })
    const difference = this.#lastState && encodeStateDifference(this.#lastState, tail)
    this.#lastState = tail
    const checkpoint = await capture.seal({ full, ...(difference && { difference }) })
    this.#hold(checkpoint.name.counter, lines)
    await this.#report(checkpoint, { startedAt, pauseMs, tailPages, isHashed })
  }

  async #report(
    checkpoint: Checkpoint,
    measured: Pick<EpochReport, 'startedAt' | 'pauseMs' | 'tailPages' | 'isHashed'>,
  ): Promise<void> {
    const { name, dirtyPages } = checkpoint
    let acknowledgement: Acknowledgement
    try {
      acknowledgement = await checkpoint.acknowledged
    } catch {
      return // stopped meanwhile
    }
    const { by, mismatchPages } = acknowledgement
    this.#deps.emit('epoch', {
      ...measured,
      name: formatName(name),
      dirtyPages,
      bytes: this.#primary.stats().lastEpochBytes,
      lagMs: this.#deps.clock.now() - measured.startedAt - measured.pauseMs,
      acknowledgedBy: by,
      ...(mismatchPages !== undefined && { mismatchPages }),
    })
  }

  #pausedByOther(isPaused: boolean): void {
    this.#isPausedByOther = isPaused
    this.#status(isPaused
      ? 'somebody paused the guest: no epochs until it is continued'
      : 'the guest was continued')
    this.#wake()
  }

  // ---- output and record -----------------------------------------------------------------------

  #print(lines: readonly string[]): void {
    const at = this.#deps.clock.now()
    this.#deps.emit('console', { lines, at })
    if (this.#isHolding) this.#openLines.push(...lines)
    else this.#deps.emit('output', { lines })
  }

  #hold(epoch: number, lines: readonly string[]): void {
    if (lines.length === 0) return
    // Opened or released while this epoch was being encoded.
    if (this.#isHolding) this.#held.push({ epoch, lines })
    else this.#deps.emit('output', { lines })
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
        this.#isHolding = true
        break
      case 'release': {
        const released = this.#held.filter(({ epoch }) => epoch <= effect.epoch)
        this.#held = this.#held.filter(({ epoch }) => epoch > effect.epoch)
        for (const { lines } of released) this.#deps.emit('output', { lines })
        break
      }
      case 'open': {
        this.#isHolding = false
        const lines = [...this.#held.flatMap((held) => held.lines), ...this.#openLines]
        this.#held = []
        this.#openLines = []
        if (lines.length > 0) this.#deps.emit('output', { lines })
        break
      }
      case 'in-sync':
        this.#deps.emit('in-sync', { members: effect.members })
        break
      case 'stopped':
        void this.#ended()
        break
    }
  }

  /** The record says so: nobody restarts the guest from a checkpoint. */
  async #ended(): Promise<void> {
    // First, or the death of QEMU would pass for the reason.
    this.#finish(new GuestEndedError('the guest has shut down'))
    await this.#deps.machine.stop()
    await this.#deps.lease.release().catch(() => {}) // it runs out by itself
  }

  async #update(record: Uint8Array): Promise<void> {
    try {
      await this.#deps.lease.update(record, { signal: this.#stopping.signal })
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      const text = error instanceof Error ? error.message : String(error)
      this.#status(`the record was not updated, trying again: ${text}`)
      await this.#sleep(UPDATE_RETRY_MS)
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
      const cancel = clock.schedule(at, () => { this.#wake() })
      await woken
      cancel()
    }
  }

  async #sleep(ms: number): Promise<void> {
    const { clock } = this.#deps
    const { signal } = this.#stopping
    await new Promise<void>((resolve) => {
      const cancel = clock.schedule(clock.now() + ms, resolve)
      signal.addEventListener('abort', () => { cancel(); resolve() }, { once: true })
      if (signal.aborted) resolve()
    })
  }

  #woken(): Promise<void> {
    if (this.#stopping.signal.aborted) return Promise.resolve()
    return new Promise((resolve) => { this.#wake = resolve })
  }
}
