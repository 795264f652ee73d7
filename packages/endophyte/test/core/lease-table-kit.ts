import type { NodeId } from '@mycelium/interface'
import type { AcquireRequest, LeaseReply, LeaseRequest } from '../../src/core/lease-messages.ts'
import { LEASE_TOKEN_BYTES } from '../../src/core/lease-messages.ts'
import { LeaseTable } from '../../src/core/lease-table.ts'
import type { LeaseEntry, LeaseTableEffect, LeaseTableInput } from '../../src/core/lease-table.ts'

export const TTL_MS = 1000
export const a = 'a' as NodeId
export const b = 'b' as NodeId
export const c = 'c' as NodeId

export function token(number: number): Uint8Array {
  return new Uint8Array(LEASE_TOKEN_BYTES).fill(number)
}

export function acquireOf(
  holder: NodeId,
  number: number,
  more: Partial<AcquireRequest> = {},
): AcquireRequest {
  const record = new Uint8Array([number])
  const fixed = { op: 'acquire', name: 'x', ttlMs: TTL_MS, wait: true } as const
  return { ...fixed, holder, token: token(number), record, ...more }
}

/** A grantor whose disk is instant. */
export class Grantor {
  now = 0
  readonly disk = new Map<string, LeaseEntry>()
  readonly replies = new Map<number, LeaseReply>()
  readonly views: bigint[] = []
  effects: LeaseTableEffect[] = []
  table: LeaseTable
  #key = 0

  constructor(entries: readonly LeaseEntry[] = []) {
    this.table = new LeaseTable(entries, 0)
  }

  step(input: LeaseTableInput): void {
    this.effects = this.table.step(input, this.now)
    for (const effect of this.effects) {
      if (effect.type === 'persist') this.disk.set(effect.entry.name, effect.entry)
      else if (effect.type === 'reply') this.replies.set(effect.key, effect.reply)
      else this.views.push(effect.view.version)
    }
  }

  /** @returns the key under which the reply appears */
  ask(request: LeaseRequest): number {
    const key = this.#key++
    this.step({ type: 'request', key, request })
    return key
  }

  reply(request: LeaseRequest): LeaseReply | undefined {
    return this.replies.get(this.ask(request))
  }

  /** Lets time pass as a shell does: a tick at every deadline. */
  elapse(ms: number): void {
    const until = this.now + ms
    for (;;) {
      const deadline = this.table.nextDeadline()
      if (deadline === undefined || deadline > until) break
      this.now = Math.max(this.now, deadline)
      this.step({ type: 'tick' })
    }
    this.now = until
  }

  restart(): void {
    this.table = new LeaseTable(this.disk.values(), this.now)
  }
}
