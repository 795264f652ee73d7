/**
 * Counts what strangers cause, so that none of them can fill the audit log, or push out of it what
 * members did. Of one event, reason and address there is one entry at once, and then one each 10 s
 * with the count of all since, until it is quiet. All addresses together get
 * {@link STRANGER_BURST} entries at once and {@link STRANGER_REFILL} each 10 s; what is above is
 * counted by reason, in one entry each 10 s. Under an endless flood that is at most 9 MB a day.
 */
import type { MonotonicMs } from '@mycelium/interface'
import { AUDIT_DETAILS_MAX } from './audit-codec.ts'
import type { AuditEntry } from './audit-entry.ts'

export const STRANGER_WINDOW_MS = 10_000
/** Addresses that are counted apart at one time. */
export const STRANGER_WINDOWS_MAX = 256
export const STRANGER_BURST = 256
export const STRANGER_REFILL = 4
const STRANGERS_EVENT = 'strangers'

export interface Counted {
  readonly entry: AuditEntry
  readonly count: number
}

interface Window {
  entry: AuditEntry
  endsAt: MonotonicMs
  count: number
}

export class StrangerWindows {
  /** In the order of their ends. */
  readonly #windows = new Map<string, Window>()
  /** Those without a window of their own: how many, by reason. */
  readonly #others = new Map<string, number>()
  #othersEndAt: MonotonicMs | undefined
  #allowed = STRANGER_BURST
  #refilledAt: MonotonicMs | undefined

  /** @returns what is to be written at once */
  take(entry: AuditEntry, now: MonotonicMs): readonly Counted[] {
    const due = this.due(now)
    const { event, reason, address } = entry
    const key = JSON.stringify([event, reason, address])
    const window = this.#windows.get(key)
    if (window !== undefined) {
      window.count++
      // What an entry says holds for all that it counts.
      if (entry.node !== window.entry.node) window.entry = withoutNode(window.entry)
      return due
    }
    if (this.#windows.size >= STRANGER_WINDOWS_MAX || !this.#allow(now)) {
      this.#countOther(entry, now)
      return due
    }
    this.#windows.set(key, { entry, endsAt: now + STRANGER_WINDOW_MS, count: 0 })
    return [...due, { entry, count: 1 }]
  }

  /** @returns what is to be written because windows have ended */
  due(now: MonotonicMs): readonly Counted[] {
    const due: Counted[] = []
    for (const [key, window] of this.#windows) {
      if (window.endsAt > now) break
      this.#windows.delete(key)
      if (window.count === 0) continue
      const { entry, count } = window
      if (this.#allow(now)) {
        due.push({ entry, count })
        this.#windows.set(key, { entry, endsAt: now + STRANGER_WINDOW_MS, count: 0 })
      } else {
        this.#countOther(entry, now, count)
      }
    }
    if (this.#othersEndAt !== undefined && this.#othersEndAt <= now)
      due.push(...this.#closeOthers())
    return due
  }

  /** @returns all that is counted and not written */
  drain(): readonly Counted[] {
    const counted = [...this.#windows.values()].filter(({ count }) => count > 0)
    const due = counted.map(({ entry, count }) => ({ entry, count }))
    this.#windows.clear()
    return [...due, ...this.#closeOthers()]
  }

  nextDeadline(): MonotonicMs | undefined {
    const [first] = this.#windows.values()
    const ends = [first?.endsAt, this.#othersEndAt].filter((at) => at !== undefined)
    return ends.length === 0 ? undefined : Math.min(...ends)
  }

  #countOther({ event, reason }: AuditEntry, now: MonotonicMs, count = 1): void {
    const wanted = reason ?? event
    // One place is kept for the reasons that have none.
    const hasRoom = this.#others.has(wanted) || this.#others.size < AUDIT_DETAILS_MAX - 1
    const name = hasRoom && /^[A-Za-z0-9_.-]{1,64}$/.test(wanted) ? wanted : 'other'
    this.#others.set(name, (this.#others.get(name) ?? 0) + count)
    this.#othersEndAt ??= now + STRANGER_WINDOW_MS
  }

  #closeOthers(): readonly Counted[] {
    if (this.#others.size === 0) return []
    const detail = Object.fromEntries(this.#others)
    const count = [...this.#others.values()].reduce((sum, one) => sum + one, 0)
    this.#others.clear()
    this.#othersEndAt = undefined
    return [{ entry: { event: STRANGERS_EVENT, detail }, count }]
  }

  #allow(now: MonotonicMs): boolean {
    this.#refilledAt ??= now
    const windows = Math.floor((now - this.#refilledAt) / STRANGER_WINDOW_MS)
    if (windows > 0) {
      this.#refilledAt += windows * STRANGER_WINDOW_MS
      this.#allowed = Math.min(STRANGER_BURST, this.#allowed + windows * STRANGER_REFILL)
    }
    if (this.#allowed === 0) return false
    this.#allowed--
    return true
  }
}

function withoutNode({ node: _, ...entry }: AuditEntry): AuditEntry {
  return entry
}
