import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { connectQmp } from '@mycelium/endophyte'
import { createBoottimeClock } from '@mycelium/ram'
import { describe, expect, it, onTestFinished } from 'vitest'
import { GuestLife } from '../src/demo/guest-life.ts'
import type { HostProcess } from '../src/demo/host-process.ts'
import { damageMemory, killHost, makeFaultKit, signalIfAlive, ticks } from './fault-kit.ts'

describe('the guest ends by itself', () => {
  it('shuts down during replication: nobody restarts it from a checkpoint', async () => {
    const kit = await makeFaultKit({ load: { exit: { how: 'poweroff', atTick: 200 } } })
    const { active, backup } = await kit.protectedPair()
    await active.exited
    await backup.exited
    expect(active.ending?.text).toBe('the guest has shut down')
    expect(backup.ending?.text).toBe('the guest has shut down')
    expect(backup.takeover).toBeUndefined()
  })

  it('restarts during replication: it goes on being protected, and survives a kill', async () => {
    const kit = await makeFaultKit({ load: { exit: { how: 'reboot', atTick: 200 } } })
    const { active, backup } = await kit.protectedPair()
    await active.until(() => active.status.includes('the guest restarted'), kit.signal)
    // Its counter begins anew.
    await active.until(() => (active.lastTick?.tick ?? 1_000) < 100, kit.signal)
    await ticks(active, 20, kit.signal)
    killHost(active)
    await backup.until(() => backup.firstTick, kit.signal)
    await ticks(backup, 20, kit.signal)
    expect(backup.guestErrors).toBe(0)
  })
})

describe('a backup dies', () => {
  it('and a new process with its name is filled again', async () => {
    const kit = await makeFaultKit()
    const { active, backup } = await kit.protectedPair()
    killHost(backup)
    await active.until(() => active.inSync.length === 0, kit.signal)
    const again = kit.cluster.startHost('backup', { self: backup.id })
    await active.until(() => active.inSync.includes(again.id), kit.signal)
    killHost(active)
    await again.until(() => again.firstTick, kit.signal)
    expect(again.guestErrors).toBe(0)
  })

  it('returns, and the active dies before it is filled: one clear line and no guest', async () => {
    const kit = await makeFaultKit()
    const { active, backup } = await kit.protectedPair()
    killHost(backup)
    await active.until(() => active.inSync.length === 0, kit.signal)
    const again = kit.cluster.startHost('backup', { self: backup.id })
    await active.until(() => active.backups.get(again.id) === 'filling', kit.signal)
    killHost(active)
    const refusal = await again.until(() => again.refusal, kit.signal)
    expect(refusal).toBe('node-2 is not in the in-sync set of tested: it does not take over')
    expect(again.takeover).toBeUndefined()
  })

  it('again and again, at any moment of its work: the active runs on', async () => {
    const kit = await makeFaultKit({ load: { memoryMebibytes: 16, pagesPerTick: 400 } })
    const { active, backup } = await kit.protectedPair()
    let current = backup
    for (let round = 0; round < 3; round++) {
      // Kill it right when it says that it has applied: the next epoch is on its way or half there.
      const { lastApplied } = current
      await current.until(() => current.lastApplied !== lastApplied, kit.signal)
      killHost(current)
      await active.until(() => active.inSync.length === 0, kit.signal)
      current = kit.cluster.startHost('backup', { self: backup.id })
      await kit.protect(active, current)
    }
    await ticks(active, 20, kit.signal)
    killHost(active)
    await current.until(() => current.firstTick, kit.signal)
    await ticks(current, 20, kit.signal)
    expect(current.guestErrors).toBe(0)
  })
})

describe('one byte of the memory of a backup changes by itself', () => {
  it('and the next epoch that is compared tells of one page', async () => {
    const kit = await makeFaultKit()
    const { active, backup } = await kit.protectedPair()
    active.tell({ type: 'hashing', isOn: true })
    await active.until(() => active.lastEpoch?.mismatchPages === 0, kit.signal)
    damageMemory(backup)
    // One that was compared before may still be on its way.
    await active.until(() => active.lastEpoch?.mismatchPages !== 0, kit.signal)
    expect(active.lastEpoch?.mismatchPages).toBe(1)
    await backup.until(() => backup.lastApplied?.mismatchPages === 1, kit.signal)
  })

  it('and its takeover tells of one page, found after loading', async () => {
    const kit = await makeFaultKit()
    const { active, backup } = await kit.protectedPair()
    damageMemory(backup)
    killHost(active)
    const takeover = await backup.until(() => backup.takeover, kit.signal)
    expect(takeover.mismatchPages).toBe(1)
    expect(backup.lastApplied?.mismatchPages).toBeUndefined()
  })
})

describe('the active host is stopped for longer than its lease', () => {
  it('alone: the guest runs on elsewhere, and not here any more', async () => {
    const kit = await makeFaultKit()
    const { active, backup } = await kit.protectedPair()
    await expectLife(active, kit.signal)
    active.kill('SIGSTOP')
    await backup.until(() => backup.leaseEpoch > active.leaseEpoch, kit.signal)
    const afterlife = lifeOf(active)
    await backup.until(() => backup.firstTick, kit.signal)
    await ticks(backup, 20, kit.signal)
    expect(afterlife.hasRun).toBe(false)
    active.kill('SIGCONT')
    await active.exited
    expect(active.ending?.text).toMatch(/^lease 1 on tested is lost: the guest was stopped$/)
    await ticks(backup, 20, kit.signal)
    expect(backup.guestErrors).toBe(0)
  })

  it('with its QEMU and its guard: the kernel ends them at the deadline', async () => {
    const kit = await makeFaultKit()
    const { active, backup } = await kit.protectedPair()
    const guardPid = parentOf(active.qemuPid)
    await expectLife(active, kit.signal)
    for (const pid of [active.pid, guardPid, active.qemuPid]) process.kill(pid, 'SIGSTOP')
    await backup.until(() => backup.leaseEpoch > active.leaseEpoch, kit.signal)
    // Nobody is continued yet: what ends now was ended by the kernel.
    const afterlife = lifeOf(active)
    await backup.until(() => !isRunning(active.qemuPid), kit.signal)
    for (const pid of [active.pid, guardPid, active.qemuPid]) signalIfAlive(pid, 'SIGCONT')
    await active.exited
    await backup.until(() => backup.firstTick, kit.signal)
    expect(afterlife.hasRun).toBe(false)
    expect(backup.guestErrors).toBe(0)
  })
})

describe('the lease server', () => {
  it('is killed and restarted: the guest runs on, and epochs do not repeat', async () => {
    const kit = await makeFaultKit({ changes: { ttlMs: 5_000 } })
    const { active, backup } = await kit.protectedPair()
    const { leaseServer } = kit.cluster
    leaseServer.kill('SIGKILL')
    await leaseServer.exited
    await kit.cluster.startLeaseServer(kit.signal)
    await ticks(active, 50, kit.signal)
    killHost(active)
    await backup.until(() => backup.firstTick, kit.signal)
    expect(backup.leaseEpoch).toBeGreaterThan(active.leaseEpoch)
    expect(backup.guestErrors).toBe(0)
  })

  it('is lost for good: the guest stops at the deadline, with one clear line', async () => {
    const ttlMs = 2_000
    const kit = await makeFaultKit({ changes: { ttlMs } })
    const { active, backup } = await kit.protectedPair()
    const clock = createBoottimeClock()
    const killedAt = clock.now()
    kit.cluster.leaseServer.kill('SIGKILL')
    await active.exited
    expect(active.ending?.text).toMatch(/^lease 1 on tested is lost: the guest was stopped$/)
    expect(isRunning(active.qemuPid)).toBe(false)
    // Renewed at a third of its time, it ran for the rest, less drift and the time to stop; and
    // never until another could have it.
    const stoppedAt = active.lastTick?.at ?? Number.NaN
    expect(stoppedAt).toBeGreaterThan(killedAt + ttlMs / 2)
    expect(stoppedAt).toBeLessThan(killedAt + ttlMs)
    expect(active.status.filter((text) => /lease|record/.test(text))).toEqual([])
    // The backup asks for ever, and says it once.
    const complaint = 'the lease server does not answer, trying again'
    await backup.until(() => backup.status.includes(complaint), kit.signal)
    expect(backup.status.filter((text) => text === complaint)).toHaveLength(1)
  })
})

function lifeOf({ qemuPid, vcpuThreads }: HostProcess): GuestLife {
  return new GuestLife(qemuPid, vcpuThreads)
}

/** The guest runs, and that is seen: that it does not later says something. */
async function expectLife(host: HostProcess, signal: AbortSignal): Promise<void> {
  const life = lifeOf(host)
  await ticks(host, 5, signal)
  expect(life.hasRun).toBe(true)
}

function statOf(pid: number): readonly string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

function parentOf(pid: number): number {
  const parent = Number(statOf(pid)?.[1])
  expect(parent).toBeGreaterThan(1)
  return parent
}

function isRunning(pid: number): boolean {
  const state = statOf(pid)?.[0]
  return state !== undefined && state !== 'Z'
}

describe('somebody else', () => {
  it('pauses the guest through QMP: it stays paused until they continue it', async () => {
    const kit = await makeFaultKit()
    const monitor = `mycelium-test-${randomUUID()}`
    const active = kit.cluster.startHost('active', {
      deviceArguments: [
        '-chardev',
        `socket,id=other,path=${monitor},abstract=on,server=on,wait=off`,
        '-mon',
        'chardev=other,mode=control',
      ],
    })
    const backup = kit.cluster.startHost('backup')
    await active.until(() => active.firstTick, kit.signal)
    await kit.protect(active, backup)
    const socket = connect(`\0${monitor}`)
    onTestFinished(() => {
      socket.destroy()
    })
    const qmp = await connectQmp({ socket })
    await qmp.execute('stop')
    await active.until(() => active.status.some((text) => text.startsWith('somebody')), kit.signal)
    // Epochs would continue it: what was under way ends, and the guest stands still.
    const atPause = active.lastTick?.tick
    const { status } = await qmp.execute('query-status')
    expect(status).toBe('paused')
    await qmp.execute('cont')
    await ticks(active, 20, kit.signal)
    expect(active.lastTick?.tick).toBeGreaterThan(atPause ?? 0)
    killHost(active)
    await backup.until(() => backup.firstTick, kit.signal)
    expect(backup.guestErrors).toBe(0)
  })
})
