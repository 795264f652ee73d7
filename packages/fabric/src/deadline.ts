import type { Clock } from '@mycelium/interface'

/** A signal that aborts after `ms`, by the clock of the fabric. Dispose to cancel its timer. */
export class Deadline implements Disposable {
  readonly #controller = new AbortController()
  readonly #cancel: () => void

  constructor(clock: Clock, ms: number) {
    this.#cancel = clock.schedule(clock.now() + ms, () => {
      this.#controller.abort(new DOMException(`not within ${ms} ms`, 'TimeoutError'))
    })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  [Symbol.dispose](): void {
    this.#cancel()
  }
}
