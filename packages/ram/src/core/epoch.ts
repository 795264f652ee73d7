/**
 * Names of epochs, and what an epoch says of itself.
 */
import type { FencingEpoch } from '@mycelium/interface'

/**
 * Name of an epoch. The counter starts anew at 1 with each fencing epoch, so that numbers repeat
 * after a failover and a name is always both.
 */
export interface EpochName {
  readonly fencing: FencingEpoch
  readonly counter: number
}

/** The content of a region at the seal of an epoch. */
export interface Version {
  readonly name: EpochName
  /** Image hash: sum modulo 2^64 of the hashes of all pages, each seeded with its page number. */
  readonly root: bigint
}

/** What travels with an epoch beside its pages. A backup that joins gets the whole thing. */
export interface Attachment {
  readonly kind: 'none' | 'full' | 'difference'
  readonly bytes: Uint8Array
}

export const NO_ATTACHMENT: Attachment = { kind: 'none', bytes: new Uint8Array(0) }

export function sameName(one: EpochName, other: EpochName): boolean {
  return one.fencing === other.fencing && one.counter === other.counter
}

export function sameVersion(one: Version | undefined, other: Version | undefined): boolean {
  if (one === undefined || other === undefined) return one === other
  return one.root === other.root && sameName(one.name, other.name)
}

/** For people: `7.123` is counter 123 under fencing epoch 7. */
export function formatName(name: EpochName): string {
  return `${name.fencing}.${name.counter}`
}
