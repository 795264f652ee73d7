/** A backup that is killed at any moment of its work leaves an image from which it can return. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { BulkChannel, NodeId } from '@mycelium/interface'
import { afterEach, expect, it } from 'vitest'
import {
  createBoottimeClock,
  createRegion,
  createSystemRandom,
  createUnixChannels,
  type Region,
} from '../src/index.ts'
import { removeFolder, temporaryFolder } from './channel-harness.ts'
import {
  bringInSync,
  firstDifference,
  nextEvent,
  PAGE,
  replicate,
  stampPages,
  startPrimary,
} from './kit/cluster.ts'

/** So many that to apply them takes long enough to be killed in the middle of it. */
const PAGES = 2 ** 14
const BACKUP = 'backup' as NodeId
/** An apply that is over before the kill arrives was too quick for this machine: once more. */
const ROUNDS_MAX = 40

const program = fileURLToPath(new URL('./programs/keeping-backup.ts', import.meta.url))
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function setup() {
  const folder = await temporaryFolder()
  cleanups.push(() => removeFolder(folder))
  const side = await startPrimary(PAGES * PAGE)
  cleanups.push(() => side[Symbol.asyncDispose]())
  /** What the backup writes: it outlives each of its processes. */
  const image = createRegion({ bytes: PAGES * PAGE })
  cleanups.push(() => {
    image.close()
  })
  const deps = { clock: createBoottimeClock(), random: createSystemRandom() }
  const channels = createUnixChannels(deps, { local: 'primary' as NodeId, folder })
  await channels.start()
  cleanups.push(() => channels.stop())

  const start = async (): Promise<{ child: ChildProcess; channel: BulkChannel }> => {
    const args = ['--conditions=@mycelium/source', program, folder, String(image.bytes)]
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'inherit', 'inherit', image.fd, 'ipc'],
    })
    cleanups.push(() => child.kill('SIGKILL'))
    await once(child, 'message')
    const channel = await channels.open(BACKUP, 'ram/killed')
    side.primary.attach(channel)
    await bringInSync(side)
    return { child, channel }
  }
  return { ...side, image, start }
}

/** Whether `page` has been written by {@link stampPages} in `round`. */
function isStamped(region: Region, page: number, round: number): boolean {
  return new DataView(region.buffer.buffer).getUint32(page * PAGE, true) === (page ^ (round << 20))
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}

it('killed while it receives or applies an epoch, it returns to the same image', async () => {
  const { region, primary, image, start } = await setup()
  /** Per epoch that was not acknowledged: the pages of the image that were of it. */
  const applied: number[] = []
  const isHalf = (pages: number): boolean => pages > 0 && pages < PAGES
  const moments: ((round: number, sentBefore: number) => boolean)[] = [
    (_, sentBefore) => primary.stats().sentBytes - sentBefore > (PAGES * PAGE) / 2,
    ...[0, 1 / 64, 1 / 4, 1 / 2, 3 / 4].map(
      (part) => (round: number) => isStamped(image, part * PAGES, round),
    ),
  ]
  for (
    let round = 1;
    round <= moments.length || (!applied.some(isHalf) && round <= ROUNDS_MAX);
    round++
  ) {
    const { child, channel } = await start()
    expect(firstDifference(region.buffer, image.buffer), `before round ${round}`).toBeUndefined()
    stampPages(region, 0, PAGES, round)
    const isTheMoment = moments[round % moments.length] ?? (() => true)
    const { sentBytes } = primary.stats()
    const suspended = nextEvent(channel, 'suspended')
    const acknowledged = replicate({ primary })
    await until(() => isTheMoment(round, sentBytes))
    child.kill('SIGKILL')
    await once(child, 'exit')
    await suspended
    channel.abort(new Error('the backup was killed'))
    const { by } = await acknowledged
    const pages = Array.from({ length: PAGES }, (_, page) => isStamped(image, page, round))
    const fresh = pages.filter(Boolean).length
    if (by.length === 0) applied.push(fresh)
    else expect(fresh, 'pages of an acknowledged epoch').toBe(PAGES)
    // Pages that it has of a lost epoch, and that no epoch after its return will speak of.
    region.buffer.fill(0, 0, 100 * PAGE)
    expect((await replicate({ primary })).by).toEqual([])
  }
  expect(applied.filter(isHalf), `pages applied: ${applied.join()}`).not.toEqual([])
  await start()
  expect(firstDifference(region.buffer, image.buffer)).toBeUndefined()
  expect(Buffer.compare(await region.hashPages(), await image.hashPages())).toBe(0)
})
