import type { AbortOptions, Revision } from './base.ts'

export interface KeyValue {
  readonly key: string
  readonly value: Uint8Array
  readonly createRevision: Revision
  readonly modRevision: Revision
}
/** [start, end) in order of UTF-8 bytes; `prefix` is a shorthand. */
export type KeyRange =
  | { readonly key: string }
  | { readonly prefix: string }
  | { readonly start: string; readonly end: string }
export type Compare =
  | { readonly key: string; readonly modRevision: Revision } // 0n: does not exist
  | { readonly key: string; readonly value: Uint8Array }
/** `leaseId`: deleted when that time-to-live lease ends. */
export type Mutation =
  | {
      readonly type: 'put'
      readonly key: string
      readonly value: Uint8Array
      readonly leaseId?: bigint
    }
  | { readonly type: 'delete'; readonly range: KeyRange }
export interface Transaction {
  readonly compare: readonly Compare[]
  readonly success: readonly Mutation[]
  readonly failure?: readonly Mutation[]
}
export interface TransactionResult {
  readonly succeeded: boolean
  readonly revision: Revision
}
export interface ReadOptions extends AbortOptions {
  /** `stale` may lag, never goes back within one KeyValueState. @default 'linearizable' */
  readonly consistency?: 'linearizable' | 'stale'
  readonly revision?: Revision
  /** @default 1_000, at most 10_000 */
  readonly limit?: number
}
export interface KeyChange {
  readonly key: string
  readonly current?: KeyValue
} // absent: deleted
export interface WatchBatch {
  readonly revision: Revision
  readonly changes: readonly KeyChange[]
}
/**
 * Errors: `ERR_KV_UNAVAILABLE` surely not executed; `ERR_KV_OUTCOME_UNKNOWN` perhaps executed,
 * after the implementation's own exactly-once retries gave up; `ERR_KV_COMPACTED` with
 * `compactRevision`; `ERR_KV_TOO_LARGE` (key 1 KiB, value 1 MiB, 128 mutations); `ERR_KV_DENIED`.
 */
export interface KeyValueState {
  get(key: string, options?: ReadOptions): Promise<KeyValue | undefined>
  range(
    range: KeyRange,
    options?: ReadOptions,
  ): Promise<{
    readonly items: readonly KeyValue[]
    readonly more: boolean
    readonly revision: Revision
  }>
  /**
   * Atomic and durable on a majority when it resolves. Abort does not undo: the outcome is
   * unknown.
   */
  transact(transaction: Transaction, options?: AbortOptions): Promise<TransactionResult>
  /**
   * Every change from `from` on (default: after now), one batch per revision, growing, without
   * gap. A batch with no change is progress. Over 1,024 unread batches it throws
   * `ERR_KV_WATCH_SLOW` with `resumeRevision`; a reconnect inside is invisible.
   */
  watch(
    range: KeyRange,
    options?: AbortOptions & { readonly from?: Revision },
  ): AsyncIterable<WatchBatch>
  /** Time-to-live lease for keys. NOT for fencing: use {@link FencingLeases}. */
  grant(ttlMs: number, options?: AbortOptions): Promise<{ readonly leaseId: bigint }>
  keepAlive(leaseId: bigint, options?: AbortOptions): Promise<void>
  revoke(leaseId: bigint, options?: AbortOptions): Promise<void>
}
