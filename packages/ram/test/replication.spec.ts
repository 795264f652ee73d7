import { afterEach, describe, expect, it } from 'vitest'
import { HEAD_BYTES } from '../src/constants.ts'
import type { AppliedEpoch, EpochAttachment } from '../src/index.ts'
import { createPrimary, createBoottimeClock, JOIN_PAGES_MAX } from '../src/index.ts'
import {
  type BackupSide,
  bringInSync,
  channelPair,
  connect,
  firstDifference,
  makeBackup,
  nextEvent,
  PAGE,
  type PrimarySide,
  replicate,
  stampPages,
  startPrimary,
} from './kit/cluster.ts'

const BYTES = 256 * PAGE
/** More than may travel with a joining epoch: it is filled in the background first. */
const LARGE = 2 * JOIN_PAGES_MAX * PAGE

const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const side of open.splice(0).reverse()) await side[Symbol.asyncDispose]()
})
const keep = <Side extends AsyncDisposable>(side: Side): Side => {
  open.push(side)
  return side
}
const primaryOf = async (...args: Parameters<typeof startPrimary>): Promise<PrimarySide> =>
  keep(await startPrimary(...args))
const backupOf = (...args: Parameters<typeof makeBackup>): BackupSide => keep(makeBackup(...args))

async function expectSame(one: PrimarySide | BackupSide, other: BackupSide): Promise<void> {
  expect(firstDifference(one.region.buffer, other.region.buffer)).toBeUndefined()
  const hashes = await other.region.hashPages()
  expect(Buffer.compare(hashes, other.backup.hashes()), 'the table of hashes').toBe(0)
}

describe('a backup', () => {
  it('joins with the first epoch and holds each one that is acknowledged', async () => {
    const side = await primaryOf(BYTES)
    stampPages(side.region, 0, 100)
    const other = backupOf('b', BYTES)
    await connect(side, other)
    await bringInSync(side)
    await expectSame(side, other)
    for (let round = 2; round < 10; round++) {
      stampPages(side.region, round * 3, round, round)
      side.region.buffer.fill(0, 0, round * 100)
      const { name, by } = await replicate(side)
      expect(by).toEqual(['b'])
      expect(other.backup.applied?.name).toEqual(name)
      await expectSame(side, other)
    }
    const { pages, epochs } = side.primary.stats()
    expect(pages.words + pages.raw + pages.zero).toBeGreaterThan(100)
    expect(epochs).toBeGreaterThan(8)
  })

  it('keeps the image of the checkpoint while the writer goes on', async () => {
    const side = await primaryOf(BYTES)
    const other = backupOf('b', BYTES)
    await connect(side, other)
    stampPages(side.region, 0, 200)
    await bringInSync(side)
    stampPages(side.region, 0, 200, 2)
    const moment = side.region.buffer.slice()
    const { acknowledged, dirtyPages } = await side.primary.checkpoint()
    stampPages(side.region, 0, 200, 3)
    await acknowledged
    expect(dirtyPages).toBeGreaterThanOrEqual(200)
    expect(firstDifference(moment, other.region.buffer)).toBeUndefined()
  })

  it('is one of several, each of which may come late', async () => {
    const side = await primaryOf(BYTES)
    const others: BackupSide[] = []
    for (const id of ['a', 'b', 'c']) {
      stampPages(side.region, others.length * 10, 40, others.length)
      others.push(backupOf(id, BYTES))
      const last = others.at(-1)
      if (last !== undefined) await connect(side, last)
      await bringInSync(side)
      stampPages(side.region, 5, 5, 9)
      const { by } = await replicate(side)
      expect([...by].sort()).toEqual(others.map((other) => other.id))
      for (const other of others) await expectSame(side, other)
    }
  })

  it('is filled in the background, and epochs of the others go on meanwhile', async () => {
    const side = await primaryOf(LARGE)
    const early = backupOf('early', LARGE)
    await connect(side, early)
    await bringInSync(side)
    stampPages(side.region, 0, 2 * JOIN_PAGES_MAX)
    await replicate(side)
    const late = backupOf('late', LARGE)
    const seen = new Set<string>()
    side.primary.addEventListener('backup:phase', ({ detail }) => {
      if (detail.id === 'late') seen.add(detail.phase)
    })
    await connect(side, late)
    for (let round = 0; !seen.has('in-sync'); round++) {
      stampPages(side.region, (round * 7) % JOIN_PAGES_MAX, 20, round)
      expect((await replicate(side)).by).toContain('early')
    }
    expect([...seen]).toEqual(['greeting', 'filling', 'joining', 'in-sync'])
    for (const other of [early, late]) await expectSame(side, other)
  })

  it('gets the pages copied ahead of the first epoch', async () => {
    const side = await primaryOf(BYTES)
    const other = backupOf('b', BYTES)
    await connect(side, other)
    stampPages(side.region, 0, 50)
    expect(await side.primary.precopy()).toBeGreaterThanOrEqual(50)
    stampPages(side.region, 40, 20, 2)
    await bringInSync(side)
    await expectSame(side, other)
    stampPages(side.region, 0, 3, 3)
    expect(await side.primary.precopy(), 'with a backup in sync').toBe(0)
    await replicate(side)
    await expectSame(side, other)
  })
})

describe('statistics', () => {
  it('count and name only epochs that somebody holds', async () => {
    const side = await primaryOf(BYTES)
    const alone = await replicate(side)
    expect(alone.by).toEqual([])
    expect(side.primary.stats()).toMatchObject({ epochs: 0 })
    expect(side.primary.stats()).not.toHaveProperty('lastAcknowledged')
    const other = backupOf('b', BYTES)
    const pair = await connect(side, other)
    await bringInSync(side)
    const held = await replicate(side)
    expect(held.by).toEqual(['b'])
    const { epochs } = side.primary.stats()
    expect(side.primary.stats().lastAcknowledged).toEqual(held.name)
    const gone = nextEvent(side.primary, 'backup:lost')
    pair.lose()
    await gone
    expect((await replicate(side)).by).toEqual([])
    expect(side.primary.stats()).toMatchObject({ epochs, lastAcknowledged: held.name })
  })
})

describe('bytes by encoding', () => {
  const sumOf = (side: PrimarySide): number =>
    Object.values(side.primary.stats().encodedBytes).reduce<number>((sum, one) => sum + one, 0)

  it('are all that an epoch is made of', async () => {
    const side = await primaryOf(BYTES, { compression: 'lz4' })
    await connect(side, backupOf('b', BYTES))
    expect(side.primary.stats().encodedBytes).toEqual({ zero: 0, words: 0, raw: 0, lz4: 0 })
    stampPages(side.region, 0, 100)
    await bringInSync(side)
    crypto.getRandomValues(side.region.buffer.subarray(10 * PAGE, 20 * PAGE)) // raw
    side.region.buffer[30 * PAGE] = 255 // words
    side.region.buffer.fill(0, 40 * PAGE, 50 * PAGE) // zero
    side.region.buffer.fill(7, 60 * PAGE, 70 * PAGE) // lz4
    const before = { bytes: sumOf(side), ...side.primary.stats().encodedBytes }
    await replicate(side)
    const { encodedBytes, lastEpochBytes } = side.primary.stats()
    expect(sumOf(side) - before.bytes).toBe(lastEpochBytes - HEAD_BYTES)
    expect(encodedBytes.zero - before.zero).toBe(8)
    expect(encodedBytes.words - before.words).toBe(4 + 8 + 1 + 8)
    expect(encodedBytes.raw - before.raw).toBe(10 * (4 + PAGE))
    expect(encodedBytes.lz4 - before.lz4).toBeGreaterThan(10 * 6)
  })

  it('include what is sent to fill a backup', async () => {
    const side = await primaryOf(LARGE)
    stampPages(side.region, 0, 2 * JOIN_PAGES_MAX)
    await connect(side, backupOf('b', LARGE))
    await bringInSync(side)
    expect(side.primary.stats().encodedBytes.raw).toBeGreaterThan(0.9 * LARGE)
  })
})

describe('a backup that returns', () => {
  it('gets only the pages that changed since it went', async () => {
    const side = await primaryOf(BYTES)
    stampPages(side.region, 0, 256)
    const other = backupOf('b', BYTES)
    const pair = await connect(side, other)
    await bringInSync(side)
    const gone = nextEvent(other.backup, 'detached')
    pair.lose()
    await gone
    stampPages(side.region, 10, 2, 2)
    expect((await replicate(side)).by).toEqual([])
    const before = side.primary.stats().sentBytes
    await connect(side, other)
    await bringInSync(side)
    await expectSame(side, other)
    const sentBytes = side.primary.stats().sentBytes - before
    // Two pages with their heads, out of 1 MiB.
    expect(sentBytes).toBeGreaterThan(PAGE)
    expect(sentBytes).toBeLessThan(4 * PAGE)
  })

  it('in the middle of an epoch loses nothing', async () => {
    const side = await primaryOf(BYTES)
    const other = backupOf('b', BYTES)
    let pair = await connect(side, other)
    await bringInSync(side)
    for (let round = 0; round < 20; round++) {
      stampPages(side.region, round, 60, round)
      const { acknowledged } = await side.primary.checkpoint()
      for (let turn = 0; turn < round; turn++) await Promise.resolve()
      pair.lose()
      await acknowledged
      pair = await connect(side, other)
      await bringInSync(side)
      await expectSame(side, other)
    }
  })

  it('is filled if it missed much, and cannot be promoted until it is', async () => {
    const side = await primaryOf(LARGE)
    const other = backupOf('b', LARGE)
    const pair = await connect(side, other)
    await bringInSync(side)
    const gone = nextEvent(other.backup, 'detached')
    pair.lose()
    await gone
    stampPages(side.region, 0, JOIN_PAGES_MAX + 1)
    await replicate(side)
    expect(other.backup.applied).toBeDefined()
    await connect(side, other)
    while (other.backup.applied !== undefined) await new Promise((done) => setImmediate(done))
    await expect(other.backup.promote()).rejects.toMatchObject({ code: 'ERR_RAM_NOT_PROMOTABLE' })
  })

  it('may be attached again from the event of its loss', async () => {
    const side = await primaryOf(BYTES)
    const other = backupOf('b', BYTES)
    const pair = await connect(side, other)
    await bringInSync(side)
    side.primary.addEventListener('backup:lost', () => void connect(side, other), { once: true })
    stampPages(side.region, 0, 100)
    const { acknowledged } = await side.primary.checkpoint()
    pair.lose()
    await acknowledged
    await bringInSync(side)
    expect((await replicate(side)).by).toEqual(['b'])
    await expectSame(side, other)
  })
})

describe('a loss', () => {
  it('is told before the epoch counts as acknowledged without that backup', async () => {
    const side = await primaryOf(BYTES)
    const other = backupOf('b', BYTES)
    const pair = await connect(side, other)
    await bringInSync(side)
    const events: string[] = []
    side.primary.addEventListener('backup:lost', () => events.push('lost'))
    side.primary.addEventListener('acknowledged', ({ detail }) => {
      events.push(`acknowledged by ${detail.by.length}`)
    })
    pair.suspend()
    const { acknowledged } = await side.primary.checkpoint()
    pair.lose()
    await acknowledged
    expect(events).toEqual(['lost', 'acknowledged by 0'])
  })

  it('ends the work for its channel, and not that for the channel that follows', async () => {
    const side = await primaryOf(LARGE)
    const other = backupOf('b', LARGE)
    const room = 2.5 * 2 ** 20
    const pair = await connect(side, other, room)
    await bringInSync(side)
    const lost: unknown[] = []
    side.primary.addEventListener('backup:lost', ({ detail }) => {
      // Within the event: what still waits for room in the old channel fails after it.
      if (lost.push(detail) === 1) void connect(side, other)
    })
    stampPages(side.region, 0, JOIN_PAGES_MAX)
    pair.suspend()
    const sealing = side.primary.checkpoint()
    while (pair.opener.stats().acceptedBytes < room / 2) {
      await new Promise((done) => setImmediate(done))
    }
    pair.lose()
    await sealing
    await bringInSync(side)
    expect(lost).toHaveLength(1)
    await expectSame(side, other)
  })
})

describe('what travels beside the pages', () => {
  const full = Uint8Array.of(1, 2)
  const difference = Uint8Array.of(9)

  async function attachments(attachment?: EpochAttachment): Promise<AppliedEpoch[]> {
    const side = await primaryOf(BYTES)
    const epochs: AppliedEpoch[] = []
    const other = backupOf('b', BYTES, { onApplied: (epoch) => epochs.push(epoch) })
    await connect(side, other)
    const init = attachment === undefined ? {} : { attachment }
    while (epochs.length < 2) {
      await replicate(side, init)
      await new Promise((done) => setImmediate(done))
    }
    return epochs
  }

  it('is whole for who joins, and a difference for who has the one before', async () => {
    const [first, second] = await attachments({ full, difference })
    expect(first?.attachment).toEqual({ kind: 'full', bytes: full })
    expect(second?.attachment).toEqual({ kind: 'difference', bytes: difference })
  })

  it('is whole each time if there is no difference, and nothing if there is nothing', async () => {
    for (const { attachment } of await attachments({ full })) {
      expect(attachment).toEqual({ kind: 'full', bytes: full })
    }
    for (const { attachment } of await attachments()) expect(attachment.kind).toBe('none')
  })

  it('has a bound, and an epoch over it is not lost', async () => {
    const side = await primaryOf(BYTES)
    const other = backupOf('b', BYTES)
    await connect(side, other)
    await bringInSync(side)
    stampPages(side.region, 0, 3)
    const tooLong = new Uint8Array(16 * 2 ** 20 - 4096 + 1)
    await expect(side.primary.checkpoint({ attachment: { full: tooLong } })).rejects.toThrow(
      /^attachment must be at most 16773120 bytes, got 16773121$/,
    )
    await replicate(side, { attachment: { full: tooLong.subarray(1) } })
    await expectSame(side, other)
  })

  it('refuses the epoch if it cannot be taken, and comes whole after a comparison', async () => {
    const side = await primaryOf(BYTES)
    const taken: AppliedEpoch[] = []
    let fails = false
    const other = backupOf('b', BYTES, {
      onApplied: (epoch) => {
        if (fails) throw new Error('no room for it')
        taken.push(epoch)
      },
    })
    await connect(side, other)
    await bringInSync(side)
    fails = true
    stampPages(side.region, 0, 3)
    const refused = nextEvent(other.backup, 'refused')
    const { by } = await replicate(side, { attachment: { full, difference } })
    expect(by).toEqual([])
    expect(await refused).toEqual({
      code: 'ERR_RAM_REJECTED',
      text: 'the epoch was not taken: no room for it',
    })
    expect(other.backup.applied).toBeUndefined()
    fails = false
    while (!(await replicate(side, { attachment: { full, difference } })).by.includes(other.id)) {
      await new Promise((done) => setImmediate(done))
    }
    expect(taken.at(-1)?.attachment).toEqual({ kind: 'full', bytes: full })
    await expectSame(side, other)
  })
})

it('takes a primary that is not started for none', async () => {
  const { region } = backupOf('b', BYTES)
  const primary = createPrimary({ region, clock: createBoottimeClock() })
  expect(() => primary.tracker).toThrow(/not started/)
  expect(() => primary.attach(channelPair('x').opener)).toThrow(/not started/)
  await expect(primary.checkpoint()).rejects.toMatchObject({ code: 'ERR_RAM_CLOSED' })
  await primary.stop()
  await expect(primary.start()).rejects.toMatchObject({ code: 'ERR_RAM_CLOSED' })
})
