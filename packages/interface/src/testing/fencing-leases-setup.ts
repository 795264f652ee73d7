import type { Clock, NodeId } from '../base.ts'
import type { FencingLeases } from '../fencing-leases.ts'

/** What a case of {@link fencingLeasesCases} gets: one grantor and nodes that ask it for leases. */
export interface FencingLeasesSetup extends AsyncDisposable {
  /** At least three, each a node of its own, all connected. No name has ever been granted. */
  readonly clients: readonly { readonly self: NodeId; readonly leases: FencingLeases }[]
  /** The clock of clients and grantor, real or virtual. */
  readonly clock: Clock
  /** The time to live that the cases ask for; short on a real clock (but at least 100). */
  readonly ttlMs: number
  /** Lets time pass: waits on a real clock, moves a virtual one and lets what fell due happen. */
  elapse(ms: number): Promise<void>
  /**
   * Cuts client `index` off from the grantor, or connects it again. While cut off, requests of the
   * client fail or wait; none reaches the grantor.
   */
  setConnected(index: number, connected: boolean): Promise<void>
  /** Kills the grantor and starts it with what it had made durable; clients connect again. */
  restartGrantor(): Promise<void>
}
