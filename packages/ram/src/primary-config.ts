import type { TrackerTierName } from './addon.ts'
import type { RamPrimaryInit } from './index.ts'

/** What a primary was asked for, checked and complete. */
export interface PrimaryConfig {
  readonly name: string
  readonly fencing: bigint
  readonly tier: TrackerTierName | undefined
  readonly writer: RamPrimaryInit['writer']
  readonly compression: 'none' | 'lz4' | 'zstd'
}

const TIERS: readonly (string | undefined)[] = ['async', 'sync', 'hash', 'shadow', undefined]
const COMPRESSIONS: readonly string[] = ['none', 'lz4', 'zstd']
const METHODS: readonly (string | undefined)[] = ['inject', 'shim', undefined]
/** It has 64 bits on the wire. */
const FENCING_MAX = 2n ** 64n - 1n

/** @throws {TypeError} {RangeError} beginning with the name of the argument */
export function resolvePrimaryInit(init: RamPrimaryInit): PrimaryConfig {
  const { fencing = 1n, tier, writer, compression = 'none' } = init
  if (typeof fencing !== 'bigint') {
    throw new TypeError(`fencing must be a bigint, got ${typeof fencing}`)
  }
  if (fencing < 0n || fencing > FENCING_MAX) {
    throw new RangeError(`fencing must be 0..2^64-1, got ${fencing}`)
  }
  checkOneOf('tier', tier, TIERS)
  checkOneOf('compression', compression, COMPRESSIONS)
  if (writer !== undefined) {
    checkOneOf('writer.method', writer.method, METHODS)
    if (!Number.isSafeInteger(writer.pid) || writer.pid < 1) {
      throw new RangeError(`writer.pid must be the number of a process, got ${writer.pid}`)
    }
  }
  return Object.freeze({ name: resolveName(init.name), fencing, tier, writer, compression })
}

/** @throws {TypeError} `name` is no string */
export function resolveName(name: string | undefined): string {
  if (name !== undefined && typeof name !== 'string') {
    throw new TypeError(`name must be a string, got ${typeof name}`)
  }
  return name ?? 'region'
}

function checkOneOf(
  argument: string,
  value: string | undefined,
  allowed: readonly (string | undefined)[],
): void {
  if (allowed.includes(value)) return
  const names = allowed.filter((name) => name !== undefined).join(', ')
  throw new RangeError(`${argument} must be one of ${names}, got ${String(value)}`)
}
