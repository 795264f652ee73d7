/** A guest without QEMU: a counter in a region of this process, printed tick by tick. */
import { randomFillSync } from 'node:crypto'
import { createRegion, PAGE_BYTES, type Region } from '@mycelium/ram'
import { TypedEventEmitter } from 'main-event'
import { QemuClosedError, QemuPausedError } from '../src/errors.ts'
import type { HeldLease } from '../src/lease/held-lease.ts'
import type { Machine, MachineEvents, StoppedState } from '../src/machine.ts'

type Events = { [Name in keyof MachineEvents]: CustomEvent<MachineEvents[Name]> }

export const PAGES = 64
const HEAD = new TextEncoder().encode('head of a machine without QEMU')
const TICK_MS = 2

/**
 * At each tick the guest counts on, writes the count to both ends of a page, and prints it. Device
 * state is the count. A guest that was loaded compares both with what it finds.
 */
export class MemoryMachine extends TypedEventEmitter<Events> implements Machine {
  readonly region: Region = createRegion({ bytes: PAGES * PAGE_BYTES, name: 'memory-machine' })
  readonly pid = process.pid
  readonly writerPid = undefined
  readonly vcpuThreads = []
  readonly shimSocketFd = undefined
  readonly accelerator = 'none'
  count = 0
  /** Pages that are not what the count says, when the state was loaded. */
  errors = 0
  isBound = false
  onSaveHead: () => void = () => {}
  /** Awaited whenever the state is saved. */
  onSave: () => Promise<void> | undefined = () => undefined
  #isScribbling = false
  #phase: 'new' | 'paused' | 'running' | 'paused by other' | 'gone' = 'new'
  #timer: NodeJS.Timeout | undefined

  get isGone(): boolean {
    return this.#phase === 'gone'
  }

  get isRegionClosed(): boolean {
    try {
      return this.region.fd < 0
    } catch {
      return true
    }
  }

  async start(): Promise<void> {
    await Promise.resolve()
    if (this.#phase !== 'new') throw new QemuClosedError('the machine is gone')
    this.#phase = 'paused'
  }

  /** As the guard does: the guest ends with its lease. */
  bind(lease: HeldLease): void {
    this.isBound = true
    lease.lost.addEventListener('abort', () => this.die('its lease was lost'))
  }

  stopAndSaveState(): StoppedState {
    const stopped = this.#stopForSave()
    const state = stopped.then(async () => {
      await this.onSave()
      this.#check()
      return new Uint8Array(new Float64Array([this.count]).buffer)
    })
    stopped.catch(() => {})
    state.catch(() => {})
    return { stopped, state }
  }

  async #stopForSave(): Promise<void> {
    await Promise.resolve()
    this.#check()
    if (this.#phase === 'paused by other') throw new QemuPausedError()
    this.#phase = 'paused'
  }

  async cont(): Promise<void> {
    await Promise.resolve()
    this.#check()
    if (this.#phase === 'paused by other') throw new QemuPausedError()
    this.#phase = 'running'
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS)
  }

  async saveHead(): Promise<Uint8Array> {
    await Promise.resolve()
    this.onSaveHead()
    this.#check()
    if (this.#phase === 'paused by other') throw new QemuPausedError()
    return HEAD
  }

  async load(head: Uint8Array, state: Uint8Array): Promise<void> {
    await Promise.resolve()
    this.#check()
    if (Buffer.compare(head, HEAD) !== 0) throw new TypeError('another head was loaded')
    this.count = new Float64Array(state.slice().buffer)[0] ?? Number.NaN
    for (let page = 0; page < PAGES; page++) {
      // The last count that fell on this page; its first and its last word carry it.
      const last = this.count - ((((this.count - page) % PAGES) + PAGES) % PAGES)
      const expected = Math.max(last, 0)
      if (this.#words(page).some((word) => word !== expected)) this.errors++
    }
  }

  async stop(): Promise<void> {
    await Promise.resolve()
    this.die('SIGKILL')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    this.region.close()
  }

  // ---- what happens to it ----------------------------------------------------------------------

  die(reason: string): void {
    if (this.#phase === 'gone') return
    this.#phase = 'gone'
    clearInterval(this.#timer)
    this.safeDispatchEvent('exited', { detail: { reason } })
  }

  pauseByOther(): void {
    this.#phase = 'paused by other'
    this.safeDispatchEvent('paused', { detail: {} })
  }

  resumeByOther(): void {
    this.#phase = 'running'
    this.safeDispatchEvent('resumed', { detail: {} })
  }

  shutDown(): void {
    this.print('last words')
    this.#phase = 'paused by other'
    this.safeDispatchEvent('shutdown', { detail: { cause: 'guest-shutdown' } })
  }

  reset(): void {
    this.safeDispatchEvent('reset', { detail: {} })
  }

  print(line: string): void {
    this.safeDispatchEvent('console', { detail: { lines: [line] } })
  }

  /** At its next tick the guest writes noise into every page, between the counts. */
  scribble(): void {
    this.#isScribbling = true
  }

  #tick(): void {
    if (this.#phase !== 'running') return
    if (this.#isScribbling) {
      this.#isScribbling = false
      for (let page = 0; page < PAGES; page++) {
        const start = page * PAGE_BYTES + 8
        randomFillSync(this.region.buffer, start, PAGE_BYTES - 16)
      }
    }
    const count = ++this.count
    const page = count % PAGES
    const view = this.#view(page)
    view.setFloat64(0, count)
    view.setFloat64(PAGE_BYTES - 8, count)
    this.print(`tick ${count}`)
  }

  #words(page: number): readonly number[] {
    const view = this.#view(page)
    return [view.getFloat64(0), view.getFloat64(PAGE_BYTES - 8)]
  }

  #view(page: number): DataView {
    const { buffer, byteOffset } = this.region.buffer
    return new DataView(buffer, byteOffset + page * PAGE_BYTES, PAGE_BYTES)
  }

  #check(): void {
    if (this.#phase === 'new' || this.#phase === 'gone') {
      throw new QemuClosedError(`the machine is ${this.#phase}`)
    }
  }
}
