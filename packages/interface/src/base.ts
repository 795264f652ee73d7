/** Milliseconds, CLOCK_BOOTTIME (counts suspend; CLOCK_MONOTONIC does not). Arbitrary zero. */
export type MonotonicMs = number
/**
 * Milliseconds since 1970 by the wall clock. Only for certificates, tokens and what people read.
 */
export type UnixMs = number
/**
 * Fencing epoch: per name strictly growing for ever, across release, expiry, restart and restore.
 */
export type FencingEpoch = bigint
/** Revision of a key-value state: one per committed transaction that changed something; from 1. */
export type Revision = bigint
/** libp2p PeerId as a string (base58btc of the identity multihash of the Ed25519 key). */
export type NodeId = string & { readonly __nodeId: true }
/** One message. Several parts are sent as one, without a copy (a `Uint8ArrayList` fits). */
export type Bytes = Uint8Array | Iterable<Uint8Array>

export interface Clock {
  now(): MonotonicMs
  unixMs(): UnixMs
  /**
   * Calls `callback` once, never before `at`, never synchronously. Returns its idempotent cancel.
   */
  schedule(at: MonotonicMs, callback: () => void): () => void
}
export interface Random {
  /** `length` bytes: from the system's CSPRNG in production, from the seed in simulation. */
  bytes(length: number): Uint8Array
  /** Uniform integer in [0, bound). @throws {RangeError} `bound` is not in 1..2^32 */
  below(bound: number): number
  /** An independent stream; the same name from the same parent gives the same stream. */
  fork(name: string): Random
}
export interface Logger {
  log(level: 'trace' | 'debug' | 'info' | 'warn' | 'error', event: string, fields?: object): void
}
export interface AbortOptions {
  readonly signal?: AbortSignal
}
export interface Startable extends AsyncDisposable {
  start(options?: AbortOptions): Promise<void>
  /** Idempotent, at any moment, also during `start`; settles when the last resource is released. */
  stop(): Promise<void>
}
/** Structural subset of a typed event target: `TypedEventTarget` of libp2p fits. */
export interface EventSource<Events extends object> {
  addEventListener<T extends keyof Events & string>(
    type: T,
    listener: (event: { readonly detail: Events[T] }) => void,
    options?: { readonly once?: boolean; readonly signal?: AbortSignal },
  ): void
}
/** One case of a compliance suite, free of any test runner: `it(c.name, () => c.run(setup))`. */
export interface ComplianceCase<Setup> {
  readonly name: string
  run(setup: () => Promise<Setup>): Promise<void>
}
