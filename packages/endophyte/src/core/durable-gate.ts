/**
 * Holds back what the lease table says until what it rests on is durable, without I/O.
 *
 * Per name, not for all: a renewal of one lease does not wait for the disk because of another.
 */
import type { LeaseReply } from './lease-messages.ts'
import type { LeaseEntry, LeaseTableEffect } from './lease-table.ts'

export type OutwardEffect = Exclude<LeaseTableEffect, { readonly type: 'persist' }>

interface Held {
  readonly after: number
  readonly effect: OutwardEffect
}

export class DurableGate {
  // Entries are numbered in the order of persisting; n is durable when n <= #durable.
  #numbered = 0
  #durable = 0
  #unwritten: LeaseEntry[] = []
  #held: Held[] = []
  readonly #lastOfName = new Map<string, number>()

  /** Effects that wait. */
  get heldCount(): number {
    return this.#held.length
  }

  get hasUnwritten(): boolean {
    return this.#unwritten.length > 0
  }

  /** @returns what may leave at once, in order */
  push(effects: readonly LeaseTableEffect[]): OutwardEffect[] {
    const ready: OutwardEffect[] = []
    for (const effect of effects) {
      if (effect.type === 'persist') {
        this.#unwritten.push(effect.entry)
        this.#lastOfName.set(effect.entry.name, ++this.#numbered)
        continue
      }
      const name = effect.type === 'reply' ? effect.name : effect.view.name
      const after = this.#lastOfName.get(name) ?? 0
      if (after <= this.#durable) ready.push(effect)
      else this.#held.push({ after, effect })
    }
    return ready
  }

  /** What to write next. One batch at a time: its {@link written} or {@link failed} comes first. */
  takeBatch(entriesMax: number): LeaseEntry[] {
    return this.#unwritten.splice(0, entriesMax)
  }

  /** The batch is durable. @returns what may leave now */
  written(batch: readonly LeaseEntry[]): OutwardEffect[] {
    this.#durable += batch.length
    const ready = this.#held.filter((held) => held.after <= this.#durable)
    this.#held = this.#held.filter((held) => held.after > this.#durable)
    for (const { name } of batch) {
      if ((this.#lastOfName.get(name) ?? 0) <= this.#durable) this.#lastOfName.delete(name)
    }
    return ready.map(({ effect }) => effect)
  }

  /**
   * The batch is not durable, or nobody knows. Neither is anything that came after it, and nothing
   * that rests on it may be told: answers turn into refusals, views are dropped.
   *
   * @returns the refusals, and the names that the table must take back
   */
  failed(
    batch: readonly LeaseEntry[],
    doubt: boolean,
  ): { readonly names: readonly string[]; readonly refusals: readonly OutwardEffect[] } {
    const names = new Set([...batch, ...this.#unwritten].map(({ name }) => name))
    const reply: LeaseReply = { kind: 'refused', why: doubt ? 'doubt' : 'unavailable' }
    const refusals = this.#held.flatMap(({ effect }) =>
      effect.type === 'reply' ? [{ ...effect, reply }] : [],
    )
    this.#unwritten = []
    this.#held = []
    this.#lastOfName.clear()
    this.#durable = this.#numbered
    return { names: [...names], refusals }
  }
}
