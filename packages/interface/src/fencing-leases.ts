import type { AbortOptions, FencingEpoch, MonotonicMs, NodeId } from './base.ts'

export interface LeaseView {
  readonly name: string
  /** Highest epoch ever granted; 0n: never. */
  readonly epoch: FencingEpoch
  readonly holder?: NodeId // absent: free
  /** The holder's small public record, at most 4 KiB (for a VM: in-sync backups, state). */
  readonly record: Uint8Array
  /** Grows with every change of holder or record. */
  readonly version: bigint
}
export interface LeaseInit {
  readonly ttlMs: number // 100..60_000
  readonly record: Uint8Array
  readonly expectVersion?: bigint
  readonly wait?: boolean
}
/**
 * Timing. Holder: valid until `sentAt + ttlMs * (1 - driftMax) - stopBudgetMs`, `sentAt` read
 * BEFORE the request left. Grantor: grants to another only `ttlMs` after it PROCESSED the last
 * renewal, by its own clock; after its restart, leader change or restore it treats every lease as
 * renewed at that moment; it answers a renewal only when surely still in charge (a quorum round
 * begun afterwards).
 */
export interface FencingLeases {
  /**
   * Resolves when granted; waits while another holds it (`wait`, default true) until aborted.
   * `expectVersion` makes it conditional: a candidate reads the view, decides that it may take
   * over, and wins only if nothing changed since. Epoch = previous + 1 at least. Rejects
   * `ERR_LEASE_HELD` (`wait: false`), `ERR_LEASE_CHANGED`, `ERR_LEASE_UNAVAILABLE`.
   */
  acquire(name: string, init: LeaseInit, options?: AbortOptions): Promise<FencingLease>
  /** Linearizable. */
  read(name: string, options?: AbortOptions): Promise<LeaseView>
  /** Views in order; may skip to the newest. */
  watch(name: string, options?: AbortOptions): AsyncIterable<LeaseView>
}
/** Renews itself at a third of the time to live. The holder acts only while `now < validUntil`, and
 * its own guard (not this object's timers, which a stopped process does not run) enforces it. */
export interface FencingLease extends AsyncDisposable {
  readonly name: string
  readonly epoch: FencingEpoch
  /** Already reduced by drift and stop budget. Only grows. Read it before each effect. */
  readonly validUntil: MonotonicMs
  /** Aborts once, at `validUntil` or when the grantor refuses, reason `ERR_LEASE_LOST`. Final. */
  readonly lost: AbortSignal
  /** Replaces the record. Resolved: every later `acquire` sees it. Rejected with
   * `ERR_LEASE_OUTCOME_UNKNOWN`: read before relying on either. One at a time. */
  update(record: Uint8Array, options?: AbortOptions): Promise<void>
  /**
   * Atomic hand-over (planned migration): no third node can win between. Call only after the
   * holder has stopped acting. Outcome unknown: keep stopped until `read` tells. The object is
   * then lost.
   */
  transfer(to: NodeId, options?: AbortOptions): Promise<FencingEpoch>
  /** Only after what it protects has provably stopped. Disposing never releases: it stops renewing
   * and lets the lease run out. */
  release(options?: AbortOptions): Promise<void>
}
