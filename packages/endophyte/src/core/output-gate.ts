/**
 * Lines that a guest printed and that nobody may see yet, without I/O. They belong to the epoch
 * that was captured after they came, and leave in order.
 */

/** What may wait: some seconds of a console at full speed. What comes on top is dropped. */
export const HELD_BYTES_MAX: number = 4 * 1024 * 1024

/** Beside its characters a line costs about so much memory. */
const LINE_OVERHEAD_BYTES = 64

/** The lines of one epoch, from its capture until it is sealed. */
export interface CapturedLines {
  epoch: number | undefined
  readonly lines: readonly string[]
}

const bytesOf = (lines: readonly string[]): number =>
  // UTF-16 in the worst case.
  lines.reduce((sum, line) => sum + 2 * line.length + LINE_OVERHEAD_BYTES, 0)

/** What a method returns are the lines that may be seen now. */
export class OutputGate {
  #isHolding = true
  #releasedEpoch = 0
  #current: string[] = []
  #captured: CapturedLines[] = []
  #heldBytes = 0
  #isFull = false

  /** Lines were dropped, and none has left since. */
  get isFull(): boolean {
    return this.#isFull
  }

  print(lines: readonly string[]): readonly string[] {
    if (!this.#isHolding) return lines
    for (const line of lines) {
      const bytes = bytesOf([line])
      // None after one that is missing, or nobody could tell where it is.
      if (this.#isFull || this.#heldBytes + bytes > HELD_BYTES_MAX) {
        this.#isFull = true
        break
      }
      this.#heldBytes += bytes
      this.#current.push(line)
    }
    return []
  }

  hold(): void {
    this.#isHolding = true
  }

  /** The guest stands still: what it has printed is part of this epoch. */
  capture(): CapturedLines {
    const captured: CapturedLines = { epoch: undefined, lines: this.#current }
    this.#current = []
    if (captured.lines.length > 0) this.#captured.push(captured)
    return captured
  }

  /** The captured epoch has got its number; it may have been released already. */
  sealed(captured: CapturedLines, epoch: number): readonly string[] {
    captured.epoch = epoch
    return this.release(this.#releasedEpoch)
  }

  /** Everything up to the seal of `epoch` may be seen. */
  release(epoch: number): readonly string[] {
    this.#releasedEpoch = epoch
    const isFree = (one: CapturedLines): boolean => one.epoch !== undefined && one.epoch <= epoch
    const lines = this.#captured.filter(isFree).flatMap((one) => one.lines)
    this.#captured = this.#captured.filter((one) => !isFree(one))
    if (lines.length > 0) this.#isFull = false
    this.#heldBytes -= bytesOf(lines)
    return lines
  }

  /** Everything may be seen, and what comes passes. */
  open(): readonly string[] {
    this.#isHolding = false
    const lines = [...this.#captured.flatMap((one) => one.lines), ...this.#current]
    this.#captured = []
    this.#current = []
    this.#isFull = false
    this.#heldBytes = 0
    return lines
  }
}
