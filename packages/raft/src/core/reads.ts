import type { LogIndex, RaftId } from './types.ts'

interface PendingRead {
  readonly context: Uint8Array
  readonly index: LogIndex
  /** Who asked. */
  readonly from: RaftId
  readonly acknowledgedBy: Map<RaftId, boolean>
}

/**
 * Reads that wait until a majority has answered a heartbeat sent after them: until then somebody
 * else may be leader, and know more (section 6.4). In order; a later answer confirms earlier ones.
 */
export class ReadQueue {
  readonly #pending = new Map<string, PendingRead>()

  /** False: one with this context waits already. */
  add(read: Omit<PendingRead, 'acknowledgedBy'>): boolean {
    const key = keyOf(read.context)
    if (this.#pending.has(key)) return false
    this.#pending.set(key, { ...read, acknowledgedBy: new Map() })
    return true
  }

  /** Who has answered a heartbeat with `context`, `from` included; nobody: it does not wait. */
  acknowledge(context: Uint8Array, from: RaftId): ReadonlyMap<RaftId, boolean> {
    const read = this.#pending.get(keyOf(context))
    read?.acknowledgedBy.set(from, true)
    return read?.acknowledgedBy ?? new Map<RaftId, boolean>()
  }

  /** Takes out `context` and all before it. */
  take(context: Uint8Array): readonly PendingRead[] {
    const wanted = keyOf(context)
    const taken: PendingRead[] = []
    if (!this.#pending.has(wanted)) return taken
    for (const [key, read] of this.#pending) {
      this.#pending.delete(key)
      taken.push(read)
      if (key === wanted) break
    }
    return taken
  }

  /** Goes with every heartbeat, in case one was lost. */
  get lastContext(): Uint8Array | undefined {
    return [...this.#pending.values()].at(-1)?.context
  }

  get count(): number {
    return this.#pending.size
  }
}

const keyOf = (context: Uint8Array): string => String.fromCharCode(...context)
