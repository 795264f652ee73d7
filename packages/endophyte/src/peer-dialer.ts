import type { BulkChannel, BulkChannelProvider, Clock, NodeId } from '@mycelium/interface'
import { RECONNECT_MS } from './constants.ts'
import { sleep } from './sleep.ts'

export interface PeerDialerDeps {
  readonly channels: BulkChannelProvider
  readonly clock: Clock
  /** What each channel is opened for. */
  readonly purpose: string
  /** No attempt begins after its abort. */
  readonly signal: AbortSignal
  isAttached(peer: NodeId): boolean
  attach(channel: BulkChannel): void
}

/** Keeps channels to all peers: tries each until it is attached or no peer any more. */
export class PeerDialer {
  readonly #deps: PeerDialerDeps
  readonly #dialing = new Set<NodeId>()
  #peers: readonly NodeId[]
  #isStarted = false

  constructor(deps: PeerDialerDeps, peers: readonly NodeId[]) {
    this.#deps = deps
    this.#peers = peers
  }

  /** From now on channels can be attached. */
  start(): void {
    this.#isStarted = true
    this.setPeers(this.#peers)
  }

  setPeers(peers: readonly NodeId[]): void {
    this.#peers = peers
    if (this.#isStarted) for (const peer of peers) this.redial(peer)
  }

  /** To be called when a peer was lost. */
  redial(peer: NodeId): void {
    if (this.#dialing.has(peer)) return
    this.#dialing.add(peer)
    void this.#dial(peer)
  }

  async #dial(peer: NodeId): Promise<void> {
    const { channels, clock, purpose, signal, isAttached, attach } = this.#deps
    while (!signal.aborted && this.#peers.includes(peer) && !isAttached(peer)) {
      let channel: BulkChannel | undefined
      try {
        channel = await channels.open(peer, purpose, { signal })
        attach(channel)
      } catch (error) {
        channel?.abort(error instanceof Error ? error : new Error(String(error)))
        // Unreachable, or not ready yet: it is asked again, as long as it is a peer.
        await sleep(clock, RECONNECT_MS, signal)
      }
    }
    // In the same turn as the last look: a loss right after it must find nobody dialing.
    this.#dialing.delete(peer)
  }
}
