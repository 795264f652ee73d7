import type { Clock, FencingLease, NodeId } from '@mycelium/interface'
import { UPDATE_RETRY_MS } from './constants.ts'
import { type CapturedLines, OutputGate } from './core/output-gate.ts'
import { ProtectionCore, type ProtectionEffect, type ProtectionInput } from './core/protection.ts'
import { decodeVmRecord, encodeVmRecord } from './core/vm-record.ts'
import type { EndophyteEvents } from './index.ts'
import { sleep } from './sleep.ts'
import type { StatusLines } from './status-lines.ts'

export interface OutputCommitDeps {
  readonly lease: FencingLease
  readonly clock: Clock
  readonly lines: StatusLines
  /** No update of the record begins after its abort. */
  readonly signal: AbortSignal
  emit<Name extends keyof EndophyteEvents>(name: Name, detail: EndophyteEvents[Name]): void
  /** The record says that the guest has shut down. */
  stopped(): void
}

/** The I/O shell around {@link ProtectionCore} and {@link OutputGate}: record, output, and who is
 * in sync. */
export class OutputCommit {
  readonly #deps: OutputCommitDeps
  readonly #protection: ProtectionCore
  readonly #output = new OutputGate()
  /** Nobody could take over, and that was said. */
  #isUnprotected = false

  /** @param record - as committed with the grant of the lease */
  constructor(deps: OutputCommitDeps, record: Uint8Array) {
    this.#deps = deps
    this.#protection = new ProtectionCore(decodeVmRecord(record))
  }

  /** As committed. */
  get inSync(): readonly NodeId[] {
    return this.#protection.inSync
  }

  protect(input: ProtectionInput): void {
    for (const effect of this.#protection.step(input)) this.#perform(effect)
  }

  /** What the guest printed. */
  print(lines: readonly string[]): void {
    const wasFull = this.#output.isFull
    this.#show(this.#output.print(lines))
    if (this.#output.isFull && !wasFull) {
      this.#deps.lines.say('too much output waits for the backups: what comes now is dropped')
    }
  }

  /** The guest stands still: what it has printed is part of this epoch. */
  capture(): CapturedLines {
    return this.#output.capture()
  }

  /** The captured epoch has got its number. */
  sealed(captured: CapturedLines, epoch: number): void {
    this.#show(this.#output.sealed(captured, epoch))
  }

  #show(lines: readonly string[]): void {
    if (lines.length > 0) this.#deps.emit('output', { lines })
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
        this.#tellProtection(effect.members)
        break
      case 'stopped':
        this.#deps.stopped()
        break
    }
  }

  /** That a guest is protected at first is what everybody expects. */
  #tellProtection(members: readonly NodeId[]): void {
    const isUnprotected = members.length === 0
    if (isUnprotected === this.#isUnprotected) return
    this.#isUnprotected = isUnprotected
    this.#deps.lines.say(
      isUnprotected
        ? 'unprotected: nobody else holds the guest, which is lost if this host dies'
        : `protected again: ${members.join(', ')} holds the guest`,
    )
  }

  async #update(record: Uint8Array): Promise<void> {
    const { lease, clock, signal, lines } = this.#deps
    try {
      await lease.update(record, { signal })
    } catch (error) {
      if (signal.aborted) return
      const text = error instanceof Error ? error.message : String(error)
      lines.say(`the record was not updated, trying again: ${text}`, 'record')
      await sleep(clock, UPDATE_RETRY_MS, signal)
      this.protect({ type: 'update-failed' })
      return
    }
    lines.over('record')
    this.protect({ type: 'updated' })
  }
}
