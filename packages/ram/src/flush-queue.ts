import type { Session } from './core/session.ts'
import type { SendTicket } from './send-ticket.ts'

interface Flush {
  /** Messages of the class that must have been acknowledged. */
  readonly control: number
  readonly bulk: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** Calls of `flush` that wait until what was accepted before them is delivered. */
export class FlushQueue {
  readonly #session: Session<SendTicket>
  readonly #flushes = new Set<Flush>()

  constructor(session: Session<SendTicket>) {
    this.#session = session
  }

  async wait(signal: AbortSignal | undefined): Promise<void> {
    const { control, bulk } = this.#session.progress
    await new Promise<void>((resolve, reject) => {
      const settled = (): void => {
        this.#flushes.delete(flush)
        signal?.removeEventListener('abort', abort)
      }
      const abort = (): void => {
        settled()
        reject(signal?.reason as Error)
      }
      const flush: Flush = {
        control: control.accepted,
        bulk: bulk.accepted,
        resolve: () => {
          settled()
          resolve()
        },
        reject: (error) => {
          settled()
          reject(error)
        },
      }
      signal?.addEventListener('abort', abort)
      this.#flushes.add(flush)
      this.settle()
    })
  }

  /** Call when something may have been acknowledged. */
  settle(): void {
    if (this.#flushes.size === 0) return
    const { control, bulk } = this.#session.progress
    for (const flush of [...this.#flushes]) {
      if (control.acknowledged >= flush.control && bulk.acknowledged >= flush.bulk) flush.resolve()
    }
  }

  reject(error: Error): void {
    for (const flush of [...this.#flushes]) flush.reject(error)
  }
}
