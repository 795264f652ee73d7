/** Runs asynchronous work one after the other, in the order of the calls. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve()

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    // The failure is the caller's; what follows runs all the same.
    this.#last = result.catch(() => {})
    return result
  }
}
