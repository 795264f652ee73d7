import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import { HEAD_BYTES } from './constants.ts'
import { FrameError } from './errors.ts'
import type { RamMessage } from './wire.ts'

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)

/** The fastest level: the sender's processor is what an epoch waits for. */
const ZSTD_OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

/**
 * A chunk with its payload compressed and room for its head, on a thread of libuv's pool.
 *
 * @returns nothing if that would not make it smaller, or there is no memory for it
 */
export async function pack(chunk: Uint8Array): Promise<Uint8Array | undefined> {
  // A chunk that cannot be compressed goes as it is: losing it would lose the epoch.
  const packed = await compress(chunk.subarray(HEAD_BYTES), ZSTD_OPTIONS).catch(() => undefined)
  if (packed === undefined || packed.byteLength >= chunk.byteLength - HEAD_BYTES) return undefined
  const bytes = new Uint8Array(HEAD_BYTES + packed.byteLength)
  bytes.set(packed, HEAD_BYTES)
  return bytes
}

/** The message with its payload as it was. @throws {FrameError} not the announced length */
export async function unpack(message: RamMessage): Promise<RamMessage> {
  if (message.type !== 'chunk' && message.type !== 'fill') return message
  const { unpackedBytes, ...rest } = message
  if (unpackedBytes === undefined) return message
  try {
    // The bound is what keeps a small message from becoming a large one.
    const payload = await decompress(message.payload, { maxOutputLength: unpackedBytes })
    if (payload.byteLength !== unpackedBytes) {
      throw new FrameError(`${payload.byteLength} bytes unpacked, ${unpackedBytes} announced`)
    }
    return { ...rest, payload }
  } catch (cause) {
    if (cause instanceof FrameError) throw cause
    throw new FrameError('the payload does not decompress', { cause })
  }
}
