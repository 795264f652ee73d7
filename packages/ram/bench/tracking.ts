/**
 * What tracking costs, for each tier that works here. For a Node program that writes to a region:
 * the same writes to a region that is replicated and to one that is not, alternating. For a search
 * that finds nothing: beside a comparison with a copy.
 */
import { loadAddon, type TrackerTierName } from '../src/addon.ts'
import {
  createBoottimeClock,
  createPrimary,
  createRegion,
  PAGE_BYTES,
  type RamPrimary,
  type Region,
} from '../src/index.ts'
import { median, spread } from '../../../scripts/statistics.ts'

const BYTES: number = 256 * 2 ** 20
const PAGES: number = BYTES / PAGE_BYTES
/** Pages that each round writes to for the first time since the last epoch. */
const DIRTY_PAGES = 2_000
const ROUNDS = 101
const SCANS = 51
const TIERS: readonly TrackerTierName[] = ['async', 'sync', 'hash', 'shadow']
/** Length of an epoch in milliseconds, and how many a program runs for. */
const EPOCH_MS = 100
const EPOCHS = 20
const PROGRAM_SAMPLES = 7
const WRITES_PER_LOOK = 10_000

interface Pair {
  readonly tracked: Region
  readonly untracked: Region
  readonly primary: RamPrimary
}

/** A page number that seems random, and is the same for both regions. */
const scatter = (index: number): number => (Math.imul(index, 0x9e3779b1) >>> 0) % PAGES

/** Nanoseconds for each write of a word to a page of its own. */
function writeOnce({ buffer }: Region, round: number): number {
  const words = new Uint32Array(buffer.buffer)
  const start = process.hrtime.bigint()
  for (let index = 0; index < DIRTY_PAGES; index++) {
    words[(scatter(round * DIRTY_PAGES + index) * PAGE_BYTES) / 4] = round
  }
  return Number(process.hrtime.bigint() - start) / DIRTY_PAGES
}

async function measureFirstWrites({ tracked, untracked, primary }: Pair): Promise<object> {
  const ours: number[] = []
  const peer: number[] = []
  for (let round = 1; round <= ROUNDS; round++) {
    const checkpoint = await primary.checkpoint()
    await checkpoint.acknowledged
    ours.push(writeOnce(tracked, round))
    peer.push(writeOnce(untracked, round))
  }
  return {
    name: `first write to a page after an epoch, tier ${primary.tracker.tier}`,
    unit: 'ns',
    samples: ROUNDS,
    ours: median(ours),
    oursSpread: spread(ours),
    peerName: 'the same without tracking',
    peer: median(peer),
  }
}

/** Milliseconds to look through memory that is populated, and in which nothing was written. */
async function measureScan(tier: TrackerTierName): Promise<object> {
  const addon = loadAddon()
  const memory = addon.createMemory(BYTES, 'bench')
  const bytes = Buffer.from(memory.arrayBuffer())
  bytes.fill(1)
  const copy = Buffer.from(bytes)
  const tracker = await addon.openTracker(memory, { tier })
  const ours: number[] = []
  const peer: number[] = []
  await tracker.scan()
  for (let scan = 0; scan < SCANS; scan++) {
    const start = performance.now()
    await tracker.scan()
    const middle = performance.now()
    if (bytes.compare(copy) !== 0) throw new Error('nobody wrote to it')
    ours.push(middle - start)
    peer.push(performance.now() - middle)
  }
  tracker.close()
  memory.close()
  return {
    name: `scan of ${BYTES / 2 ** 20} MiB, nothing dirty, tier ${tier}`,
    unit: 'ms',
    samples: SCANS,
    ours: median(ours),
    oursSpread: spread(ours),
    peerName: 'Buffer.compare with a copy',
    peer: median(peer),
  }
}

/** Millions of writes in a second of a program that does nothing else, epochs included. */
async function runProgram({ buffer }: Region, primary: RamPrimary | undefined): Promise<number> {
  const words = new Uint32Array(buffer.buffer)
  const start = performance.now()
  let writes = 0
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    const end = performance.now() + EPOCH_MS
    // A working set of 2,000 pages that moves on from epoch to epoch.
    while (performance.now() < end) {
      for (let count = 0; count < WRITES_PER_LOOK; count++, writes++) {
        const page = scatter(epoch * DIRTY_PAGES + (writes % DIRTY_PAGES))
        words[(page * PAGE_BYTES) / 4 + (writes & 1023)] = writes
      }
    }
    await primary?.checkpoint()
  }
  return writes / (performance.now() - start) / 1e3
}

async function measureProgram({ tracked, untracked, primary }: Pair): Promise<object> {
  const ours: number[] = []
  const peer: number[] = []
  for (let sample = 0; sample < PROGRAM_SAMPLES; sample++) {
    ours.push(await runProgram(tracked, primary))
    peer.push(await runProgram(untracked, undefined))
  }
  return {
    name: `writes of a program with an epoch every ${EPOCH_MS} ms, ${DIRTY_PAGES} pages dirty`,
    unit: 'million/s',
    samples: PROGRAM_SAMPLES,
    ours: median(ours),
    oursSpread: spread(ours),
    peerName: 'the same without tracking and epochs',
    peer: median(peer),
  }
}

async function works(tier: TrackerTierName): Promise<boolean> {
  const addon = loadAddon()
  const memory = addon.createMemory(addon.hostPageBytes, 'bench')
  try {
    const tracker = await addon.openTracker(memory, { tier })
    tracker.close()
    return true
  } catch (error) {
    console.error(`tier ${tier} is not measured: ${String(error)}`)
    return false
  } finally {
    memory.close()
  }
}

/** With a primary of `tier`, or of the best that works. */
async function withPair<T>(
  tier: TrackerTierName | undefined,
  measure: (pair: Pair) => Promise<T>,
): Promise<T> {
  using tracked = createRegion({ bytes: BYTES })
  using untracked = createRegion({ bytes: BYTES })
  for (const region of [tracked, untracked]) region.buffer.fill(1)
  const deps = { region: tracked, clock: createBoottimeClock() }
  await using primary = createPrimary(deps, tier === undefined ? {} : { tier })
  await primary.start()
  return await measure({ tracked, untracked, primary })
}

export async function bench(): Promise<readonly object[]> {
  const figures: object[] = []
  for (const tier of TIERS) {
    if (!(await works(tier))) continue
    figures.push(await withPair(tier, measureFirstWrites), await measureScan(tier))
  }
  figures.push(await withPair(undefined, measureProgram))
  return figures
}
