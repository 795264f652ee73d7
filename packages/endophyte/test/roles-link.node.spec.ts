/** A link that is cut in the middle of an epoch. */
import { PAGE_BYTES } from '@mycelium/ram'
import { describe, expect, it } from 'vitest'
import type { LinkCable } from './link-cable.ts'
import { PAGES } from './memory-machine.ts'
import { makeRoleWorld, type RoleNode } from './role-kit.ts'

/** Epochs in which nearly every page was written. */
const large = (node: RoleNode): number =>
  node.told('epoch').filter(({ dirtyPages }) => dirtyPages > PAGES / 2).length

/** Cuts the link when half of a large epoch is on the backup's side. */
async function cutWithin(active: RoleNode, cable: LinkCable): Promise<void> {
  const before = large(active)
  const cut = cable.cutAfter((PAGES / 2) * PAGE_BYTES)
  active.machine.scribble()
  await cut
  // Nobody has acknowledged it.
  expect(large(active)).toBe(before)
}

describe('a link that is cut in the middle of an epoch', () => {
  it('and is mended: the epoch goes on, and a kill is survived', async () => {
    const world = await makeRoleWorld()
    const { active, backup, cable } = await world.cabledPair()
    const before = large(active)
    await cutWithin(active, cable)
    cable.mend()
    await active.until('the epoch', () => large(active) > before)
    await active.shows(5)
    expect(active.told('backup').some(({ phase }) => phase === 'lost')).toBe(false)
    await active.crash()
    await world.takenOverBy(backup)
    world.checkOutput()
  })

  it('for too long: the backup is filled again, and a kill is survived', async () => {
    const world = await makeRoleWorld()
    const { active, backup, cable } = await world.cabledPair()
    await cutWithin(active, cable)
    await active.until('nobody in sync', () => active.inSync.length === 0)
    cable.mend()
    await active.protectedBy('b')
    await active.shows(5)
    await active.crash()
    await world.takenOverBy(backup)
    world.checkOutput()
  })

  it('and the active dies: the guest runs on from the epoch before', async () => {
    const world = await makeRoleWorld()
    const { active, backup, cable } = await world.cabledPair()
    await cutWithin(active, cable)
    await active.crash()
    await world.takenOverBy(backup)
    world.checkOutput()
  })
})
