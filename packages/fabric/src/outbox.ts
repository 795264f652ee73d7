import type { Connection, Stream } from '@libp2p/interface'

/** A frame that waits for one peer. */
export interface OutgoingFrame {
  readonly bytes: Uint8Array
  /** Answers do not count: each holds the place of a request that is handled. */
  readonly isCounted: boolean
  /** False when its turn comes: it is not sent. */
  readonly isWanted?: () => boolean
  /** Handed to the stream: from now on it may arrive. */
  readonly onWritten?: (stream: Stream) => void
  /** It will surely not arrive. */
  readonly onDropped?: (why: string) => void
}

export interface OutboxDeps {
  /** The connection in use now. */
  readonly connection: () => Connection | undefined
  /** Opens a stream and agrees on the version. */
  readonly open: (connection: Connection) => Promise<Stream>
  /** A stream broke, what was written to it may be lost. Not told of one closed in order. */
  readonly onBroken: (stream: Stream) => void
  readonly now: () => number
}

export interface OutboxConfig {
  readonly queueBytesMax: number
  readonly queueMax: number
  readonly retryMs: number
}

/** Frames to one peer, in order, on one stream at a time, which is opened when one is needed. */
export class Outbox {
  readonly #deps: OutboxDeps
  readonly #config: OutboxConfig
  readonly #queue: OutgoingFrame[] = []
  #counted = 0
  #countedBytes = 0
  #stream: Stream | undefined
  /** The connection on which a stream is being opened. */
  #opening: Connection | undefined
  #isFull = false
  #retryAt = -Infinity
  #isClosed = false

  constructor(deps: OutboxDeps, config: OutboxConfig) {
    this.#deps = deps
    this.#config = config
  }

  /** Protocol id of the stream in use. */
  get protocol(): string | undefined {
    return this.#stream?.protocol
  }

  /** Whether a stream was refused just now. */
  get isHeldOff(): boolean {
    return this.#deps.now() < this.#retryAt
  }

  hasRoom(bytes: number): boolean {
    const { queueBytesMax, queueMax } = this.#config
    return this.#counted < queueMax && this.#countedBytes + bytes <= queueBytesMax
  }

  /** The caller has asked for room. */
  push(frame: OutgoingFrame): void {
    if (this.#isClosed) {
      frame.onDropped?.('not connected')
      return
    }
    this.#queue.push(frame)
    this.#count(frame, 1)
    this.#pump()
  }

  /** Another connection is used: the stream goes on there. What was written may still arrive. */
  move(): void {
    const stream = this.#stream
    this.#stream = undefined
    if (stream !== undefined) closeQuietly(stream)
    this.#pump()
  }

  /** The peer is down. */
  close(): void {
    this.#isClosed = true
    this.#dropAll('the connection ended')
    const stream = this.#stream
    this.#stream = undefined
    stream?.abort(new Error('the peer is down'))
  }

  #pump(): void {
    if (this.#isClosed || this.#queue.length === 0) return
    const stream = this.#stream
    if (stream === undefined) {
      const connection = this.#deps.connection()
      if (connection !== undefined && this.#opening !== connection) void this.#open(connection)
      return
    }
    while (!this.#isFull && stream === this.#stream) {
      const frame = this.#queue.shift()
      if (frame === undefined) return
      this.#count(frame, -1)
      if (frame.isWanted?.() !== false) this.#write(stream, frame)
    }
  }

  #write(stream: Stream, frame: OutgoingFrame): void {
    try {
      frame.onWritten?.(stream)
      // False: taken, but no more until `drain`.
      this.#isFull = !stream.send(frame.bytes)
    } catch (error) {
      // Closed or broken: its event may still be on the way.
      this.#break(stream, error)
    }
  }

  /** Never rejects. */
  async #open(connection: Connection): Promise<void> {
    this.#opening = connection
    try {
      const stream = await this.#deps.open(connection)
      if (this.#isClosed || this.#deps.connection() !== connection) {
        closeQuietly(stream)
      } else {
        this.#adopt(stream, connection)
      }
    } catch {
      const isUsed = this.#deps.connection() === connection
      if (isUsed && connection.status === 'open') this.#fail('the peer takes no such stream')
    }
    if (this.#opening === connection) this.#opening = undefined
    this.#pump()
  }

  #adopt(stream: Stream, connection: Connection): void {
    this.#stream = stream
    this.#isFull = false
    stream.addEventListener('drain', () => {
      if (this.#stream !== stream) return
      this.#isFull = false
      this.#pump()
    })
    stream.addEventListener('close', ({ error }) => {
      const isUsed = this.#stream === stream
      this.#break(stream, error)
      // Afterwards its connection knows whether it has ended as well, or only the stream.
      if (isUsed) queueMicrotask(() => this.#goOn(connection))
    })
  }

  #break(stream: Stream, error: unknown): void {
    const isUsed = this.#stream === stream
    if (isUsed) this.#stream = undefined
    if (!isUsed && error === undefined) return // closed in order, by `move`
    this.#deps.onBroken(stream)
  }

  /** With its connection gone there is another one soon, or the peer is down. */
  #goOn(connection: Connection): void {
    if (this.#isClosed || this.#stream !== undefined) return
    const isRefused = this.#deps.connection() === connection && connection.status === 'open'
    if (isRefused) this.#fail('the stream broke')
    else this.#pump()
  }

  /** No new try at once: a peer that refuses would be asked without end. */
  #fail(why: string): void {
    this.#retryAt = this.#deps.now() + this.#config.retryMs
    this.#dropAll(why)
  }

  #dropAll(why: string): void {
    for (const frame of this.#queue.splice(0)) {
      this.#count(frame, -1)
      frame.onDropped?.(why)
    }
  }

  #count({ bytes, isCounted }: OutgoingFrame, sign: 1 | -1): void {
    if (!isCounted) return
    this.#counted += sign
    this.#countedBytes += sign * bytes.length
  }
}

function closeQuietly(stream: Stream): void {
  stream.close().catch((error: unknown) => {
    stream.abort(error instanceof Error ? error : new Error('closed', { cause: error }))
  })
}
