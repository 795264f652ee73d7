import { OrderError } from './errors.ts'
import type { Checkpoint, EpochAttachment, EpochCapture } from './index.ts'
import type { PageSource } from './page-source.ts'

/** What was captured of one epoch. */
export interface Captured {
  readonly dirtyPages: number
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
  #dirtyPages = 0
  #hashes: Uint8Array | undefined
  #isOver = false

  constructor(owner: Owner) {
    this.#owner = owner
  }

  capture(): Promise<number> {
    return this.#run(async () => {
      const pages = await this.#owner.source.capture()
      this.#dirtyPages += pages
      return pages
    })
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
      return await this.#run(() => {
        const dirtyPages = this.#dirtyPages
        return this.#owner.seal({ dirtyPages, attachment, hashes: this.#hashes })
      })
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
