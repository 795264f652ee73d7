import { describe, expect, it } from 'vitest'
import { GuestEndedError, NotInSyncError, VmLeaseLostError } from '../src/errors.ts'
import type { EndophyteEvents } from '../src/index.ts'
import { makeRoleWorld, type RoleNode, VM } from './role-kit.ts'

const lines = (node: RoleNode, name: 'console' | 'output'): readonly string[] =>
  node.told(name).flatMap((one) => one.lines)

describe('a takeover', () => {
  it('goes to a backup that holds all that was seen, and again to the next', async () => {
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

  it('goes to one of two backups, which then protects itself with the other', async () => {
    const world = await makeRoleWorld()
    const backups = [await world.backup('b'), await world.backup('c')]
    const active = await world.active('a', ['b', 'c'])
    await active.protectedBy('b', 'c')
    await active.shows(5)
    await active.crash()
    const winner = await world.firstToTakeOver(backups)
    const [other] = backups.filter((node) => node !== winner)
    await winner.shows(3)
    winner.host.setPeers([other?.id ?? winner.id])
    await winner.protectedBy(String(other?.id))
    expect(other?.told('takeover')).toEqual([])
    expect(winner.machine.errors).toBe(0)
    world.checkOutput()
  })

  it('comes at once when the active stops in order, and gives its lease back', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    await active.host.stop()
    await world.takenOverBy(backup)
    expect(await active.over()).toBeUndefined()
    world.checkOutput()
  })

  it('comes when the QEMU of the active dies and its host lives', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    active.machine.die('SIGSEGV')
    await world.takenOverBy(backup)
    expect(await active.over()).toMatchObject({
      code: 'ERR_ENDOPHYTE_GUEST_ENDED',
      message: 'QEMU ended: SIGSEGV',
    })
    world.checkOutput()
  })
})

describe('no takeover', () => {
  it('by a backup that lost its link, once the record does not name it any more', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    await backup.channels.stop()
    await active.until('nobody in sync', () => active.inSync.length === 0)
    const refusal = await backup.until('its refusal', () => backup.told('refused-takeover').at(0))
    expect(refusal).toEqual({
      code: 'ERR_ENDOPHYTE_NOT_IN_SYNC',
      text: `b is not in the in-sync set of ${VM}: it does not take over`,
    })
    await active.shows(5)
    await active.crash()
    // Nobody else is there either: the guest is started neither here nor from nothing.
    const another = await world.node('d')
    await expect(another.host.startActive()).rejects.toThrow(NotInSyncError)
    expect(backup.told('takeover')).toEqual([])
    expect(backup.machine.count).toBe(0)
  })

  it('by a process that is named in the record and holds nothing', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    active.failingUpdates = 'not done'
    // No epoch any more: whoever comes is filled, and never complete.
    const stuck = Promise.withResolvers<void>()
    active.machine.onSave = () => stuck.promise
    await backup.crash()
    await active.until('its loss', () => active.told('backup').at(-1)?.phase === 'lost')
    const again = await world.backup('b')
    await active.until('its return', () => active.told('backup').at(-1)?.phase === 'filling')
    await active.crash()
    const refusal = await again.until('its refusal', () => again.told('refused-takeover').at(0))
    expect(refusal.text).toBe(`b holds no complete epoch of ${VM}: it does not take over`)
    expect(again.told('takeover')).toEqual([])
    stuck.resolve()
  })

  it('of a guest that shut down: all that it printed is seen, and it may start anew', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    active.machine.shutDown()
    const ending = { code: 'ERR_ENDOPHYTE_GUEST_ENDED', message: 'the guest has shut down' }
    expect(await active.over()).toMatchObject(ending)
    expect(await backup.over()).toMatchObject(ending)
    expect(backup.told('takeover')).toEqual([])
    expect(world.shown.at(-1)).toBe('last words')
    expect(lines(active, 'output')).toEqual(lines(active, 'console'))
    const anew = await world.active('d')
    await anew.shows(1)
  })

  it('by a backup whose active is there after all', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    await active.channels.stop()
    await backup.until('it is missed', () => backup.status.some((text) => /missed/.test(text)))
    await active.shows(5)
    expect(backup.told('takeover')).toEqual([])
    expect(await world.holder()).toBe('a')
  })
})

describe('an active', () => {
  it('shows output when its backup holds it, in order, and at once when it has none', async () => {
    const world = await makeRoleWorld()
    const active = await world.active('a')
    await active.shows(3)
    // At once: nothing waits.
    expect(lines(active, 'output')).toEqual(lines(active, 'console'))
    await world.backup('b')
    active.host.setPeers(['b' as RoleNode['id']])
    await active.protectedBy('b')
    const stuck = Promise.withResolvers<void>()
    active.machine.onSave = () => stuck.promise
    const from = lines(active, 'console').length
    await active.until('printing', () => lines(active, 'console').length > from)
    active.machine.print('waits')
    await active.until('more', () => active.told('console').length > from + 1)
    expect(world.shown).not.toContain('waits')
    stuck.resolve()
    await active.until('its release', () => world.shown.includes('waits'))
    expect(lines(active, 'console').slice(0, world.shown.length)).toEqual(world.shown)
    world.checkOutput()
  })

  it('takes no epochs while somebody else has paused the guest, and says so once', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    active.machine.pauseByOther()
    const pausedAt = world.clock.now()
    const { length } = active.told('epoch')
    active.host.setPeers(['b' as RoleNode['id']])
    await world.backup('c') // takes a while
    const resumedAt = world.clock.now()
    expect(active.status).toEqual(['somebody paused the guest: no epochs until it is continued'])
    active.machine.resumeByOther()
    await active.until('more epochs', () => active.told('epoch').length > length + 2)
    expect(active.status.slice(1)).toEqual(['the guest was continued'])
    const times = active.told('epoch').map(({ startedAt }) => startedAt)
    expect(times.filter((at) => at >= pausedAt && at < resumedAt)).toEqual([])
    await active.crash()
    await world.takenOverBy(backup)
  })

  it('bears that somebody else pauses the guest while its head is saved', async () => {
    const world = await makeRoleWorld()
    const backup = await world.backup('b')
    const active = await world.active('a')
    active.machine.onSaveHead = () => active.machine.pauseByOther()
    active.host.setPeers([backup.id])
    await active.until('the line', () => active.status.length > 0)
    active.machine.onSaveHead = () => {}
    active.machine.resumeByOther()
    await active.protectedBy('b')
    expect(active.ended).toBe('not yet')
  })

  it('gives up an epoch during which somebody else continued the guest', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    active.machine.onSave = () => {
      active.machine.onSave = () => undefined
      active.machine.resumeByOther()
      return undefined
    }
    await active.until('the line', () =>
      active.status.includes('somebody continued the guest during an epoch, which is given up'),
    )
    await active.shows(5)
    await active.crash()
    await world.takenOverBy(backup)
    world.checkOutput()
  })

  it('takes peers that are named while it starts', async () => {
    const world = await makeRoleWorld()
    const backup = await world.backup('b')
    const active = await world.node('a')
    active.onEvent = (name) => {
      // The machine is up, and no channel can be attached yet.
      if (name === 'machine') setImmediate(() => active.host.setPeers([backup.id]))
      if (name === 'tracker') active.onEvent = () => {}
    }
    await active.host.startActive()
    await active.protectedBy('b')
  })

  it('says that the guest restarted, and goes on', async () => {
    const world = await makeRoleWorld()
    const { active } = await world.pair()
    active.machine.reset()
    expect(active.status).toEqual(['the guest restarted'])
    await active.shows(5)
  })

  it('whose lease is lost ends, and is taken over', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    await active.leases.stop() // nobody renews it any more
    expect(await active.over()).toBeInstanceOf(VmLeaseLostError)
    expect(active.machine.isGone).toBe(true)
    await world.takenOverBy(backup)
    world.checkOutput()
  })

  it.each(['not done', 'done'] as const)(
    'holds output while updates of the record fail (%s), and protects afterwards',
    async (failing) => {
      const world = await makeRoleWorld()
      const backup = await world.backup('b')
      const active = await world.active('a')
      await active.shows(3)
      active.failingUpdates = failing
      active.host.setPeers([backup.id])
      await active.until('two failures', () => active.failedUpdates >= 2)
      // It holds all: output goes on though nobody says whether it counts.
      await active.shows(5)
      // Now it may count, and holds nothing more.
      await backup.channels.stop()
      await active.until('its loss', () => active.told('backup').at(-1)?.phase === 'lost')
      const { length } = world.shown
      const failures = active.failedUpdates
      await active.until('more failures', () => active.failedUpdates >= failures + 2)
      expect(world.shown.slice(length)).toEqual([])
      active.failingUpdates = 'none'
      await active.shows(5)
      const next = await world.backup('c')
      active.host.setPeers([next.id])
      await active.protectedBy('c')
      await active.shows(5)
      await active.crash()
      await world.takenOverBy(next)
      world.checkOutput()
    },
  )

  it('gives up a backup that is a peer no more', async () => {
    const world = await makeRoleWorld()
    const { active } = await world.pair()
    active.host.setPeers([])
    await active.until('nobody in sync', () => active.inSync.length === 0)
    expect(active.told('backup').at(-1)?.phase).toBe('lost')
    await active.shows(5)
  })

  it('tells how the replication goes', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    await active.until('epochs', () => (active.host.stats()?.epochs ?? 0) >= 3)
    expect(active.host.stats()).toMatchObject({
      backlogPages: 0,
      inSync: [backup.id],
      lastAcknowledged: expect.stringMatching(/^1\.\d+$/) as unknown,
    })
    const stats = active.host.stats()
    for (const value of [stats?.epochMs, stats?.pauseMs, stats?.lagMs, stats?.sentBytes]) {
      expect(value).toBeGreaterThan(0)
    }
    const { zero = 0, words = 0, raw = 0, lz4 = 0 } = stats?.encodedBytes ?? {}
    const encodedBytes = zero + words + raw + lz4
    expect(encodedBytes).toBeGreaterThan(4096)
    expect(encodedBytes).toBeLessThan(stats?.sentBytes ?? 0)
    expect(backup.host.stats()).toBeUndefined()
  })

  it('whose backup dies runs on, and is protected by another', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    await backup.crash()
    await active.until('nobody in sync', () => active.inSync.length === 0)
    await active.shows(5)
    const next = await world.backup('c')
    active.host.setPeers([next.id])
    await active.protectedBy('c')
    await active.shows(5)
    await active.crash()
    await world.takenOverBy(next)
    world.checkOutput()
  })

  it('is protected again by a new process with the name of its dead backup', async () => {
    const world = await makeRoleWorld()
    const { active, backup } = await world.pair()
    await backup.crash()
    await active.until('nobody in sync', () => active.inSync.length === 0)
    const again = await world.backup('b')
    await active.protectedBy('b')
    await active.shows(5)
    await active.crash()
    await world.takenOverBy(again)
    world.checkOutput()
  })
})

describe('stop', () => {
  /** Everything of `node` is gone: its machine, its memory, its lease. */
  const isGone = (node: RoleNode): void => {
    if (!node.hasMachine) return
    expect(node.machine.isGone).toBe(true)
    expect(node.machine.isRegionClosed).toBe(true)
  }

  const stages: readonly (keyof EndophyteEvents)[] = [
    'lease',
    'machine',
    'tracker',
    'console',
    'backup',
    'in-sync',
    'epoch',
    'output',
  ]

  it.each(stages)('of an active at its first %s', async (stage) => {
    const world = await makeRoleWorld()
    const backup = await world.backup('b')
    const active = await world.node('a', ['b'])
    const stopped = Promise.withResolvers<void>()
    active.onEvent = (name) => {
      if (name === stage) stopped.resolve(active.host.stop())
    }
    const started = active.host.startActive()
    await Promise.allSettled([started, stopped.promise])
    await stopped.promise
    await expect(active.host.ended).resolves.toBeUndefined()
    isGone(active)
    // It was given back, or is the backup's by now.
    expect(await world.holder()).not.toBe('a')
    await backup.host.stop()
    isGone(backup)
    expect(await world.holder()).toBeUndefined()
  })

  it('of an active before and right after it was told to start', async () => {
    const world = await makeRoleWorld()
    const before = await world.node('a')
    await before.host.stop()
    await expect(before.host.startActive()).rejects.toThrow(GuestEndedError)
    const after = await world.node('b')
    const started = after.host.startActive()
    await Promise.all([after.host.stop(), expect(started).rejects.toThrow('the host was stopped')])
    isGone(after)
    expect(await world.holder()).toBeUndefined()
  })

  it.each(['machine', 'applied', 'status', 'lease', 'takeover', 'tracker'] as const)(
    'of a backup at its first %s',
    async (stage) => {
      const world = await makeRoleWorld()
      const backup = await world.node('b')
      const stopped = Promise.withResolvers<void>()
      backup.onEvent = (name) => {
        if (name === stage) stopped.resolve(backup.host.stop())
      }
      const started = backup.host.startBackup()
      await Promise.allSettled([started])
      const active = await world.active('a', ['b'])
      if (stage !== 'machine' && stage !== 'applied') {
        await active.protectedBy('b')
        await active.crash()
      }
      await stopped.promise
      await expect(backup.host.ended).resolves.toBeUndefined()
      isGone(backup)
      expect(await world.holder()).not.toBe('b')
    },
  )

  it('twice, and of a host that has ended by itself', async () => {
    const world = await makeRoleWorld()
    const active = await world.active('a')
    active.machine.die('SIGKILL')
    const reason = await active.over()
    expect(reason).toBeInstanceOf(GuestEndedError)
    await Promise.all([active.host.stop(), active.host.stop()])
    await active.host.stop()
    expect(await active.host.ended).toBe(reason)
    isGone(active)
  })
})

describe('a host', () => {
  it('is started once', async () => {
    const world = await makeRoleWorld()
    const active = await world.active('a')
    await expect(active.host.startActive()).rejects.toThrow('a host is started once')
    await expect(active.host.startBackup()).rejects.toThrow(TypeError)
  })

  it('does not start a VM that runs elsewhere, or has died, from nothing', async () => {
    const world = await makeRoleWorld()
    const active = await world.active('a')
    const other = await world.node('b')
    await expect(other.host.startActive()).rejects.toMatchObject({
      code: 'ERR_ENDOPHYTE_NOT_IN_SYNC',
      message:
        `${VM} runs or has died under lease epoch 1: it is not started from nothing a ` +
        'second time',
    })
    expect(other.hasMachine).toBe(false)
    await active.shows(1)
  })
})
