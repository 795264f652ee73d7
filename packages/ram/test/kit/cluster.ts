import { once } from 'node:events'
import type { NodeId } from '@mycelium/interface'
import { createMemoryChannelPair, type MemoryChannelPair } from '@mycelium/interface/testing'
import {
  type Acknowledgement,
  type CheckpointInit,
  createBackup,
  createBoottimeClock,
  createPrimary,
  createRegion,
  type RamBackup,
  type RamBackupInit,
  type RamPrimary,
  type RamPrimaryInit,
  type Region,
} from '../../src/index.ts'

export const PAGE = 4096
const MIB = 2 ** 20

/** A backup with its region. */
export interface BackupSide extends AsyncDisposable {
  readonly id: NodeId
  readonly region: Region
  readonly backup: RamBackup
}

/** A primary with its region, started. */
export interface PrimarySide extends AsyncDisposable {
  readonly region: Region
  readonly primary: RamPrimary
}

export async function startPrimary(
  region: Region | number,
  init: RamPrimaryInit = {},
): Promise<PrimarySide> {
  const own = typeof region === 'number' ? createRegion({ bytes: region }) : region
  const primary = createPrimary({ region: own, clock: createBoottimeClock() }, init)
  await primary.start()
  return {
    region: own,
    primary,
    [Symbol.asyncDispose]: async () => {
      await primary.stop()
      own.close()
    },
  }
}

export function makeBackup(id: string, bytes: number, init: RamBackupInit = {}): BackupSide {
  const region = createRegion({ bytes })
  const backup = createBackup({ region }, init)
  return {
    id: id as NodeId,
    region,
    backup,
    [Symbol.asyncDispose]: async () => {
      await backup.stop()
      region.close()
    },
  }
}

export function channelPair(id: string, bufferBytesMax: number = 40 * MIB): MemoryChannelPair {
  return createMemoryChannelPair({
    opener: 'primary' as NodeId,
    acceptor: id as NodeId,
    bufferBytesMax,
    messageBytesMax: Math.min(17 * MIB, bufferBytesMax / 2),
  })
}

/** Connects both over a memory channel. */
export async function connect(
  { primary }: Pick<PrimarySide, 'primary'>,
  { id, backup }: Pick<BackupSide, 'id' | 'backup'>,
  bufferBytesMax?: number,
): Promise<MemoryChannelPair> {
  const pair = channelPair(id, bufferBytesMax)
  primary.attach(pair.opener)
  await backup.attach(pair.acceptor)
  return pair
}

/** Resolves with the detail of the next such event for which `matches` holds. */
export async function nextEvent<Detail>(
  target: unknown,
  type: string,
  matches: (detail: Detail) => boolean = () => true,
): Promise<Detail> {
  for (;;) {
    const [event] = (await once(target as EventTarget, type)) as [{ readonly detail: Detail }]
    if (matches(event.detail)) return event.detail
  }
}

/** Takes an epoch and waits until all in sync hold it. */
export async function replicate(
  { primary }: Pick<PrimarySide, 'primary'>,
  init?: CheckpointInit,
): Promise<Acknowledgement> {
  const { acknowledged } = await primary.checkpoint(init)
  return await acknowledged
}

/** Takes epochs until every backup that is attached is in sync. */
export async function bringInSync(side: Pick<PrimarySide, 'primary'>): Promise<void> {
  const isInSync = (): boolean => side.primary.backups().every(({ phase }) => phase === 'in-sync')
  while (!isInSync()) {
    await replicate(side)
    // What the backups say in between comes over channels.
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}

/** Where the memory differs, or undefined: quicker and shorter than a matcher on megabytes. */
export function firstDifference(one: Uint8Array, other: Uint8Array): number | undefined {
  if (one.length === other.length && Buffer.compare(one, other) === 0) return undefined
  const at = one.findIndex((byte, index) => byte !== other[index])
  return at === -1 ? one.length : at
}

/** Fills pages with bytes that differ from page to page and from round to round. */
export function stampPages(region: Region, first: number, count: number, round = 1): void {
  for (let page = first; page < first + count; page++) {
    const at = page * PAGE
    region.buffer.fill((page * 31 + round) & 255, at, at + PAGE)
    new DataView(region.buffer.buffer, at).setUint32(0, page ^ (round << 20), true)
  }
}
