/** Lines for people about things that may go on for long: each is said once, until it changes. */
export class StatusLines {
  readonly #emit: (text: string) => void
  /** What was said last, by topic. */
  readonly #said = new Map<string, string>()

  constructor(emit: (text: string) => void) {
    this.#emit = emit
  }

  /**
   * @param topic - what it is about, one of few; a line that comes again under its topic is not
   * said again before {@link over}. None: said in any case.
   */
  say(text: string, topic?: string): void {
    if (topic !== undefined) {
      if (this.#said.get(topic) === text) return
      this.#said.set(topic, text)
    }
    this.#emit(text)
  }

  /** It has passed: if it comes again it is said again. */
  over(topic: string): void {
    this.#said.delete(topic)
  }
}
