import { fstatSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import {
  type BackupSide,
  bringInSync,
  connect,
  firstDifference,
  makeBackup,
  PAGE,
  type PrimarySide,
  replicate,
  stampPages,
  startPrimary,
} from './kit/cluster.ts'

const BYTES = 256 * PAGE
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

const TIERS = ['async', 'sync', 'hash', 'shadow'] as const
/** Tiers that do not work on this machine, and why. */
const missing = new Map<string, string>()
for (const tier of TIERS) {
  await startPrimary(PAGE * 16, { tier }).then(
    (side) => side[Symbol.asyncDispose](),
    (error: Error) => missing.set(tier, error.message),
  )
}

describe('every way', () => {
  for (const tier of TIERS) {
    const reason = missing.get(tier)
    if (reason !== undefined) it.skip(`of tracking by ${tier}: ${reason}`, () => {})
    else
      for (const compression of ['none', 'lz4', 'zstd'] as const) {
        it(`of tracking and compressing replicates: ${tier}, ${compression}`, async () => {
          const side = await primaryOf(BYTES, { tier, compression })
          expect(side.primary.tracker).toEqual({ tier, rejected: [] })
          const other = backupOf('b', BYTES)
          stampPages(side.region, 0, 256)
          await connect(side, other)
          await bringInSync(side)
          for (let round = 0; round < 5; round++) {
            stampPages(side.region, round * 40, 30, round)
            side.region.buffer.fill(0, round * 8 * PAGE, (round * 8 + 3) * PAGE)
            await replicate(side)
            await expectSame(side, other)
          }
        })
      }
  }
})

describe('scrubbing', () => {
  it('finds pages of a backup that changed by themselves', async () => {
    const side = await primaryOf(BYTES)
    const other = backupOf('b', BYTES)
    stampPages(side.region, 0, 100)
    await connect(side, other)
    await bringInSync(side)
    const scrub = async (): Promise<number | undefined> => {
      const epoch = await side.primary.beginEpoch()
      await epoch.capture()
      await epoch.hash()
      const { acknowledged } = await epoch.seal()
      return (await acknowledged).mismatchPages
    }
    expect(await scrub()).toBe(0)
    other.region.buffer[50 * PAGE + 7] = 1
    other.region.buffer[200 * PAGE] = 1
    expect(await scrub()).toBe(2)
  })
})

it('copies nothing of a sparse gibibyte but what holds something', async () => {
  const bytes = 2 ** 30
  const side = await primaryOf(bytes)
  const other = backupOf('b', bytes)
  stampPages(side.region, 100_000, 3)
  await connect(side, other)
  await bringInSync(side)
  stampPages(side.region, 200_000, 3)
  await replicate(side)
  for (const { region } of [side, other]) {
    const usedBytes = fstatSync(region.fd).blocks * 512
    expect(usedBytes).toBeGreaterThanOrEqual(6 * PAGE)
    expect(usedBytes).toBeLessThan(64 * PAGE)
  }
  expect(Buffer.compare(await side.region.hashPages(), other.backup.hashes())).toBe(0)
})
