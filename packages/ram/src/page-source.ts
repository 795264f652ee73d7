import type {
  EncodedChunk,
  EncodeOptions,
  EncodingCounts,
  NativeSource,
  NativeTracker,
  RamAddon,
} from './addon.ts'
import { CHUNK_BYTES_MAX } from './constants.ts'
import { MemoryError, RamClosedError } from './errors.ts'
import type { EncodedBytes, EncodingStats, Region, TrackerInfo } from './index.ts'
import type { PrimaryConfig } from './primary-config.ts'
import { nativeOf } from './region.ts'
import { Serial } from './serial.ts'

interface Native {
  readonly tracker: NativeTracker
  readonly source: NativeSource
}

/**
 * Tracker and source of the addon for one region. They do one thing at a time: calls queue here, in
 * order. Failures of the system become {@link MemoryError}.
 */
export class PageSource {
  readonly #addon: RamAddon
  readonly #region: Region
  readonly #config: PrimaryConfig
  readonly #work = new Serial()
  readonly #options: EncodeOptions
  #native: Native | undefined
  #opening: Promise<void> | undefined
  #isClosed = false
  #pages: EncodingStats = { zero: 0, equal: 0, words: 0, raw: 0, lz4: 0 }
  #encodedBytes: EncodedBytes = { zero: 0, words: 0, raw: 0, lz4: 0 }

  constructor(addon: RamAddon, region: Region, config: PrimaryConfig) {
    nativeOf(region)
    this.#addon = addon
    this.#region = region
    this.#config = config
    this.#options = { lz4: config.compression === 'lz4', chunkBytesMax: CHUNK_BYTES_MAX }
  }

  /** By encoding, so far. */
  get counts(): { readonly pages: EncodingStats; readonly encodedBytes: EncodedBytes } {
    return { pages: this.#pages, encodedBytes: this.#encodedBytes }
  }

  get tracker(): TrackerInfo {
    const { tier, rejected } = this.#opened.tracker
    return { tier, rejected }
  }

  /** @throws {RamClosedError} not open */
  get #opened(): Native {
    if (this.#isClosed) throw new RamClosedError('the primary is stopped')
    if (this.#native === undefined) throw new RamClosedError('the primary is not started')
    return this.#native
  }

  /** @throws {RamClosedError} not open */
  checkOpen(): void {
    void this.#opened
  }

  /** Opens the tracker and copies the region once. A second call waits for the first. */
  open(): Promise<void> {
    if (this.#isClosed) return Promise.reject(new RamClosedError('the primary is stopped'))
    this.#opening ??= this.#work.run(() => this.#open())
    return this.#opening
  }

  async #open(): Promise<void> {
    let tracker: NativeTracker | undefined
    let source: NativeSource | undefined
    try {
      const memory = nativeOf(this.#region)
      const { tier, writer } = this.#config
      tracker = await this.#addon.openTracker(memory, {
        ...(tier && { tier }),
        ...(writer && { pid: writer.pid, method: writer.method ?? 'inject' }),
        ...(writer?.shimSocketFd !== undefined && { shimSocketFd: writer.shimSocketFd }),
      })
      source = this.#addon.createSource(memory, tracker)
      if (!this.#isClosed) await source.seed()
    } catch (cause) {
      this.#isClosed = true
      source?.close()
      tracker?.close()
      throw new MemoryError(`the region cannot be tracked: ${messageOf(cause)}`, { cause })
    }
    if (this.#isClosed) {
      source.close()
      tracker.close()
      throw new RamClosedError('the primary was stopped while it started')
    }
    this.#native = { tracker, source }
  }

  /** Settles when what is at work is done and everything is given back. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#work.run(async () => {
      this.#native?.source.close()
      this.#native?.tracker.close()
      this.#native = undefined
    })
  }

  /** Finds dirty pages and copies them aside. Resolves to their number. */
  capture(): Promise<number> {
    return this.#guarded(({ source }) => source.capture())
  }

  /** Page hashes of the region as it is now. */
  hashRegion(): Promise<Uint8Array> {
    return this.#guarded(() => this.#region.hashPages())
  }

  /** What was captured, as differences from the shadow, which is up to date afterwards. */
  async encode(): Promise<{
    readonly chunks: readonly EncodedChunk[]
    readonly changed: Uint8Array
    /** Pages captured, each once. */
    readonly dirtyPages: number
    readonly root: bigint
  }> {
    const encoding = await this.#guarded(({ source }) => source.encode(this.#options))
    const { zero, equal, words, raw, lz4 } = encoding.counts
    this.#count(encoding.counts)
    return { ...encoding, dirtyPages: zero + equal + words + raw + lz4 }
  }

  /** Brings the shadow up to date with what was captured, and keeps no chunks. */
  async absorb(): Promise<{ readonly changed: Uint8Array }> {
    return await this.#guarded(({ source }) => source.encode({ ...this.#options, lz4: false }))
  }

  /** As much of `pages` as fits into one chunk, complete. */
  async encodeShadow(pages: Uint8Array): Promise<{
    readonly chunk?: EncodedChunk
    readonly left: Uint8Array
  }> {
    const encoding = await this.#guarded(({ source }) => source.encodeShadow(pages, this.#options))
    this.#count(encoding.counts)
    return encoding
  }

  /** Pages of the shadow that are not zero. */
  shadowPages(): Promise<Uint8Array> {
    return this.#guarded(async ({ source }) => source.shadowPages())
  }

  shadowHashes(): Promise<Uint8Array> {
    return this.#guarded(async ({ source }) => source.shadowHashes())
  }

  #guarded<T>(work: (native: Native) => Promise<T>): Promise<T> {
    return this.#work.run(async () => {
      const native = this.#opened
      try {
        return await work(native)
      } catch (cause) {
        throw new MemoryError(`the region cannot be read: ${messageOf(cause)}`, { cause })
      }
    })
  }

  #count({ bytes, ...pages }: EncodingCounts): void {
    const equal = this.#pages.equal + pages.equal
    this.#pages = { ...sumOf(this.#pages, pages), equal }
    this.#encodedBytes = sumOf(this.#encodedBytes, bytes)
  }
}

/** By kind of record. */
function sumOf(one: EncodedBytes, other: EncodedBytes): EncodedBytes {
  return {
    zero: one.zero + other.zero,
    words: one.words + other.words,
    raw: one.raw + other.raw,
    lz4: one.lz4 + other.lz4,
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
