import type { NodeId } from '@mycelium/interface'
import { afterEach, describe, expect, it } from 'vitest'
import type { Version } from '../src/index.ts'
import { JOIN_PAGES_MAX } from '../src/index.ts'
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

describe('a promotion', () => {
  it('gives the last epoch, and drops what was on its way', async () => {
    const side = await primaryOf(BYTES)
    const other = backupOf('b', BYTES)
    await connect(side, other)
    await bringInSync(side)
    stampPages(side.region, 0, 30)
    const { name } = await replicate(side)
    const moment = side.region.buffer.slice()
    stampPages(side.region, 0, 256, 7)
    await side.primary.checkpoint()
    const version = await other.backup.promote()
    const isNext = version.name.counter === name.counter + 1
    const image = isNext ? side.region.buffer : moment
    expect(firstDifference(image, other.region.buffer)).toBeUndefined()
    expect(Buffer.compare(other.backup.hashes(), await other.region.hashPages())).toBe(0)
    await expect(other.backup.promote()).rejects.toMatchObject({ code: 'ERR_RAM_CLOSED' })
    await expect(other.backup.attach(channelPair('b').acceptor)).rejects.toMatchObject({
      code: 'ERR_RAM_CLOSED',
    })
  })

  it('is impossible without an epoch, at once and while it fills', async () => {
    const fresh = backupOf('b', BYTES)
    await expect(fresh.backup.promote()).rejects.toMatchObject({ code: 'ERR_RAM_NOT_PROMOTABLE' })
    const side = await primaryOf(LARGE)
    stampPages(side.region, 0, 2 * JOIN_PAGES_MAX)
    await side.primary.precopy()
    const other = backupOf('c', LARGE)
    await connect(side, other)
    await expect(other.backup.promote()).rejects.toMatchObject({ code: 'ERR_RAM_NOT_PROMOTABLE' })
  })

  it('makes a primary whose backups refuse the old one', async () => {
    const side = await primaryOf(BYTES)
    stampPages(side.region, 0, 200)
    const heir = backupOf('heir', BYTES)
    const other = backupOf('other', BYTES)
    for (const backup of [heir, other]) await connect(side, backup)
    await bringInSync(side)
    await heir.backup.promote()
    const next = await primaryOf(heir.region, { fencing: 2n })
    await connect(next, other)
    await bringInSync(next)
    stampPages(next.region, 3, 1, 5)
    await replicate(next)
    expect(other.backup.fencing).toBe(2n)
    const held = other.region.buffer.slice()
    if (side.primary.backups().some(({ id }) => id === other.id))
      await side.primary.detach(other.id)
    const lost = nextEvent<{ id: NodeId; reason: Error }>(side.primary, 'backup:lost')
    await connect(side, other)
    expect((await lost).reason).toMatchObject({
      code: 'ERR_RAM_REFUSED',
      remoteCode: 'ERR_RAM_FENCED',
    })
    expect(firstDifference(held, other.region.buffer)).toBeUndefined()
    expect(other.backup.applied).toMatchObject({ name: { fencing: 2n } } satisfies {
      name: Partial<Version['name']>
    })
  })
})
