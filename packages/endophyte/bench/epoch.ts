/**
 * How long a guest stands still for an epoch, beside the floor: stop, save the devices, continue,
 * without our capture. The same guest with the same load, in blocks that alternate, so that what
 * else the machine does meets both; the first of each block does not count. Epochs go to a backup
 * in another process over a unix socket, and each is acknowledged before the next begins.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NodeId } from '@mycelium/interface'
import {
  createBoottimeClock,
  createPrimary,
  createSystemRandom,
  createUnixChannels,
  type RamPrimary,
} from '@mycelium/ram'
import { median, quantile, spread } from '../../../scripts/statistics.ts'
import { encodeDeviceState, encodeStateDifference } from '../src/core/state-difference.ts'
import type { Qemu } from '../src/qemu/qemu.ts'
import { startBackup } from './kit/backup.ts'
import { boot, prepareGuestHost, startGuest } from './kit/guest.ts'

const MEMORY_BYTES = 256 * 2 ** 20
const INTERVAL_MS = 100
/** 2,000 pages in 100 ms. */
const LOAD = { memoryMebibytes: 64, pagesPerTick: 400, tickMs: 20 } as const
const BLOCKS = 12
const SAMPLES_PER_BLOCK = 20

/** The guest did the work of so much time, whatever the clock says: see guest/load.c. */
const TICKS_PER_INTERVAL: number = INTERVAL_MS / LOAD.tickMs

interface Block {
  readonly pausesMs: readonly number[]
  readonly dirtyPages: readonly number[]
  /** Processor time of the guest per tick, in milliseconds. */
  readonly guestMs: number
}

/** What takes epochs, and what else belongs to it. */
interface Setting {
  readonly qemu: Qemu
  readonly primary: RamPrimary
  readonly head: Uint8Array
  lastState: Uint8Array | undefined
}

/** As `ActiveVm` does it. */
async function takeEpoch(
  setting: Setting,
): Promise<{ readonly pauseMs: number; readonly dirtyPages: number }> {
  const { qemu, primary, head, lastState } = setting
  const epoch = await primary.beginEpoch()
  await epoch.precopy()
  const startMs = performance.now()
  const { stopped, state } = qemu.stopAndSaveState()
  await stopped
  await epoch.capture()
  const tail = await state
  await epoch.captureTail()
  await qemu.cont()
  const pauseMs = performance.now() - startMs
  const full = encodeDeviceState({ head, tail })
  const difference = lastState && encodeStateDifference(lastState, tail)
  setting.lastState = tail
  const { acknowledged, dirtyPages } = await epoch.seal({ full, ...(difference && { difference }) })
  await acknowledged
  return { pauseMs, dirtyPages }
}

async function takeFloor({
  qemu,
}: Setting): Promise<{ readonly pauseMs: number; readonly dirtyPages: number }> {
  const startMs = performance.now()
  const { stopped, state } = qemu.stopAndSaveState()
  await stopped
  await state
  await qemu.cont()
  return { pauseMs: performance.now() - startMs, dirtyPages: 0 }
}

/** Of a thread of QEMU so far, in milliseconds. */
function threadMs(pid: number, thread: number): number {
  const [ns] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')
  return Number(ns) / 1e6
}

async function measureBlock(setting: Setting, take: typeof takeFloor): Promise<Block> {
  const { qemu } = setting
  const guestMs = (): number =>
    qemu.vcpuThreads.reduce((sum, thread) => sum + threadMs(qemu.pid, thread), 0)
  let lastTick = 0
  const listening = new AbortController()
  qemu.addEventListener(
    'console',
    ({ detail }) => {
      lastTick = Number(/^tick (\d+) /.exec(detail.line)?.[1] ?? lastTick)
    },
    listening,
  )
  const pausesMs: number[] = []
  const dirtyPages: number[] = []
  let before = { guestMs: 0, tick: 0 }
  let dueMs = performance.now()
  for (let index = -1; index < SAMPLES_PER_BLOCK; index++) {
    const sample = await take(setting)
    if (index < 0) {
      before = { guestMs: guestMs(), tick: lastTick }
    } else {
      pausesMs.push(sample.pauseMs)
      dirtyPages.push(sample.dirtyPages)
    }
    dueMs = Math.max(dueMs + INTERVAL_MS, performance.now())
    await new Promise((resolve) => setTimeout(resolve, Math.max(1, dueMs - performance.now())))
  }
  listening.abort()
  return {
    pausesMs,
    dirtyPages,
    guestMs: (guestMs() - before.guestMs) / Math.max(1, lastTick - before.tick),
  }
}

async function measure(): Promise<{ readonly ours: Block[]; readonly floor: Block[] }> {
  const host = await prepareGuestHost()
  const folder = mkdtempSync(join(tmpdir(), 'bench-'))
  const guest = { role: 'wait', memoryBytes: MEMORY_BYTES, load: LOAD } as const
  const deps = { clock: createBoottimeClock(), random: createSystemRandom() }
  const ours: Block[] = []
  const floor: Block[] = []
  try {
    await using backup = await startBackup({ host, guest, folder, id: 'backup' as NodeId })
    await using channels = createUnixChannels(deps, { local: 'active' as NodeId, folder })
    await using running = await startGuest(host, { ...guest, role: 'run' })
    const { qemu, region } = running
    await boot(running, TICKS_PER_INTERVAL)
    await using primary = createPrimary(
      { region, clock: deps.clock },
      { writer: { pid: qemu.pid } },
    )
    await primary.start()
    const setting: Setting = { qemu, primary, head: await qemu.saveHead(), lastState: undefined }
    primary.attach(await channels.open(backup.id, 'bench'))
    while (primary.backups()[0]?.phase !== 'in-sync') {
      await takeEpoch(setting)
      await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS))
    }
    for (let block = 0; block < BLOCKS; block++) {
      ours.push(await measureBlock(setting, takeEpoch))
      floor.push(await measureBlock(setting, takeFloor))
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return { ours, floor }
}

export async function bench(): Promise<readonly object[]> {
  const { ours, floor } = await measure()
  const pages = Math.round(median(ours.flatMap(({ dirtyPages }) => dirtyPages)))
  const pausesOf = (blocks: readonly Block[]): number[] => blocks.flatMap((one) => one.pausesMs)
  const peerName = 'stop, state and cont alone'
  const guestOf = (blocks: readonly Block[]): number[] => blocks.map(({ guestMs }) => guestMs)
  return [
    {
      name: `pause with ${pages} dirty pages`,
      unit: 'ms',
      samples: BLOCKS * SAMPLES_PER_BLOCK,
      ours: median(pausesOf(ours)),
      oursSpread: spread(pausesOf(ours)),
      peerName,
      peer: median(pausesOf(floor)),
    },
    {
      name: 'the same, 99th percentile',
      unit: 'ms',
      samples: BLOCKS * SAMPLES_PER_BLOCK,
      ours: quantile(pausesOf(ours), 0.99),
      oursSpread: spread(ours.map(({ pausesMs }) => quantile(pausesMs, 0.99))),
      peerName,
      peer: quantile(pausesOf(floor), 0.99),
    },
    {
      name: 'processor time of the guest per tick',
      unit: 'ms',
      samples: BLOCKS,
      ours: median(guestOf(ours)),
      oursSpread: spread(guestOf(ours)),
      peerName: 'without tracking',
      peer: median(guestOf(floor)),
    },
  ]
}
