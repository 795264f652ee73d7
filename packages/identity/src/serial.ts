/** Runs one thing after the other, in the order of the calls. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve()

  run<T>(body: () => Promise<T>): Promise<T> {
    const result = this.#last.then(body)
    // Whoever called hears of a failure; those behind go on.
    this.#last = result.catch(() => undefined)
    return result
  }
}
