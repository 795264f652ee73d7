/** A longer line of the guest is given in pieces of this length. */
export const CONSOLE_LINE_BYTES_MAX = 4_096

const NEWLINE = 0x0a

/** Cuts what a guest prints into lines, without their ends (`\r\n` from a serial port). Bytes that
 * are no UTF-8 become U+FFFD: a guest may print anything. */
export class ConsoleLines {
  readonly #decoder = new TextDecoder('utf-8')
  readonly #line = new Uint8Array(CONSOLE_LINE_BYTES_MAX)
  #length = 0

  /** @returns the lines that are complete now */
  push(bytes: Uint8Array): string[] {
    const lines: string[] = []
    for (const byte of bytes) {
      if (byte !== NEWLINE) this.#line[this.#length++] = byte
      if (byte === NEWLINE || this.#length === CONSOLE_LINE_BYTES_MAX) lines.push(this.#take())
    }
    return lines
  }

  #take(): string {
    const text = this.#decoder.decode(this.#line.subarray(0, this.#length))
    this.#length = 0
    return text.replace(/\r+$/, '')
  }
}
