import type { EncodedChunk } from './addon.ts'
import { pack } from './compression.ts'
import { ATTACHMENT_BYTES_MAX, HASHES_PER_MESSAGE, HEAD_BYTES } from './constants.ts'
import { type Attachment, type EpochName, NO_ATTACHMENT, type Version } from './core/epoch.ts'
import type { EpochAttachment } from './index.ts'
import { type Address, encodeMessage, type Hasher, type OfferMode, writeHead } from './wire.ts'

/** What is being sent as the current epoch. */
export interface OutgoingEpoch {
  readonly version: Version
  /** Whole messages, the difference from the epoch before. */
  readonly chunks: readonly Uint8Array[]
  /** For backups that join. */
  readonly full: Attachment
  readonly difference: Attachment
  /** Page hashes of the memory at the seal. */
  readonly hashes?: Uint8Array
}

export interface EpochWriterConfig {
  readonly fencing: bigint
  /** Hash of the region's name. */
  readonly region: bigint
  readonly zstd: boolean
  readonly hash: Hasher
}

/** Makes the messages of a primary. */
export class EpochWriter {
  readonly #config: EpochWriterConfig

  constructor(config: EpochWriterConfig) {
    this.#config = config
  }

  #address(name?: EpochName): Address {
    const { fencing, region } = this.#config
    return { fencing, counter: name?.counter ?? 0, region }
  }

  offer(mode: OfferMode, regionBytes: number): Uint8Array {
    const address = this.#address()
    return encodeMessage({ type: 'offer', ...address, mode, regionBytes }, this.#config.hash)
  }

  fill(chunk: EncodedChunk): Promise<Uint8Array> {
    return this.#finish(chunk, 'fill', 0, this.#address())
  }

  chunks(chunks: readonly EncodedChunk[], name: EpochName): Promise<Uint8Array[]> {
    return Promise.all(chunks.map((chunk, index) => this.chunk(chunk, index, name)))
  }

  chunk(chunk: EncodedChunk, index: number, name: EpochName): Promise<Uint8Array> {
    return this.#finish(chunk, 'chunk', index, this.#address(name))
  }

  /** Compresses a chunk, if that is wanted and helps, and writes its head. */
  async #finish(
    { bytes, checksum }: EncodedChunk,
    type: 'chunk' | 'fill',
    index: number,
    address: Address,
  ): Promise<Uint8Array> {
    const packed = this.#config.zstd ? await pack(bytes) : undefined
    const unpackedBytes = packed === undefined ? 0 : bytes.byteLength - HEAD_BYTES
    const message = packed ?? bytes
    writeHead(message, type, address, index, checksum, this.#config.hash, unpackedBytes)
    return message
  }

  hashes({ hashes, version }: OutgoingEpoch): Uint8Array[] {
    if (hashes === undefined) return []
    const address = this.#address(version.name)
    const messages: Uint8Array[] = []
    for (let page = 0; page * 8 < hashes.byteLength; page += HASHES_PER_MESSAGE) {
      const part = hashes.subarray(page * 8, (page + HASHES_PER_MESSAGE) * 8)
      messages.push(
        encodeMessage(
          { type: 'hashes', ...address, firstPage: page, hashes: part },
          this.#config.hash,
        ),
      )
    }
    return messages
  }

  /** @param base - for a difference; absent: the pages are complete */
  footer(outgoing: OutgoingEpoch, chunkCount: number, base: Version | undefined): Uint8Array {
    const { version, full, difference } = outgoing
    return encodeMessage(
      {
        type: 'footer',
        ...this.#address(version.name),
        root: version.root,
        chunkCount,
        attachment: base === undefined ? full : difference,
        ...(base && { base }),
      },
      this.#config.hash,
    )
  }
}

/** What goes with an epoch. Without a difference, those in sync get what those that join get. */
export function attachmentsOf(
  attachment: EpochAttachment | undefined,
): Pick<OutgoingEpoch, 'full' | 'difference'> {
  const full = attachmentOf('full', attachment?.full)
  const difference = attachment?.difference
  return {
    full,
    difference: difference === undefined ? full : attachmentOf('difference', difference),
  }
}

function attachmentOf(kind: 'full' | 'difference', bytes: Uint8Array | undefined): Attachment {
  if (bytes === undefined) return NO_ATTACHMENT
  if (bytes.byteLength > ATTACHMENT_BYTES_MAX) {
    throw new RangeError(
      `attachment must be at most ${ATTACHMENT_BYTES_MAX} bytes, got ${bytes.byteLength}`,
    )
  }
  return { kind, bytes }
}
