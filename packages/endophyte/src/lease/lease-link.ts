import type { Duplex } from 'node:stream'
import type { Clock } from '@mycelium/interface'
import { LeaseFrameError } from '../errors.ts'
import { FrameCutter, decodeLeaseServerFrame, encodeLeaseClientFrame } from './wire.ts'
import type { LeaseClientFrame, LeaseServerFrame } from './wire.ts'

/** A lease server that restarts is back within some tens of milliseconds. */
const BACKOFF_MS_MIN = 5
/** Longer waits would eat the time to live of a lease that is still held. */
const BACKOFF_MS_MAX = 250
/** What a server that does not read may leave here; then the connection is given up. */
const UNSENT_BYTES_MAX = 2 ** 20

interface LeaseLinkHandlers {
  readonly onUp: () => void
  readonly onDown: () => void
  readonly onFrame: (frame: LeaseServerFrame) => void
}

/** A connection to the lease server that comes back by itself while it is wanted. */
export class LeaseLink {
  readonly #clock: Clock
  readonly #connect: () => Duplex
  readonly #handlers: LeaseLinkHandlers
  #stream: Duplex | undefined
  #isUp = false
  #isWanted = false
  #backoffMs = BACKOFF_MS_MIN
  #cancelRetry: (() => void) | undefined
  #closed: Promise<void> = Promise.resolve()

  constructor(clock: Clock, connect: () => Duplex, handlers: LeaseLinkHandlers) {
    this.#clock = clock
    this.#connect = connect
    this.#handlers = handlers
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Connects, and keeps connected until {@link LeaseLink.close}. */
  want(): void {
    this.#isWanted = true
    if (this.#stream === undefined && this.#cancelRetry === undefined) this.#open()
  }

  /** Nothing is queued while the link is down: what matters is sent again when it is up. */
  send(frame: LeaseClientFrame): void {
    if (!this.#isUp || this.#stream === undefined) return
    this.#stream.write(encodeLeaseClientFrame(frame))
    if (this.#stream.writableLength > UNSENT_BYTES_MAX) this.#stream.destroy()
  }

  async close(): Promise<void> {
    this.#isWanted = false
    this.#cancelRetry?.()
    this.#stream?.destroy()
    await this.#closed
  }

  #open(): void {
    const stream = this.#connect()
    const cutter = new FrameCutter()
    this.#stream = stream
    stream.once('connect', () => {
      this.#isUp = true
      this.#handlers.onUp()
    })
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const body of cutter.push(chunk)) {
          if (stream.destroyed) return
          this.#handlers.onFrame(decodeLeaseServerFrame(body))
          this.#backoffMs = BACKOFF_MS_MIN
        }
      } catch (error) {
        if (!(error instanceof LeaseFrameError)) throw error
        stream.destroy()
      }
    })
    stream.on('error', () => undefined) // 'close' follows
    this.#closed = new Promise((resolve) => {
      stream.once('close', () => {
        this.#onClose()
        resolve()
      })
    })
    stream.once('end', () => stream.destroy())
  }

  #onClose(): void {
    const wasUp = this.#isUp
    this.#isUp = false
    this.#stream = undefined
    if (this.#isWanted) {
      const at = this.#clock.now() + this.#backoffMs
      this.#backoffMs = Math.min(2 * this.#backoffMs, BACKOFF_MS_MAX)
      this.#cancelRetry = this.#clock.schedule(at, () => {
        this.#cancelRetry = undefined
        this.#open()
      })
    }
    if (wasUp) this.#handlers.onDown()
  }
}
