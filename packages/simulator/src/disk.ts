import type { Random } from '@mycelium/interface'
import type { Coverage } from './coverage.ts'
import { DiskFullError } from './errors.ts'

/**
 * Files of one machine. They outlive its processes, except for what was not synchronised: `crash`
 * keeps all, some or nothing of the end of each file.
 */
export interface SimulatedDisk {
  /** Names, ascending. */
  readonly files: readonly string[]
  /** Bytes of all files. */
  readonly usedBytes: number
  /** From now on; `Infinity`: no bound. What is there stays. */
  capacityBytes: number
  /** A copy; `undefined`: there is no such file. */
  read(file: string): Uint8Array | undefined
  /** Makes the file if need be. @throws {DiskFullError} nothing was written */
  append(file: string, bytes: Uint8Array): void
  /** What was appended outlives a crash from now on. */
  sync(file: string): void
  /** The whole content, durable at once: as by a new file, `fsync` and `rename`.
   * @throws {DiskFullError} the old content is still there */
  replace(file: string, bytes: Uint8Array): void
  /** Cuts off the end, durable at once. */
  truncate(file: string, length: number): void
  remove(file: string): void
  /** The machine loses its power. */
  crash(): void
  /** One bit of what is durable turns. False: there is nothing. */
  rot(file: string): boolean
  /** All files as they are now, for {@link SimulatedDisk.restore}. */
  backUp(): ReadonlyMap<string, Uint8Array>
  /** An old state of the disk comes back. */
  restore(files: ReadonlyMap<string, Uint8Array>): void
}

export interface DiskDeps {
  readonly random: Random
  readonly coverage: Coverage
}

interface File {
  bytes: Uint8Array
  syncedLength: number
}

export function createDisk({ random, coverage }: DiskDeps): SimulatedDisk {
  const files = new Map<string, File>()
  const used = (): number => [...files.values()].reduce((sum, { bytes }) => sum + bytes.length, 0)
  const take = (disk: SimulatedDisk, bytes: number): void => {
    if (used() + bytes <= disk.capacityBytes) return
    coverage.hit('disk full')
    throw new DiskFullError(disk.capacityBytes)
  }
  return {
    capacityBytes: Infinity,
    get files() {
      return [...files.keys()].sort()
    },
    get usedBytes() {
      return used()
    },
    read: (file) => files.get(file)?.bytes.slice(),
    append(file, bytes) {
      take(this, bytes.length)
      const old = files.get(file) ?? { bytes: new Uint8Array(), syncedLength: 0 }
      files.set(file, { ...old, bytes: concat(old.bytes, bytes) })
    },
    sync(file) {
      const one = files.get(file)
      if (one !== undefined) one.syncedLength = one.bytes.length
    },
    replace(file, bytes) {
      take(this, bytes.length - (files.get(file)?.bytes.length ?? 0))
      files.set(file, { bytes: bytes.slice(), syncedLength: bytes.length })
    },
    truncate(file, length) {
      const one = files.get(file)
      if (one === undefined || length >= one.bytes.length) return
      one.bytes = one.bytes.slice(0, length)
      one.syncedLength = Math.min(one.syncedLength, length)
    },
    remove: (file) => void files.delete(file),
    crash() {
      for (const [, one] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
        crashFile(one, random, coverage)
      }
    },
    rot(file) {
      const one = files.get(file)
      if (one === undefined || one.syncedLength === 0) return false
      coverage.hit('disk bit turned')
      const at = random.below(one.syncedLength)
      one.bytes[at] = (one.bytes[at] ?? 0) ^ (1 << random.below(8))
      return true
    },
    backUp: () => new Map([...files].map(([name, { bytes }]) => [name, bytes.slice()])),
    restore(old) {
      coverage.hit('disk restored')
      files.clear()
      for (const [name, bytes] of old) {
        files.set(name, { bytes: bytes.slice(), syncedLength: bytes.length })
      }
    },
  }
}

/** Each of the three with the same chance: whole cases hide between many torn ones. */
function crashFile(file: File, random: Random, coverage: Coverage): void {
  const unsynced = file.bytes.length - file.syncedLength
  if (unsynced === 0) return
  const way = random.below(3)
  const kept = way === 0 ? unsynced : way === 1 ? 0 : random.below(unsynced + 1)
  if (kept < unsynced) coverage.hit(kept === 0 ? 'disk suffix lost' : 'disk write torn')
  file.bytes = file.bytes.slice(0, file.syncedLength + kept)
  file.syncedLength = file.bytes.length
}

function concat(one: Uint8Array, other: Uint8Array): Uint8Array {
  const both = new Uint8Array(one.length + other.length)
  both.set(one)
  both.set(other, one.length)
  return both
}
