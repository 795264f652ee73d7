import { fileURLToPath } from 'node:url'
import load from 'node-gyp-build'
import { AddonMissingError } from './errors.ts'

/**
 * What `native/src/ram` gives to JavaScript. Everything that returns a promise works on a thread of
 * libuv's pool and leaves the event loop free. Objects keep alive what they were made from; at most
 * one call at a time per object, a second one rejects with an `Error` whose `code` is
 * `ERR_RAM_BUSY`. Errors of the system carry `code` (`EPERM`, ...) and `syscall`.
 *
 * A page is always {@link RamAddon.pageBytes} (4,096) bytes, whatever the machine's page size.
 * A set of pages is a bitmap: bit `i % 8` of byte `i / 8` stands for page `i`.
 */
export interface RamAddon {
  readonly pageBytes: number
  /** Page size of the machine: sizes of memories are multiples of it. */
  readonly hostPageBytes: number
  /** Room that {@link NativeSource.encode} leaves at the start of each chunk for a header. */
  readonly chunkHeadBytes: number
  /** Instruction set in use: `avx2`, `neon` or `portable`. */
  readonly codecIsa: string
  /** CLOCK_BOOTTIME in milliseconds, with fraction. */
  boottimeMs(): number
  /** A new memory file of zeroes. @param name - what /proc/PID/maps shows, at most 64 characters */
  createMemory(bytes: number, name: string): NativeMemory
  /** Maps the first `bytes` of the file behind `fd` (duplicated: the caller keeps its own). */
  adoptMemory(fd: number, bytes: number, writable: boolean): NativeMemory
  /** Runs the self-tests, so it takes some milliseconds. */
  openTracker(memory: NativeMemory, options: NativeTrackerOptions): Promise<NativeTracker>
  /** For the primary: capture, shadow, encoding. */
  createSource(memory: NativeMemory, tracker: NativeTracker): NativeSource
  /** For a backup: staging, applying. The memory must be writable. {@link NativeImage.open} it. */
  createImage(memory: NativeMemory): NativeImage
  /** XXH3-64 of `bytes`. Synchronous: for small things. */
  hash64(bytes: Uint8Array): bigint
}

export interface NativeMemory {
  readonly bytes: number
  readonly fd: number
  /** The mapping itself, not a copy. {@link NativeMemory.close} detaches it. */
  arrayBuffer(): ArrayBuffer
  /** Hash of every page as it is now: 8 bytes little-endian a page, 0 for a page of zeroes. */
  hashPages(): Promise<Uint8Array>
  /** Unmaps and closes the file once nothing made from it is at work. Idempotent. */
  close(): void
}

export type TrackerTierName = 'async' | 'sync' | 'hash' | 'shadow'

export interface NativeTrackerOptions {
  readonly tier?: TrackerTierName
  readonly pid?: number
  readonly method?: 'inject' | 'shim'
  /** A connected unix socket on which the shim sends its descriptor. */
  readonly shimSocketFd?: number
}

export interface NativeTracker {
  readonly tier: TrackerTierName
  /** Better tiers that were tried and why they cannot serve here, best first. */
  readonly rejected: readonly { readonly tier: TrackerTierName; readonly reason: string }[]
  /** Pages written since the last scan, as a bitmap. */
  scan(): Promise<Uint8Array>
  close(): void
}

/** Pages. */
export interface EncodingCounts {
  readonly zero: number
  /** Reported by the tracker, but equal to the shadow: not sent. */
  readonly equal: number
  readonly words: number
  readonly raw: number
  readonly lz4: number
  /** Of their records, heads included: the payloads consist of these. */
  readonly bytes: {
    readonly zero: number
    readonly words: number
    readonly raw: number
    readonly lz4: number
  }
}

export interface EncodedChunk {
  /** `chunkHeadBytes` of zeroes for the header, then the payload. */
  readonly bytes: Uint8Array
  readonly pages: number
  /** XXH3-64 of the payload. */
  readonly checksum: bigint
}

export interface EncodeOptions {
  /** Try lz4 on pages that would go raw. */
  readonly lz4: boolean
  /** Bound on a chunk with its head, at least 8 KiB. */
  readonly chunkBytesMax: number
}

export interface NativeSource {
  /** Image hash of the shadow: see {@link NativeImage.apply}. */
  readonly root: bigint
  /** Arms the tracker, then copies every populated page into the shadow while writers run. Pages
   * written meanwhile are found by the next capture. Resolves to the pages copied. */
  seed(): Promise<number>
  /** Scans, and copies the pages found to the staging area. Call it again for a tail scan: what it
   * finds is merged. Resolves to the number of pages found by this call. */
  capture(): Promise<number>
  /** Encodes the staged pages as differences from the shadow, brings the shadow up to date and
   * empties the staging area. */
  encode(options: EncodeOptions): Promise<{
    readonly chunks: readonly EncodedChunk[]
    /** Pages whose content differs from the shadow as it was. */
    readonly changed: Uint8Array
    readonly counts: EncodingCounts
    readonly root: bigint
  }>
  /** Encodes pages of `pages` from the shadow, complete (no differences), until the chunk is full.
   * Resolves to the chunk, or none if the set is empty, and the bits that are left. */
  encodeShadow(
    pages: Uint8Array,
    options: EncodeOptions,
  ): Promise<{
    readonly chunk?: EncodedChunk
    readonly counts: EncodingCounts
    readonly left: Uint8Array
  }>
  /** Page hashes of the shadow, from the table kept by `encode`; not recomputed. */
  shadowHashes(): Uint8Array
  /** Pages of the shadow that are not zero, as a bitmap. */
  shadowPages(): Uint8Array
  close(): void
}

export interface FillChunk {
  readonly payload: Uint8Array
  readonly checksum: bigint
}

export interface NativeImage {
  /** Hashes what the memory holds. Before it, everything but `close` fails with `ERR_RAM_ORDER`. */
  open(): Promise<void>
  /** Image hash of what is applied; 0 before it is open. */
  readonly root: bigint
  /** Checks the payload in full (checksum, structure, every page number and length), decompresses,
   * and keeps it for {@link NativeImage.apply}. `payload` is copied. Rejects with code
   * `ERR_RAM_CHUNK` and changes nothing if anything is wrong; the chunks staged before stay. */
  stage(payload: Uint8Array, checksum: bigint): Promise<{ readonly pages: number }>
  /**
   * One payload of complete pages after the other: checks it in full and writes it to the memory at
   * once, without a check of the whole image, for a third of the work of `stage` and `apply`. The
   * memory of the payloads must stay where it is, and as it is, until the promise settles.
   *
   * Rejects with code `ERR_RAM_CHUNK` (and `ERR_RAM_ORDER` if anything is staged): that payload has
   * changed nothing, those before it are written, those after it not. Where the system has no room,
   * some of its pages are written too. `root` and hashes are always those of what is there.
   */
  fill(chunks: readonly FillChunk[]): Promise<{ readonly root: bigint; readonly pages: number }>
  readonly stagedPages: number
  /** Applies all staged chunks in order, whole or not at all: the new pages are computed aside,
   * and if `root` is given and the image hash would differ, rejects with code `ERR_RAM_ROOT` and
   * changes nothing. The image hash is the sum modulo 2^64 of the hashes of all pages, each with
   * its page number as seed; a page of zeroes counts 0. The staging area is empty afterwards. */
  apply(root?: bigint): Promise<{ readonly root: bigint; readonly pages: number }>
  discard(): void
  /** Page hashes of what is applied, from the table kept by `apply`; not recomputed. */
  hashes(): Uint8Array
  close(): void
}

/**
 * The folder that holds `prebuilds/`. The same step up is right from src/, from dist/, and from a
 * bundle's dist/ when the bundling package ships the prebuilds too.
 */
const root = fileURLToPath(new URL('..', import.meta.url))

let addon: RamAddon | undefined

/** Loads on first use: no work at import. */
export function loadAddon(): RamAddon {
  try {
    addon ??= load(root) as RamAddon
    return addon
  } catch (cause) {
    throw new AddonMissingError(root, `${process.platform}-${process.arch}`, { cause })
  }
}
