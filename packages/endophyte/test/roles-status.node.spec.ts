/** What both roles say: what was acknowledged, and lines for people. */
import { describe, expect, it } from 'vitest'
import { encodeVmRecord } from '../src/core/vm-record.ts'
import { makeRoleWorld, type RoleNode } from './role-kit.ts'

const count = (node: RoleNode, pattern: RegExp): number =>
  node.status.filter((text) => pattern.test(text)).length

describe('an active tells', () => {
  it('of epochs only that a backup holds', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    const stuck = Promise.withResolvers<void>()
    const isCapturing = Promise.withResolvers<void>()
    active.machine.onSave = () => {
      isCapturing.resolve()
      return stuck.promise
    }
    await isCapturing.promise
    await backup.crash()
    await active.until('its loss', () => active.told('backup').at(-1)?.phase === 'lost')
    // When this epoch is complete nobody is there any more.
    active.machine.onSave = () => undefined
    stuck.resolve()
    await world.backup('c')
    active.host.setPeers(['c' as RoleNode['id']])
    await active.protectedBy('c')
    await active.shows(5)
    const epochs = active.told('epoch')
    expect(epochs.filter(({ acknowledgedBy }) => acknowledgedBy.length === 0)).toEqual([])
    // There was one that is not told of.
    const counters = epochs.map(({ name }) => Number(name.split('.')[1]))
    expect(counters.some((counter, index) => counter > (counters[index - 1] ?? 0) + 1)).toBe(true)
    expect(active.host.stats()?.lastAcknowledged).toBe(epochs.at(-1)?.name)
  })

  it.each([
    ['dies', (backup: RoleNode) => backup.crash()],
    ['loses its link', (backup: RoleNode) => backup.channels.stop()],
  ])('that its backup %s, that nobody is left, and when somebody is', async (_, strike) => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    expect(active.status).toEqual([])
    await strike(backup)
    await active.until('both lines', () => active.status.length >= 2)
    const next = await world.backup('c')
    active.host.setPeers([backup.id, next.id])
    await active.protectedBy('c')
    await active.shows(5)
    expect(active.status).toEqual([
      expect.stringMatching(/^b is no backup any more: .+/),
      'unprotected: nobody else holds the guest, which is lost if this host dies',
      'protected again: c holds the guest',
    ])
  })

  it('that one of two backups is lost, and not that it is unprotected', async () => {
    const world = await makeRoleWorld()
    const [b] = [await world.backup('b'), await world.backup('c')]
    const active = await world.active('a', ['b', 'c'])
    await active.protectedBy('b', 'c')
    await b.crash()
    await active.protectedBy('c')
    await active.shows(5)
    expect(active.status).toEqual([expect.stringMatching(/^b is no backup any more: .+/)])
  })

  it('once that the record cannot be updated, and again after it could', async () => {
    const world = await makeRoleWorld()
    const { active } = await world.pair()
    const pattern = /^the record was not updated, trying again: .+/
    for (let round = 1; round <= 2; round++) {
      active.failingUpdates = 'not done'
      active.host.setPeers(round === 1 ? [] : ['b' as RoleNode['id']])
      const failures = active.failedUpdates
      await active.until('five failures', () => active.failedUpdates >= failures + 5)
      expect(count(active, pattern)).toBe(round)
      active.failingUpdates = 'none'
      if (round === 1) await active.until('a success', () => active.inSync.length === 0)
      else await active.protectedBy('b')
    }
  })
})

describe('a backup tells', () => {
  it('once that the lease server does not answer', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    backup.isFailingReads = true
    await active.crash()
    await backup.until('four attempts', () => backup.failedReads >= 4)
    backup.isFailingReads = false
    await world.takenOverBy(backup)
    expect(count(backup, /^the lease server does not answer, trying again$/)).toBe(1)
    expect(count(backup, /^the active is missed: /)).toBe(1)
  })
})

it('a backup that reads the record right before it enters it takes over all the same', async () => {
  const world = await makeRoleWorld()
  const { active, backup } = await world.pair()
  let reads = 0
  backup.onRead = (view) => {
    if (++reads > 1) return view
    const record = encodeVmRecord({ state: 'running', inSync: [] })
    return { ...view, record, version: view.version - 1n }
  }
  await active.crash()
  await world.takenOverBy(backup)
  expect(backup.told('refused-takeover')).toEqual([])
  expect(reads).toBeGreaterThan(1)
  world.checkOutput()
})
