import type { MessageStream } from '@libp2p/interface'
import type { Clock } from '@mycelium/interface'
import { EXCHANGE_BYTES_MAX, EXCHANGE_TIMEOUT_MS } from './constants.ts'
import { addFrameHeader, createFrameReader } from './core/frames.ts'
import { decodeServiceMessage, encodeServiceMessage } from './core/service-messages.ts'
import type { ServiceMessage } from './core/service-messages.ts'
import { ExchangeError } from './errors.ts'

/** Messages of one exchange, within its bounds of bytes and time. Only one `read` at a time. */
export interface FramedStream {
  /** @throws {ExchangeError} `ERR_IDENTITY_EXCHANGE`: no message came, or another kind of one */
  read<Kind extends ServiceMessage['kind']>(
    ...kinds: readonly Kind[]
  ): Promise<Extract<ServiceMessage, { kind: Kind }>>
  /** Resolves when the stream has room again. */
  write(message: ServiceMessage): Promise<void>
}

/**
 * Runs an exchange on a stream and closes it, in an orderly way if `body` resolves.
 *
 * @throws {ExchangeError} `ERR_IDENTITY_EXCHANGE`: the peer did not keep to it, or was too slow
 */
export async function exchange<T>(
  clock: Clock,
  stream: MessageStream,
  body: (framed: FramedStream) => Promise<T>,
): Promise<T> {
  const framed = new StreamFrames(stream)
  const cancel = clock.schedule(clock.now() + EXCHANGE_TIMEOUT_MS, () =>
    stream.abort(new ExchangeError('the exchange took too long')),
  )
  try {
    const result = await body(framed)
    await stream.close()
    return result
  } catch (error) {
    const failure =
      error instanceof Error ? error : new ExchangeError('the stream ended', { cause: error })
    stream.abort(failure)
    throw failure
  } finally {
    cancel()
  }
}

class StreamFrames implements FramedStream {
  readonly #stream: MessageStream
  readonly #reader = createFrameReader()
  readonly #chunks: AsyncIterator<
    Uint8Array | { readonly byteLength: number; subarray(): Uint8Array }
  >
  #bytes = 0

  constructor(stream: MessageStream) {
    this.#stream = stream
    this.#chunks = stream[Symbol.asyncIterator]()
  }

  async read<Kind extends ServiceMessage['kind']>(
    ...kinds: readonly Kind[]
  ): Promise<Extract<ServiceMessage, { kind: Kind }>> {
    const message = decodeServiceMessage(await this.#frame())
    if ((kinds as readonly string[]).includes(message.kind)) {
      return message as Extract<ServiceMessage, { kind: Kind }>
    }
    const why = message.kind === 'denied' ? `: ${message.reason}` : ''
    throw new ExchangeError(`got ${message.kind}${why} in place of ${kinds.join(' or ')}`)
  }

  async write(message: ServiceMessage): Promise<void> {
    if (this.#stream.send(addFrameHeader(encodeServiceMessage(message)))) return
    await this.#stream.onDrain()
  }

  async #frame(): Promise<Uint8Array> {
    for (;;) {
      const frame = this.#reader.next()
      if (frame === 'malformed') throw new ExchangeError('a frame that is too long, or empty')
      if (frame !== undefined) return frame
      const { value, done } = await this.#chunks.next()
      if (done === true) throw new ExchangeError('the stream ended')
      this.#bytes += value.byteLength
      if (this.#bytes > EXCHANGE_BYTES_MAX) throw new ExchangeError('too many bytes')
      this.#reader.push(value.subarray())
    }
  }
}
