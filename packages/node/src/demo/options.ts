import type { Compression, TrackerTierName } from '@mycelium/ram'

/** Options of `mycelium demo`. */
export interface DemoOptions {
  /** MiB. */
  readonly memory: number
  /** Milliseconds. */
  readonly interval: number
  /** Pages of 4 KiB that the guest writes per interval. */
  readonly load: number
  /** MiB over which the guest spreads them. */
  readonly workingSet: number
  readonly kills: number
  /** Seconds of replication before each kill. */
  readonly seconds: number
  /** Of the guest's writes and of the moments of the kills. */
  readonly seed: number
  /** A file for everything that the hosts tell. */
  readonly log?: string
  /** Counter at which the guest damages a page of its own: a test of what finds such things. */
  readonly corrupt?: number
  readonly tier?: TrackerTierName
  readonly compression?: Compression
}
