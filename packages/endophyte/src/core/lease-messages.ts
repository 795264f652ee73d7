/**
 * What holders and the grantor of fencing leases say to each other, as values. How they travel is
 * the business of `src/lease/wire.ts`.
 */
import type { FencingEpoch, LeaseView, MonotonicMs, NodeId } from '@mycelium/interface'

/** Bounds of the contract (`LeaseInit.ttlMs`, `LeaseView.record`). */
export const LEASE_TTL_MS_MIN = 100
export const LEASE_TTL_MS_MAX = 60_000
export const LEASE_RECORD_BYTES_MAX = 4096
/** UTF-8 bytes; a name such as `vm/<vm>` needs far less. */
export const LEASE_NAME_BYTES_MAX = 256
/** UTF-8 bytes; a libp2p peer id has 52. */
export const LEASE_NODE_BYTES_MAX = 128
/** As long as a key: nobody guesses it. */
export const LEASE_TOKEN_BYTES = 32
/** Share of a time to live by which two clocks may differ: both sides' clocks drift < 0.5 %. */
const LEASE_DRIFT_MAX = 0.01

/** Names one grant. The token proves that a request comes from who got the grant, or its guard. */
export interface LeaseClaim {
  readonly name: string
  readonly epoch: FencingEpoch
  readonly holder: NodeId
  readonly token: Uint8Array
}

export interface AcquireRequest {
  readonly op: 'acquire'
  readonly name: string
  readonly holder: NodeId
  /**
   * Chosen at random by the client for this acquisition, and secret: it makes a repeated request
   * find its own grant, and is what later requests prove themselves with.
   */
  readonly token: Uint8Array
  readonly ttlMs: number
  readonly record: Uint8Array
  readonly wait: boolean
  readonly expectVersion?: bigint
}

export interface RenewRequest extends LeaseClaim {
  readonly op: 'renew'
}

export interface UpdateRequest extends LeaseClaim {
  readonly op: 'update'
  /** From 1, growing by one per update of this grant: a late copy of an older one is refused. */
  readonly sequence: number
  readonly record: Uint8Array
}

export interface TransferRequest extends LeaseClaim {
  readonly op: 'transfer'
  readonly to: NodeId
}

export interface ReleaseRequest extends LeaseClaim {
  readonly op: 'release'
}

/** Requests that a holder makes about what it holds. */
export type ClaimRequest = RenewRequest | UpdateRequest | TransferRequest | ReleaseRequest

export type LeaseRequest =
  | AcquireRequest
  | ClaimRequest
  | { readonly op: 'read'; readonly name: string }
  | { readonly op: 'watch'; readonly name: string }

/**
 * Why a request was not granted: `held` by another; `changed` since the expected version; `lost`:
 * the claim is not, or no longer, the current one; `full`: a bound of the grantor; `unavailable`:
 * it could not be made durable and surely has no effect; `doubt`: perhaps it has.
 */
export type LeaseRefusal = 'held' | 'changed' | 'lost' | 'full' | 'unavailable' | 'doubt'

export type LeaseReply =
  | { readonly kind: 'granted'; readonly epoch: FencingEpoch }
  | { readonly kind: 'renewed' }
  | { readonly kind: 'updated' }
  | { readonly kind: 'transferred'; readonly epoch: FencingEpoch }
  | { readonly kind: 'released' }
  | { readonly kind: 'view'; readonly view: LeaseView }
  | { readonly kind: 'refused'; readonly why: LeaseRefusal }

/**
 * Until when a holder may act on an answer.
 *
 * @param sentAt - the holder's clock, read before the request left
 * @param stopBudgetMs - what the holder needs to stop what the lease protects
 */
export function validUntil(sentAt: MonotonicMs, ttlMs: number, stopBudgetMs: number): MonotonicMs {
  return sentAt + ttlMs * (1 - LEASE_DRIFT_MAX) - stopBudgetMs
}
