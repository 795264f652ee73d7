import type { Socket } from 'node:net'
import { LeaseFrameError } from '../errors.ts'
import { FrameCutter, decodeLeaseClientFrame, encodeLeaseServerFrame } from './wire.ts'
import type { LeaseClientFrame, LeaseServerFrame } from './wire.ts'

/** Unanswered requests and watches of one connection. */
const REQUESTS_MAX = 512
/** Unread answers: who does not read them is cut off. */
const UNSENT_BYTES_MAX = 2 ** 20

interface LeaseConnectionHandlers {
  /** False: read no more until {@link LeaseConnection.resume}. */
  readonly onFrame: (frame: LeaseClientFrame) => boolean
  /** Once, with an error if the peer broke the rules. */
  readonly onClose: (error?: LeaseFrameError) => void
}

/** The server's end of one client's socket. */
export class LeaseConnection {
  /** The client's ids of what is unanswered, with the keys that the server gave them. */
  readonly keys: Map<number, number> = new Map()
  readonly #socket: Socket
  readonly #handlers: LeaseConnectionHandlers
  readonly #cutter = new FrameCutter()
  #error: LeaseFrameError | undefined

  constructor(socket: Socket, handlers: LeaseConnectionHandlers) {
    this.#socket = socket
    this.#handlers = handlers
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('error', () => undefined) // 'close' follows
    socket.on('close', () => handlers.onClose(this.#error))
  }

  send(frame: LeaseServerFrame): void {
    if (this.#socket.destroyed) return
    this.#socket.write(encodeLeaseServerFrame(frame))
    if (this.#socket.writableLength > UNSENT_BYTES_MAX) {
      this.#fail(new LeaseFrameError('the client does not read its answers'))
    }
  }

  resume(): void {
    this.#socket.resume()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    try {
      for (const body of this.#cutter.push(chunk)) {
        if (this.#socket.destroyed) return
        const frame = decodeLeaseClientFrame(body)
        if (!('cancel' in frame)) this.#checkNew(frame.id)
        if (!this.#handlers.onFrame(frame)) this.#socket.pause()
      }
    } catch (error) {
      if (!(error instanceof LeaseFrameError)) throw error
      this.#fail(error)
    }
  }

  #checkNew(id: number): void {
    if (this.keys.has(id)) throw new LeaseFrameError(`id ${id} is in use`)
    if (this.keys.size >= REQUESTS_MAX) {
      throw new LeaseFrameError(`more than ${REQUESTS_MAX} requests at once`)
    }
  }

  #fail(error: LeaseFrameError): void {
    this.#error = error
    this.#socket.destroy()
  }
}
