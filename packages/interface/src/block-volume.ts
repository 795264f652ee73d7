import type { AbortOptions, Bytes, FencingEpoch } from './base.ts'
import type { FencingLease } from './fencing-leases.ts'

/** Offsets and lengths in bytes, multiples of `blockBytes`, inside the volume (else `RangeError`).
 * Up to 256 operations at once, in any order; overlapping writes in flight leave either content per
 * block. Buffers stay the caller's and must not change until the promise settles. Errors:
 * `ERR_VOLUME_FENCED` (a newer epoch writes; final), `ERR_VOLUME_FULL`, `ERR_VOLUME_IO`,
 * `ERR_VOLUME_CORRUPT` (checksum; never returns the bytes). After a failed `flush` all un-flushed
 * writes are in doubt and every later `flush` fails too. */
export interface BlockVolume extends AsyncDisposable {
  readonly id: string
  readonly sizeBytes: number
  readonly blockBytes: number
  readonly writer?: FencingEpoch // absent: read-only
  read(offset: number, target: Uint8Array, options?: AbortOptions): Promise<void>
  /** Resolved: readers see it. Durable only with `fua` or a later `flush`. */
  write(
    offset: number,
    source: Bytes,
    options?: AbortOptions & { readonly fua?: boolean },
  ): Promise<void>
  /** Resolved: all writes that resolved before the call survive power loss, as far as the volume's
   * durability rule says. */
  flush(options?: AbortOptions): Promise<void>
  /** Reads zero afterwards; `unmap` (default true) allows a hole. */
  writeZeroes(
    offset: number,
    length: number,
    options?: AbortOptions & { readonly fua?: boolean; readonly unmap?: boolean },
  ): Promise<void>
  /** Content becomes undefined until written. A hint. */
  discard(offset: number, length: number, options?: AbortOptions): Promise<void>
  /** Ascending, without gap; at most 4,096 entries, so it may cover less than asked. */
  extents(
    offset: number,
    length: number,
    options?: AbortOptions,
  ): Promise<readonly { readonly length: number; readonly kind: 'data' | 'zero' | 'hole' }[]>
  /** Grows only, while open. */
  resize(sizeBytes: number, options?: AbortOptions): Promise<void>
}
export interface BlockVolumeProvider {
  /** A writer names its lease: from then on older epochs are refused everywhere, durably. */
  open(
    id: string,
    init: { readonly writer?: FencingLease },
    options?: AbortOptions,
  ): Promise<BlockVolume>
}
