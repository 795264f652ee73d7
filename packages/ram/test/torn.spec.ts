/** A checkpoint is the image of one moment, if nobody writes before it has resolved. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Checkpoint } from '../src/index.ts'
import { bringInSync, connect, makeBackup, PAGE, replicate, startPrimary } from './kit/cluster.ts'

const PAGES = 64
const BYTES = PAGES * PAGE
const CHECKPOINTS = 100
/** Far more than it takes to catch the writer in the middle: the first few do. */
const ATTEMPTS_MAX = 2_000

const RUN = 0
const PAUSE = 1
const END = 3

type Side = Awaited<ReturnType<typeof startPrimary>>
let side: Side
let other: ReturnType<typeof makeBackup>
let worker: Worker
let state: Int32Array<SharedArrayBuffer>

beforeEach(async () => {
  // The worker writes through a mapping of its own, which is not the one that is tracked: a tier
  // that looks at the memory itself finds what it wrote all the same.
  side = await startPrimary(BYTES, { tier: 'hash' })
  other = makeBackup('b', BYTES)
  await connect(side, other)
  await bringInSync(side)
  state = new Int32Array(new SharedArrayBuffer(4))
  const { fd, bytes } = side.region
  worker = new Worker(new URL('./programs/stamping-worker.ts', import.meta.url), {
    workerData: { fd, bytes, shared: state.buffer },
    execArgv: ['--conditions=@mycelium/source'],
  })
  await once(worker, 'online')
})

afterEach(async () => {
  await pause()
  state[0] = END
  Atomics.notify(state, 0)
  await once(worker, 'exit')
  await side[Symbol.asyncDispose]()
  await other[Symbol.asyncDispose]()
})

async function pause(): Promise<void> {
  if (Atomics.compareExchange(state, 0, RUN, PAUSE) !== RUN) return
  await Atomics.waitAsync(state, 0, PAUSE).value
}

function resume(): void {
  Atomics.store(state, 0, RUN)
  Atomics.notify(state, 0)
}

/** All stamps in the image of the backup. */
function stamps(): Set<number> {
  const view = new DataView(other.region.buffer.buffer)
  const found = new Set<number>()
  for (let page = 0; page < BYTES; page += PAGE) {
    found.add(view.getUint32(page))
    found.add(view.getUint32(page + PAGE - 4))
  }
  return found
}

type Take = () => Promise<Checkpoint>

async function takeStopped(): Promise<Checkpoint> {
  await pause()
  return await side.primary.checkpoint()
}

async function takeCopiedBefore(): Promise<Checkpoint> {
  const epoch = await side.primary.beginEpoch()
  await epoch.precopy()
  await pause()
  await epoch.capture()
  return await epoch.seal()
}

async function expectWhole(take: Take): Promise<void> {
  const seen = new Set<number>()
  for (let round = 0; round < CHECKPOINTS; round++) {
    const { acknowledged } = await take()
    resume()
    await acknowledged
    const found = stamps()
    expect(found.size, `stamps in one image: ${[...found].join(', ')}`).toBe(1)
    for (const stamp of found) seen.add(stamp)
  }
  expect(seen.size, 'the writer really wrote in between').toBeGreaterThan(CHECKPOINTS / 2)
}

it('is whole whenever the writer stood still until it had resolved', async () => {
  await expectWhole(takeStopped)
})

it('is whole though most of it was copied while the writer ran', async () => {
  await expectWhole(takeCopiedBefore)
})

it('is torn, and seen to be, if the writer goes on', async () => {
  let attempts = 1
  await replicate(side)
  while (stamps().size === 1 && attempts < ATTEMPTS_MAX) {
    await replicate(side)
    attempts++
  }
  expect(stamps().size, `no torn image in ${attempts} attempts`).toBeGreaterThan(1)
})
