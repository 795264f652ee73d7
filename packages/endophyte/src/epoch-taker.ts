import type { Clock } from '@mycelium/interface'
import type { Checkpoint, RamPrimary } from '@mycelium/ram'
import { encodeDeviceState, encodeStateDifference } from './core/state-difference.ts'
import { QemuPausedError } from './errors.ts'
import type { EpochReport } from './index.ts'
import type { Machine } from './machine.ts'

export interface EpochTakerDeps {
  readonly machine: Machine
  readonly clock: Clock
  /** Asked again right before the guest is stopped. */
  mayTake(): boolean
  /** Called while the guest stands still, when everything of the epoch is captured. */
  captured(): void
  /** The guest was not continued, because somebody else has paused it or it has shut down. */
  paused(): void
  /** Somebody continued the guest while it was captured: there is no epoch. */
  torn(): void
}

/** What was seen of an epoch on its way out of the machine. */
export type EpochMeasures = Pick<EpochReport, 'startedAt' | 'pauseMs' | 'tailPages' | 'isHashed'>

export interface TakenEpoch {
  readonly checkpoint: Checkpoint
  readonly measures: EpochMeasures
}

/** Takes epochs of a machine: stop, capture, continue, send. */
export class EpochTaker {
  readonly #deps: EpochTakerDeps
  #head: Uint8Array | undefined
  #lastState: Uint8Array | undefined
  /** Times that somebody else continued the guest. */
  #resumptions = 0
  /** Page hashes with each epoch. */
  isHashing = false

  constructor(deps: EpochTakerDeps) {
    this.#deps = deps
  }

  /** Somebody else continued the guest. */
  resumed(): void {
    this.#resumptions++
  }

  /** One epoch; nothing if it could not be taken. */
  async take(primary: RamPrimary): Promise<TakenEpoch | undefined> {
    const { machine, clock } = this.#deps
    if (!this.#deps.mayTake()) return undefined
    try {
      this.#head ??= await machine.saveHead()
    } catch (error) {
      this.#expectPaused(error)
      return undefined
    }
    const capture = await primary.beginEpoch()
    // Most dirty pages are copied while the guest runs: it then stands still for few.
    await capture.precopy()
    // What was waited for may have taken long.
    if (!this.#deps.mayTake()) {
      capture.abandon()
      return undefined
    }
    const isHashed = this.isHashing
    const resumptions = this.#resumptions
    const startedAt = clock.now()
    const { stopped, state } = machine.stopAndSaveState()
    // Both are awaited below; this keeps an early failure from being an unhandled rejection.
    state.catch(() => {})
    try {
      await stopped
    } catch (error) {
      capture.abandon()
      this.#expectPaused(error)
      return undefined
    }
    await capture.capture()
    const tail = await state
    const tailPages = await capture.captureTail()
    if (isHashed) await capture.hash()
    if (resumptions !== this.#resumptions) {
      // The guest ran while it was copied: this is no image of one moment.
      capture.abandon()
      this.#deps.torn()
      return undefined
    }
    this.#deps.captured()
    // If somebody paused the guest meanwhile, or it shut down, the epoch is good all the same.
    await machine.cont().catch((error: unknown) => {
      this.#expectPaused(error)
    })
    const measures = { startedAt, pauseMs: clock.now() - startedAt, tailPages, isHashed }
    const checkpoint = await capture.seal(this.#attachment(this.#head, tail))
    return { checkpoint, measures }
  }

  #attachment(
    head: Uint8Array,
    tail: Uint8Array,
  ): { readonly full: Uint8Array; readonly difference?: Uint8Array } {
    const last = this.#lastState
    this.#lastState = tail
    const full = encodeDeviceState({ head, tail })
    return { full, ...(last && { difference: encodeStateDifference(last, tail) }) }
  }

  #expectPaused(error: unknown): void {
    if (!(error instanceof QemuPausedError)) throw error
    this.#deps.paused()
  }
}
