import { OrderError } from './errors.ts'
import type { Checkpoint, EpochAttachment, EpochCapture } from './index.ts'
import type { PageSource } from './page-source.ts'

/** What was captured of one epoch. */
export interface Captured {
  readonly attachment: EpochAttachment | undefined
  /** Page hashes of the memory. */
  readonly hashes: Uint8Array | undefined
}

interface Owner {
  readonly source: PageSource
  seal(captured: Captured): Promise<Checkpoint>
  /** Another epoch may begin. Called once. */
  ended(): void
}

/** One epoch in its making: over after `seal`, `abandon` or the failure of any step. */
export class EpochSteps implements EpochCapture {
  readonly #owner: Owner
  #hashes: Uint8Array | undefined
  #isOver = false

  constructor(owner: Owner) {
    this.#owner = owner
  }

  precopy(): Promise<number> {
    return this.capture()
  }

  capture(): Promise<number> {
    return this.#run(() => this.#owner.source.capture())
  }

  captureTail(): Promise<number> {
    return this.capture()
  }

  hash(): Promise<void> {
    return this.#run(async () => {
      this.#hashes = await this.#owner.source.hashRegion()
    })
  }

  async seal(attachment?: EpochAttachment): Promise<Checkpoint> {
    try {
      return await this.#run(() => this.#owner.seal({ attachment, hashes: this.#hashes }))
    } finally {
      this.abandon()
    }
  }

  abandon(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#owner.ended()
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isOver) throw new OrderError('this epoch is sealed or abandoned')
    try {
      return await work()
    } catch (error) {
      this.abandon()
      throw error
    }
  }
}
