import { type EndophyteEvents, type EpochReport, parseGuestTick } from '@mycelium/endophyte'
import type { MonotonicMs, NodeId } from '@mycelium/interface'
import type { HostCommand, HostConfig, HostEvent } from '../internal/host-protocol.ts'
import { Child, type Program } from './child.ts'

/** Lines of status kept. */
const STATUS_LINES_MAX = 100

/** A host process of the demo: what it told, kept, and what somebody waits for. */
export class HostProcess {
  readonly id: NodeId
  readonly #child: Child<HostCommand, HostEvent>
  readonly #changed = new Set<() => void>()
  qemuPid = 0
  vcpuThreads: readonly number[] = []
  accelerator = ''
  /** Of the last lease granted to it. */
  leaseEpoch = 0n
  tracker = ''
  isReady = false
  /** Its backups, as committed. */
  inSync: readonly NodeId[] = []
  takeover: EndophyteEvents['takeover'] | undefined
  ending: { readonly text: string; readonly at?: MonotonicMs } | undefined
  lastEpoch: EpochReport | undefined
  lastApplied: EndophyteEvents['applied'] | undefined
  /** Counter of the guest, as this copy printed it. */
  firstTick: { readonly tick: number; readonly at: MonotonicMs } | undefined
  lastTick: { readonly tick: number; readonly at: MonotonicMs } | undefined
  guestErrors = 0
  /** What its guest printed last. */
  lastLine: string | undefined
  refusal: string | undefined
  /** What it said of itself, in order; the last {@link STATUS_LINES_MAX}. */
  readonly status: string[] = []
  /** Its backups that are attached, and how far they are. */
  readonly backups: Map<NodeId, EndophyteEvents['backup']['phase']> = new Map()

  constructor(
    config: HostConfig,
    onEvent?: (host: HostProcess, event: HostEvent) => void,
    program?: Program,
  ) {
    this.id = config.self
    this.#child = new Child(
      ['host'],
      (event) => {
        this.#note(event)
        onEvent?.(this, event)
        for (const check of [...this.#changed]) check()
      },
      program,
    )
    this.#child.tell({ type: 'configure', config })
    void this.#child.exited.then(() => {
      this.ending ??= { text: this.#child.complaint || 'the host process is gone' }
      for (const check of [...this.#changed]) check()
    })
  }

  get pid(): number {
    return this.#child.pid
  }

  tell(command: HostCommand): void {
    this.#child.tell(command)
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  stop(): Promise<void> {
    return this.#child.stop()
  }

  get exited(): Promise<void> {
    return this.#child.exited
  }

  /**
   * Waits until `find` finds something. Rejects if the host ends before, with what it said, and
   * when `signal` aborts: with its reason, or, if that is time, with `what` did not come.
   */
  until<T>(
    find: () => T | undefined | false,
    signal: AbortSignal,
    what = 'what was waited for',
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        this.#changed.delete(check)
        signal.removeEventListener('abort', check)
        act()
      }
      const check = (): void => {
        const found = find()
        if (found !== undefined && found !== false)
          settle(() => {
            resolve(found)
          })
        else if (signal.aborted)
          settle(() => {
            reject(this.#late(signal.reason as Error, what))
          })
        else if (this.ending !== undefined) {
          const { text } = this.ending
          settle(() => {
            reject(new Error(`${this.id}: ${text}`))
          })
        }
      }
      this.#changed.add(check)
      signal.addEventListener('abort', check)
      check()
    })
  }

  #late(reason: Error, what: string): Error {
    if (reason.name !== 'TimeoutError') return reason
    const line = this.lastLine === undefined ? 'nothing' : `'${this.lastLine}'`
    return new Error(`${this.id}: ${what} did not come in time; its guest printed last: ${line}`)
  }

  #note(event: HostEvent): void {
    switch (event.type) {
      case 'ready':
        this.isReady = true
        break
      case 'ended':
        this.ending = { text: event.text ?? 'stopped' }
        break
      case 'event':
        this.#noteEvent(event)
        break
    }
  }

  #noteEvent(event: Extract<HostEvent, { type: 'event' }>): void {
    switch (event.name) {
      case 'machine':
        this.qemuPid = event.detail.pid
        this.vcpuThreads = event.detail.vcpuThreads
        this.accelerator = event.detail.accelerator
        break
      case 'tracker':
        this.tracker = event.detail.tier
        break
      case 'in-sync':
        this.inSync = event.detail.members
        break
      case 'epoch':
        this.lastEpoch = event.detail
        break
      case 'applied':
        this.lastApplied = event.detail
        break
      case 'takeover':
        this.takeover = event.detail
        break
      case 'refused-takeover':
        this.refusal = event.detail.text
        break
      case 'console':
        this.#noteConsole(event.detail)
        break
      case 'status':
        this.status.push(event.detail.text)
        if (this.status.length > STATUS_LINES_MAX) this.status.shift()
        break
      case 'backup':
        this.backups.set(event.detail.id, event.detail.phase)
        break
      case 'lease':
        this.leaseEpoch = event.detail.epoch
        break
      case 'output':
      case 'reset':
        break
    }
  }

  #noteConsole({ lines, at }: EndophyteEvents['console']): void {
    for (const line of lines) {
      this.lastLine = line
      const report = parseGuestTick(line)
      if (report === undefined) continue
      this.lastTick = { tick: report.tick, at }
      this.firstTick ??= this.lastTick
      this.guestErrors = Math.max(this.guestErrors, report.errors)
    }
  }
}
