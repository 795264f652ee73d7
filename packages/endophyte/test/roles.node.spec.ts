import { describe, expect, it } from 'vitest'
import { makeRoleWorld } from './role-kit.ts'

describe('a VM', () => {
  it('is taken over by its backup, which holds all that was seen, and again by the next', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    const next = await world.backup('c')
    await active.crash()
    await world.takenOverBy(backup)
    expect(backup.told('lease').at(-1)?.epoch).toBe(2n)
    backup.host.setPeers([next.id])
    await backup.protectedBy('c')
    await backup.shows(5)
    await backup.crash()
    await world.takenOverBy(next)
    expect(next.told('lease').at(-1)?.epoch).toBe(3n)
    world.checkOutput()
  })
})
