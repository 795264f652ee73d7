import type { Clock, MonotonicMs, UnixMs } from '@mycelium/interface'
import { loadAddon, type NativeMemory } from './addon.ts'
import { PAGE_BYTES, REGION_BYTES_MAX } from './constants.ts'
import { RamClosedError } from './errors.ts'
import type { Region, RegionInit } from './index.ts'

/** A region with its native side, for the other files of this package. */
export class MemoryRegion implements Region {
  readonly #memory: NativeMemory
  #buffer: Uint8Array | undefined
  #isClosed = false

  constructor(memory: NativeMemory) {
    this.#memory = memory
  }

  get bytes(): number {
    return this.#memory.bytes
  }

  get fd(): number {
    return this.#native.fd
  }

  get buffer(): Uint8Array {
    this.#buffer ??= new Uint8Array(this.#native.arrayBuffer())
    return this.#buffer
  }

  get #native(): NativeMemory {
    if (this.#isClosed) throw new RamClosedError('the region is closed')
    return this.#memory
  }

  /** @internal */
  get native(): NativeMemory {
    return this.#native
  }

  hashPages(): Promise<Uint8Array> {
    return this.#native.hashPages()
  }

  close(): void {
    this.#isClosed = true
    this.#buffer = undefined
    this.#memory.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function checkBytes(bytes: number): void {
  const { hostPageBytes } = loadAddon()
  const unit = Math.max(hostPageBytes, PAGE_BYTES)
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % unit !== 0) {
    throw new RangeError(`bytes must be a positive multiple of ${unit}, got ${bytes}`)
  }
  if (bytes > REGION_BYTES_MAX) {
    throw new RangeError(`bytes must be at most ${REGION_BYTES_MAX}, got ${bytes}`)
  }
}

export function makeRegion({ bytes, name = 'mycelium-region' }: RegionInit): MemoryRegion {
  checkBytes(bytes)
  return new MemoryRegion(loadAddon().createMemory(bytes, name))
}

export function mapRegion(fd: number, bytes: number, writable: boolean): MemoryRegion {
  checkBytes(bytes)
  return new MemoryRegion(loadAddon().adoptMemory(fd, bytes, writable))
}

/** @throws {TypeError} made by something else than this package */
export function nativeOf(region: Region): NativeMemory {
  if (!(region instanceof MemoryRegion)) {
    throw new TypeError('region must come from createRegion or adoptRegion')
  }
  return region.native
}

/** setTimeout fires at once above this. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1

/** CLOCK_BOOTTIME of the native addon. */
export class BoottimeClock implements Clock {
  readonly #now: () => MonotonicMs

  constructor() {
    const addon = loadAddon()
    this.#now = () => addon.boottimeMs()
  }

  now(): MonotonicMs {
    return this.#now()
  }

  unixMs(): UnixMs {
    return Date.now()
  }

  schedule(at: MonotonicMs, callback: () => void): () => void {
    let timer: NodeJS.Timeout | undefined
    const arm = (): void => {
      // Rounded up, and asked again: timers count whole milliseconds and may fire early.
      const delayMs = Math.min(Math.max(Math.ceil(at - this.#now()), 0), TIMEOUT_MS_MAX)
      timer = setTimeout(() => {
        if (this.#now() < at) arm()
        else callback()
      }, delayMs)
    }
    arm()
    return () => {
      clearTimeout(timer)
    }
  }
}
