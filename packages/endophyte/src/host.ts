import type { NodeId } from '@mycelium/interface'
import { TypedEventEmitter } from 'main-event'
import { ActiveVm } from './active.ts'
import { BackupVm, type TakenOver } from './backup.ts'
import { decodeVmRecord, encodeVmRecord } from './core/vm-record.ts'
import { GuestEndedError, NotInSyncError } from './errors.ts'
import type {
  EndophyteEvents,
  EndophyteHost,
  EndophyteHostDeps,
  EndophyteStats,
  VmConfig,
} from './index.ts'
import { giveBack } from './lease/give-back.ts'
import type { Machine } from './machine.ts'

type Events = { [Name in keyof EndophyteEvents]: CustomEvent<EndophyteEvents[Name]> }

/** What makes the machine is not the host's business. */
export type VmHostDeps = Omit<EndophyteHostDeps, 'machine'>

/** One VM on one host, in whatever role it has at the moment. */
export class VmHost extends TypedEventEmitter<Events> implements EndophyteHost {
  readonly #deps: VmHostDeps
  readonly #config: VmConfig
  readonly #createMachine: (role: 'run' | 'wait') => Machine
  readonly #end = Promise.withResolvers<Error | undefined>()
  readonly #stopping = new AbortController()
  /** Settle, never reject, when nothing more is begun. */
  #begun: Promise<void> | undefined
  #continued: Promise<void> = Promise.resolve()
  #machine: Machine | undefined
  #active: ActiveVm | undefined
  #backup: BackupVm | undefined
  #peers: readonly NodeId[]
  #isHashing = false

  constructor(
    deps: VmHostDeps,
    config: VmConfig,
    createMachine: (role: 'run' | 'wait') => Machine,
  ) {
    super()
    this.#deps = deps
    this.#createMachine = createMachine
    this.#config = config
    this.#peers = config.peers
  }

  get ended(): Promise<Error | undefined> {
    return this.#end.promise
  }

  async startActive(): Promise<void> {
    await this.#begin(() => this.#startActive())
  }

  async startBackup(): Promise<void> {
    await this.#begin(() => this.#startBackup())
  }

  async #begin(start: () => Promise<void>): Promise<void> {
    this.#stopping.signal.throwIfAborted()
    if (this.#begun !== undefined) throw new TypeError('a host is started once')
    const started = start()
    this.#begun = started.catch(() => {})
    await started
  }

  async #startActive(): Promise<void> {
    const { leases, clock } = this.#deps
    const { vm, ttlMs } = this.#config
    const { signal } = this.#stopping
    const record = encodeVmRecord({ state: 'running', inSync: [] })
    const view = await leases.read(vm, { signal })
    // Its memory is with its backups: a start from nothing would throw it away.
    if (view.record.length > 0 && decodeVmRecord(view.record).state === 'running') {
      throw new NotInSyncError(
        `${vm} runs or has died under lease epoch ${view.epoch}: it is not ` +
          'started from nothing a second time',
      )
    }
    const lease = await leases.acquire(
      vm,
      { ttlMs, record, expectVersion: view.version, wait: false },
      { signal },
    )
    this.emit('lease', { epoch: lease.epoch, at: clock.now() })
    let machine: Machine | undefined
    try {
      signal.throwIfAborted()
      machine = this.#createMachine('run')
      this.#machine = machine
      machine.bind(lease)
      await machine.start()
      this.#tellMachine(machine)
      await this.#activate({ lease, record })
    } catch (error) {
      await machine?.stop()
      await giveBack(lease, clock)
      throw error
    }
  }

  #tellMachine({ pid, accelerator, vcpuThreads }: Machine): void {
    this.emit('machine', { pid, accelerator, vcpuThreads })
  }

  async #startBackup(): Promise<void> {
    const machine = this.#createMachine('wait')
    this.#machine = machine
    const { leases, channels, clock } = this.#deps
    const emit = this.emit.bind(this)
    const backup = new BackupVm({ machine, leases, channels, clock, emit }, this.#config)
    this.#backup = backup
    await backup.start()
    this.#tellMachine(machine)
    this.#continued = this.#continue(backup)
  }

  setPeers(peers: readonly NodeId[]): void {
    this.#peers = peers
    this.#active?.setPeers(peers)
  }

  stats(): EndophyteStats | undefined {
    return this.#active?.stats()
  }

  setHashing(isOn: boolean): void {
    this.#isHashing = isOn
    this.#active?.setHashing(isOn)
  }

  async stop(): Promise<void> {
    this.#stopping.abort(stopped())
    await this.#active?.stop()
    await this.#backup?.stop()
    // What still starts fails by this.
    await this.#machine?.stop()
    await this.#begun
    await this.#continued
    await this.#machine?.[Symbol.asyncDispose]()
    this.#end.resolve(undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  emit<Name extends keyof EndophyteEvents>(name: Name, detail: EndophyteEvents[Name]): void {
    this.safeDispatchEvent(name, { detail })
  }

  /** From backup to active, if it comes to that. */
  async #continue(backup: BackupVm): Promise<void> {
    const outcome = await backup.outcome
    if (outcome instanceof Error) {
      await backup.stop()
      this.#settle(outcome)
      return
    }
    try {
      await this.#activate(outcome)
    } catch (error) {
      await this.#machine?.stop()
      await giveBack(outcome.lease, this.#deps.clock)
      this.#settle(error instanceof Error ? error : new Error(String(error)))
    }
  }

  /** The guest is ready to run, and the lease is ours. */
  async #activate({ lease, record }: TakenOver): Promise<void> {
    this.#stopping.signal.throwIfAborted()
    const machine = this.#machine
    if (machine === undefined) throw new TypeError('there is no machine')
    const { channels, clock } = this.#deps
    const emit = this.emit.bind(this)
    const active = new ActiveVm(
      { machine, lease, channels, clock, emit },
      { ...this.#config, peers: this.#peers },
      record,
    )
    this.#active = active
    active.setHashing(this.#isHashing)
    void active.ended.then((reason) => {
      this.#settle(reason)
    })
    await active.start()
  }

  /** Whatever ended while it was being stopped ended by that. */
  #settle(reason: Error | undefined): void {
    if (!this.#stopping.signal.aborted) this.#end.resolve(reason)
  }
}

function stopped(): GuestEndedError {
  return new GuestEndedError('the host was stopped')
}
