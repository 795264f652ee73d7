/**
 * Full synchronisation of a guest's memory beside QEMU's own live migration of the same guest: in
 * one run, alternating, over unix sockets, from process to process, each time to a QEMU that waits.
 * The guest stands still, so that what both copy is the same; each result is checked by the hashes
 * of all pages. Speed is that of content: pages that are not zero.
 *
 * Ours counts two ways: `join`, a backup that comes to an active that replicates already (after
 * each failover, and whenever a backup returns), and `start`, which adds what an active does once:
 * to open its tracker and to copy the memory into its shadow. QEMU keeps nothing between two
 * migrations.
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
  JOIN_PAGES_MAX,
  PAGE_BYTES,
  type RamPrimary,
} from '@mycelium/ram'
import { median, spread } from '../../../scripts/statistics.ts'
import { migrationEnd } from '../src/qemu/migration.ts'
import type { Qemu } from '../src/qemu/qemu.ts'
import { hashOf, ownCpuSeconds, startBackup } from './kit/backup.ts'
import {
  boot,
  type Guest,
  type GuestHost,
  type GuestInit,
  prepareGuestHost,
  startGuest,
  ticksOf,
} from './kit/guest.ts'

const MIB = 2 ** 20
const HASH_BYTES = 8

/** MiB of guest and of its working set, and how often each way is taken. */
const VARIANTS = [
  { memoryMebibytes: 256, workingSetMebibytes: 160, samples: 7 },
  { memoryMebibytes: 1_024, workingSetMebibytes: 800, samples: 3 },
] as const

/** `undefined`: one stream. */
const MULTIFD_CHANNELS = [undefined, 2, 4] as const

/** 100 GB/s: none. QEMU's default is 128 MiB/s. */
const BANDWIDTH_BYTES_PER_S = 100_000_000_000

/** Large enough to end as soon as QEMU can: the guest stands still anyway. */
const DOWNTIME_MS = 10_000

/** How often the active looks whether the backup lacks little enough, in milliseconds. */
const LOOK_MS = 5

/** `USER_HZ`, in which Linux tells the CPU time of a process (proc(5)). */
const TICKS_PER_SECOND = 100

/** One way of one variant, over all its samples. */
interface Samples {
  readonly megabytesPerSecond: number[]
  readonly cpuSeconds: number[]
}

interface Sample {
  readonly ms: number
  readonly cpuSeconds: number
}

/** Of another process so far, threads that ended included, to a hundredth of a second. */
function cpuSecondsOf(pid: number): number {
  const line = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const [, ...fields] = line.slice(line.lastIndexOf(')') + 1).split(' ')
  // utime and stime are the 14th and 15th field; the first after the name is the third.
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** Bytes of the pages of a guest that are not zero. */
async function contentBytes({ region }: Guest): Promise<number> {
  const hashes = await region.hashPages() // 0 for a page of zeroes
  let pages = 0
  for (let at = 0; at < hashes.byteLength; at += HASH_BYTES) {
    if (hashes.subarray(at, at + HASH_BYTES).some((byte) => byte !== 0)) pages++
  }
  return pages * PAGE_BYTES
}

/** What the ways have in common. */
interface Setting {
  readonly host: GuestHost
  /** Of the waiting side; the running side differs in its role only. */
  readonly waiting: GuestInit
  readonly source: Guest
  /** Of sockets. */
  readonly folder: string
}

function expectEqual(ours: string, theirs: string, what: string): void {
  if (ours !== theirs) throw new Error(`${what}: the image is not that of the source`)
}

/** Milliseconds and CPU seconds of `work`, with that of the processes that `others` tells. */
async function measure(others: () => Promise<number>, work: () => Promise<void>): Promise<Sample> {
  const cpuBefore = ownCpuSeconds() + (await others())
  const startMs = performance.now()
  await work()
  const ms = performance.now() - startMs
  return { ms, cpuSeconds: ownCpuSeconds() + (await others()) - cpuBefore }
}

// ---- ours

/** A backup joins, and returns only when it holds a complete epoch. */
async function synchronise(primary: RamPrimary, qemu: Qemu): Promise<void> {
  for (;;) {
    const [status] = primary.backups()
    if (status === undefined) throw new Error('the backup is lost')
    if (status.phase === 'in-sync') return
    if (status.phase === 'filling' && status.missingPages <= JOIN_PAGES_MAX) {
      await takeEpoch(primary, qemu)
    } else {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  }
}

/** As the epoch loop does, but as soon as the backup can join and not at the next interval. */
async function takeEpoch(primary: RamPrimary, qemu: Qemu): Promise<void> {
  const epoch = await primary.beginEpoch()
  const { stopped, state } = qemu.stopAndSaveState()
  await stopped
  await epoch.capture()
  const full = await state
  await epoch.captureTail()
  const { acknowledged } = await epoch.seal({ full })
  await acknowledged
}

async function measureOurs({ host, waiting, source, folder }: Setting): Promise<{
  readonly start: Sample
  readonly join: Sample
}> {
  const id = 'backup' as NodeId
  const deps = { clock: createBoottimeClock(), random: createSystemRandom() }
  await using backup = await startBackup({ host, guest: waiting, folder, id })
  await using channels = createUnixChannels(deps, { local: 'active' as NodeId, folder })
  const { qemu, region } = source
  await using primary = createPrimary({ region, clock: deps.clock }, { writer: { pid: qemu.pid } })
  const others = async (): Promise<number> => (await backup.cpuSeconds()) + cpuSecondsOf(qemu.pid)
  const starting = await measure(others, async () => await primary.start())
  const joining = await measure(others, async () => {
    primary.attach(await channels.open(backup.id, 'bench'))
    await synchronise(primary, qemu)
  })
  expectEqual(await backup.hash(), await hashOf(region), 'ours')
  return {
    join: joining,
    start: {
      ms: starting.ms + joining.ms,
      cpuSeconds: starting.cpuSeconds + joining.cpuSeconds,
    },
  }
}

// ---- QEMU's own

async function setUp(qemu: Qemu, multifdChannels: number | undefined): Promise<void> {
  const isMultifd = multifdChannels !== undefined
  await qemu.qmp.execute('migrate-set-capabilities', {
    capabilities: [
      { capability: 'x-ignore-shared', state: false },
      { capability: 'multifd', state: isMultifd },
    ],
  })
  await qemu.qmp.execute('migrate-set-parameters', {
    'max-bandwidth': BANDWIDTH_BYTES_PER_S,
    'downtime-limit': DOWNTIME_MS,
    ...(isMultifd && { 'multifd-channels': multifdChannels }),
  })
}

async function measurePeer(
  { host, waiting, source, folder }: Setting,
  multifdChannels: number | undefined,
): Promise<Sample> {
  await using target = await startGuest(host, { ...waiting, isSandboxed: false })
  // QEMU does not migrate twice what has not run in between.
  await source.qemu.cont()
  await source.qemu.stopAndSaveState().state
  const pids = [source.qemu.pid, target.qemu.pid]
  await setUp(source.qemu, multifdChannels)
  await setUp(target.qemu, multifdChannels)
  const uri = `unix:${join(folder, 'migration')}`
  await target.qemu.qmp.execute('migrate-incoming', { uri })
  const ends = [source, target].map(({ qemu }) => migrationEnd(qemu.qmp))
  const sample = await measure(
    async () => pids.reduce((sum, pid) => sum + cpuSecondsOf(pid), 0),
    async () => {
      await source.qemu.qmp.execute('migrate', { uri })
      for (const end of ends) {
        const status = await end
        if (status !== 'completed') throw new Error(`QEMU's migration ended with ${status}`)
      }
    },
  )
  expectEqual(await hashOf(target.region), await hashOf(source.region), "QEMU's")
  return sample
}

const WAYS = ['join', 'start', ...MULTIFD_CHANNELS] as const
type Way = (typeof WAYS)[number]

const nameOf = (way: Way): string => {
  if (typeof way === 'string') return way
  return way === undefined ? 'QEMU' : `QEMU, multifd with ${way} channels`
}

/** All ways, one after the other, `samples` times. */
async function measureVariant(
  host: GuestHost,
  { memoryMebibytes, workingSetMebibytes, samples }: (typeof VARIANTS)[number],
): Promise<{ readonly ways: ReadonlyMap<Way, Samples>; readonly mebibytes: number }> {
  const load = { memoryMebibytes: workingSetMebibytes, pagesPerTick: 0, tickMs: 100 }
  const waiting = { role: 'wait', memoryBytes: memoryMebibytes * MIB, load } as const
  const ways = new Map<Way, Samples>(
    WAYS.map((way) => [way, { megabytesPerSecond: [], cpuSeconds: [] }]),
  )
  await using source = await startGuest(host, { ...waiting, role: 'run' })
  const folder = mkdtempSync(join(tmpdir(), 'bench-'))
  const setting: Setting = { host, waiting, source, folder }
  let bytes = 0
  try {
    await boot(source, 1)
    // The first round does not count: it takes memory from the system that later ones use again.
    for (let sample = -1; sample < samples; sample++) {
      await ticksOf(source.qemu, 3)
      await source.qemu.stopAndSaveState().state
      bytes = await contentBytes(source)
      const note = (way: Way, { ms, cpuSeconds }: Sample): void => {
        if (sample < 0) return
        ways.get(way)?.megabytesPerSecond.push(bytes / ms / 1e3)
        ways.get(way)?.cpuSeconds.push((cpuSeconds * 2 ** 30) / bytes)
      }
      const ours = await measureOurs(setting)
      note('start', ours.start)
      note('join', ours.join)
      for (const way of MULTIFD_CHANNELS) note(way, await measurePeer(setting, way))
      await source.qemu.cont()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return { ways, mebibytes: Math.round(bytes / MIB) }
}

export async function bench(): Promise<readonly object[]> {
  const host = await prepareGuestHost()
  const figures: object[] = []
  for (const variant of VARIANTS) {
    const { ways, mebibytes } = await measureVariant(host, variant)
    const of = (way: Way): Samples => ways.get(way) ?? { megabytesPerSecond: [], cpuSeconds: [] }
    const best = MULTIFD_CHANNELS.reduce((one, other) =>
      median(of(other).megabytesPerSecond) > median(of(one).megabytesPerSecond) ? other : one,
    )
    for (const way of ['join', 'start'] as const) {
      for (const [unit, key] of [
        ['MB/s', 'megabytesPerSecond'],
        ['CPU s per GiB', 'cpuSeconds'],
      ] as const) {
        figures.push({
          name: `${way}, ${mebibytes} MiB of content`,
          unit,
          samples: variant.samples,
          ours: median(of(way)[key]),
          oursSpread: spread(of(way)[key]),
          peerName: nameOf(best),
          peer: median(of(best)[key]),
        })
      }
    }
  }
  return figures
}
