import { createWriteStream, type WriteStream } from 'node:fs'
import type { HostEvent } from '../internal/host-protocol.ts'

/** Bytes that may wait for a slow disk; what comes on top is dropped and counted. */
export const WAITING_BYTES_MAX = 4 * 1024 * 1024

/** Everything that the hosts tell, a line of JSON each. The demo goes on without it. */
export class EventLog {
  readonly #stream: WriteStream
  #isBroken = false
  #dropped = 0

  /** @param onFailure - called once with one line if the file cannot be written any more */
  constructor(path: string, onFailure: (line: string) => void) {
    this.#stream = createWriteStream(path, { flags: 'w', mode: 0o600 })
    this.#stream.on('error', (error) => {
      if (this.#isBroken) return
      this.#isBroken = true
      onFailure(`the log ${path} ends here, the demo goes on: ${error.message}`)
    })
  }

  write(host: string, event: HostEvent): void {
    if (this.#isBroken) return
    if (this.#stream.writableLength > WAITING_BYTES_MAX) {
      this.#dropped++
      return
    }
    this.#stream.write(`${JSON.stringify({ host, ...event }, withBigints)}\n`)
  }

  async close(): Promise<void> {
    if (this.#isBroken) return
    if (this.#dropped > 0) this.#stream.write(`${JSON.stringify({ dropped: this.#dropped })}\n`)
    await new Promise<void>((resolve) => {
      this.#stream.once('error', () => {
        resolve()
      })
      this.#stream.end(() => {
        resolve()
      })
    })
  }
}

function withBigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value
}
