import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { ChannelDecoder, type WireFrame } from './channel-wire.ts'
import { giveBack } from './give-back.ts'

/**
 * Bytes handed to the stream and not yet taken by the system. More: fewer wake-ups. Less: control
 * waits for less bulk. Four fragments keep a unix socket at full speed.
 */
const UNWRITTEN_BYTES_MAX: number = 512 * 1024

export interface LinkListener {
  /** What it holds is read before this returns: it lies in memory that is used again. */
  frame(frame: WireFrame): void
  /** The stream takes more again. */
  writable(): void
  /** Once: the stream is gone, or the peer sent nonsense. Nothing more is read or written. */
  gone(why: string): void
}

const NOBODY: LinkListener = { frame: () => {}, writable: () => {}, gone: () => {} }

/** Frames over one Duplex, with its back-pressure. */
export class ChannelLink {
  readonly #duplex: Duplex
  readonly #decoder = new ChannelDecoder()
  #listener: LinkListener = NOBODY
  #unwrittenBytes = 0
  #gone = false
  readonly #closed: Promise<void>

  /** Begins to read at once: call {@link listen} in the same turn. */
  constructor(duplex: Duplex) {
    this.#duplex = duplex
    this.#closed = new Promise((resolve) => {
      if (duplex.closed) resolve()
      else duplex.once('close', resolve)
    })
    let why = 'the connection was closed'
    duplex.on('error', (error) => {
      why = error.message
    })
    duplex.on('close', () => this.#lose(why))
    duplex.on('end', () => {
      this.#lose('the peer closed the connection')
      duplex.destroy()
    })
    duplex.on('data', (chunk: Uint8Array) => this.#read(chunk))
    if (duplex.destroyed) queueMicrotask(() => this.#lose(why))
  }

  /** Settles when the stream has let go of everything that was written to it. */
  get closed(): Promise<void> {
    return this.#closed
  }

  get writable(): boolean {
    return this.#unwrittenBytes < UNWRITTEN_BYTES_MAX && !this.#gone
  }

  /** From now on another listener is told. */
  listen(listener: LinkListener): void {
    this.#listener = listener
  }

  /** Several writes until {@link uncork} go out with one system call. */
  cork(): void {
    this.#duplex.cork()
  }

  uncork(): void {
    this.#duplex.uncork()
  }

  /** `parts` are read in place until they are written or {@link closed} settles. */
  write(parts: readonly Uint8Array[]): void {
    let bytes = 0
    for (const part of parts) bytes += part.byteLength
    this.#unwrittenBytes += bytes
    const last = parts.length - 1
    const written = (): void => {
      const full = !this.writable
      this.#unwrittenBytes -= bytes
      if (full && this.writable) this.#listener.writable()
    }
    parts.forEach((part, index) => {
      this.#duplex.write(part, index === last ? written : undefined)
    })
  }

  /** Writes what is under way, then closes. The listener hears nothing more. */
  end(): void {
    this.#gone = true
    this.#duplex.end()
  }

  /** At once. The listener hears nothing more. */
  destroy(): void {
    this.#gone = true
    this.#duplex.destroy()
  }

  #read(chunk: Uint8Array): void {
    if (this.#gone) return
    try {
      this.#decoder.push(chunk, (frame) => {
        if (!this.#gone) this.#listener.frame(frame)
      })
      // A socket reads each chunk into memory of its own, 64 KiB; other streams may pass on what
      // was written to them.
      if (this.#duplex instanceof Socket) giveBack(chunk)
    } catch (error) {
      this.#lose(error instanceof Error ? error.message : String(error))
      this.#duplex.destroy()
    }
  }

  #lose(why: string): void {
    if (this.#gone) return
    this.#gone = true
    this.#listener.gone(why)
  }
}
