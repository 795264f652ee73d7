/** A primary's core over 64 pages, and what tests say to it. */
import type { NodeId } from '@mycelium/interface'
import { expect } from 'vitest'
import type { Version } from '../../src/core/epoch.ts'
import { PrimaryCore, type PrimaryEffect } from '../../src/core/primary.ts'

export const JOIN_PAGES_MAX = 16
export const PAGES = 64
export const BYTES = PAGES * 4096
export const A = 'a' as NodeId
export const B = 'b' as NodeId

export const version = (counter: number, root = BigInt(counter) * 11n): Version => ({
  name: { fencing: 1n, counter },
  root,
})
export const pageSet = (first: number, count: number): Uint8Array => {
  const set = new Uint8Array(PAGES / 8)
  for (let page = first; page < first + count; page++) {
    set[page >> 3] = (set[page >> 3] ?? 0) | (1 << (page & 7))
  }
  return set
}
export const NONE = pageSet(0, 0)
export const FEW = pageSet(0, 3)
export const MANY = pageSet(0, JOIN_PAGES_MAX + 1)

export const make = (): PrimaryCore =>
  new PrimaryCore({
    regionBytes: BYTES,
    pages: PAGES,
    joinPagesMax: JOIN_PAGES_MAX,
    fillBytesMax: 4 * BYTES,
  })
export const types = (effects: readonly PrimaryEffect[]): string[] =>
  effects.map((effect) => (effect.type === 'phase' ? effect.phase : effect.type))
export const only = <Type extends PrimaryEffect['type']>(
  effects: readonly PrimaryEffect[],
  type: Type,
): Extract<PrimaryEffect, { type: Type }> => {
  const found = effects.filter((effect) => effect.type === type)
  expect(found).toHaveLength(1)
  return found[0] as Extract<PrimaryEffect, { type: Type }>
}

export const hello = (
  core: PrimaryCore,
  backup: NodeId,
  applied?: Version,
  root = applied?.root ?? 0n,
) => core.step({ type: 'hello', backup, regionBytes: BYTES, root, ...(applied && { applied }) })
export const seal = (core: PrimaryCore, counter: number, changed = NONE) =>
  core.step({ type: 'sealed', epoch: { version: version(counter), changed } })
export const ack = (core: PrimaryCore, backup: NodeId, counter: number) =>
  core.step({ type: 'ack', backup, version: version(counter) })

/** Attaches an empty backup and brings it in sync with epoch `counter`. */
export function join(core: PrimaryCore, backup: NodeId, counter: number): void {
  core.step({ type: 'attached', backup })
  hello(core, backup)
  core.step({ type: 'missing', backup, pages: FEW })
  seal(core, counter)
  ack(core, backup, counter)
  expect(core.backups().get(backup)?.phase).toBe('in-sync')
}
