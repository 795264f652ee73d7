/** Replication over real sockets: unix and TLS, cut and mended. */
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { BulkChannel, BulkChannelProvider, NodeId, Startable } from '@mycelium/interface'
import { afterEach, describe, expect, it } from 'vitest'
import {
  createBoottimeClock,
  createNodeCertificate,
  createPrimary,
  createRegion,
  createSystemRandom,
  createTlsChannels,
  createUnixChannels,
} from '../src/index.ts'
import { Cable, JumpingClock, removeFolder, temporaryFolder } from './channel-harness.ts'
import {
  bringInSync,
  firstDifference,
  makeBackup,
  nextEvent,
  PAGE,
  replicate,
  stampPages,
} from './kit/cluster.ts'

const BYTES = 512 * PAGE
const PRIMARY = 'primary' as NodeId
const BACKUP = 'backup' as NodeId
const PURPOSE = 'ram/example/1'
/** Minutes, so that only the test's own clock ends anything. */
const PATIENT = {
  graceMs: 600_000,
  silenceMs: 200_000,
  connectMs: 100_000,
  backoffMs: 1,
  backoffMsMax: 4,
}
/** Larger than what the sockets and channels may hold on their way. */
const ROOM = { bufferBytesMax: 2 ** 22, messageBytesMax: 2 ** 21 }

interface Wiring {
  /** Of the primary, which opens. */
  readonly near: BulkChannelProvider & Startable
  readonly far: BulkChannelProvider & Startable
  readonly cable: Cable
  readonly clock: JumpingClock
}

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function wireUnix(): Promise<Wiring> {
  const folders = [await temporaryFolder(), await temporaryFolder()] as const
  for (const folder of folders) cleanups.push(() => removeFolder(folder))
  const clock = new JumpingClock()
  const deps = { clock, random: createSystemRandom() }
  const init = { ...PATIENT, ...ROOM }
  // A folder for each, and a cable from the one to the other.
  const near = createUnixChannels(deps, { ...init, local: PRIMARY, folder: folders[0] })
  const far = createUnixChannels(deps, { ...init, local: BACKUP, folder: folders[1] })
  for (const channels of [near, far]) {
    await channels.start()
    cleanups.push(() => channels.stop())
  }
  const cable = new Cable({ path: far.socketPath(BACKUP) })
  await cable.listen({ path: join(folders[0], `${BACKUP}.sock`) })
  cleanups.push(() => cable.close())
  return { near, far, cable, clock }
}

async function wireTls(): Promise<Wiring> {
  const host = '127.0.0.1'
  const keys = [createNodeCertificate(PRIMARY), createNodeCertificate(BACKUP)] as const
  const clock = new JumpingClock()
  const deps = { clock, random: createSystemRandom() }
  const init = { ...PATIENT, ...ROOM }
  const far = createTlsChannels(deps, {
    ...init,
    ...keys[1],
    local: BACKUP,
    peers: [{ node: PRIMARY, fingerprint: keys[0].fingerprint }],
    listen: { host, port: 0 },
  })
  await far.start()
  cleanups.push(() => far.stop())
  const cable = new Cable(far.address ?? { host, port: 0 })
  const { port } = (await cable.listen({ host, port: 0 })) as AddressInfo
  cleanups.push(() => cable.close())
  const near = createTlsChannels(deps, {
    ...init,
    ...keys[0],
    local: PRIMARY,
    peers: [{ node: BACKUP, fingerprint: keys[1].fingerprint, address: { host, port } }],
  })
  await near.start()
  cleanups.push(() => near.stop())
  return { near, far, cable, clock }
}

for (const [name, wire] of [
  ['unix', wireUnix],
  ['TLS', wireTls],
] as const) {
  describe(`over ${name} sockets`, () => {
    async function setup() {
      const wiring = await wire()
      const region = createRegion({ bytes: BYTES })
      const primary = createPrimary({ region, clock: createBoottimeClock() })
      await primary.start()
      const other = makeBackup(BACKUP, BYTES)
      cleanups.push(async () => {
        await primary.stop()
        await other[Symbol.asyncDispose]()
        region.close()
      })
      const accepted = wiring.far.accept('ram/')[Symbol.asyncIterator]()
      /** A new session. */
      const connect = async (): Promise<readonly [BulkChannel, BulkChannel]> => {
        const [near, far] = await Promise.all([wiring.near.open(BACKUP, PURPOSE), accepted.next()])
        if (far.done === true) throw new Error('no channel was accepted')
        primary.attach(near)
        await other.backup.attach(far.value)
        return [near, far.value]
      }
      const expectSame = (): void => {
        expect(firstDifference(region.buffer, other.region.buffer)).toBeUndefined()
      }
      return { ...wiring, region, primary, other, connect, expectSame }
    }

    it('epochs arrive, are acknowledged, and promoted', async () => {
      const { region, primary, other, connect, expectSame } = await setup()
      await connect()
      stampPages(region, 0, 512)
      await bringInSync({ primary })
      for (let round = 0; round < 20; round++) {
        stampPages(region, round * 20, 30, round)
        expect((await replicate({ primary })).by).toEqual([BACKUP])
        expectSame()
      }
      const { name: epoch } = await other.backup.promote()
      expect(epoch).toEqual(primary.stats().lastAcknowledged)
    })

    it('a cut in the middle of an epoch is mended, and nothing is sent again by us', async () => {
      const { region, primary, other, connect, cable, expectSame } = await setup()
      const [channel] = await connect()
      await bringInSync({ primary })
      const lost: unknown[] = []
      primary.addEventListener('backup:lost', ({ detail }) => lost.push(detail))
      for (const [round, part] of [0.05, 0.25, 0.5, 0.75, 0.95].entries()) {
        const { applied } = other.backup
        const { sentBytes } = primary.stats()
        stampPages(region, 0, 512, round)
        const suspended = nextEvent(channel, 'suspended')
        const cut = cable.cutAfter(BYTES * part)
        const { name, acknowledged } = await primary.checkpoint()
        const { lastEpochBytes } = primary.stats()
        expect(lastEpochBytes).toBeGreaterThan(0.98 * BYTES)
        let isPending = true
        const settle = (): void => {
          isPending = false
        }
        acknowledged.then(settle, settle)
        await cut
        await suspended
        expect(isPending).toBe(true)
        expect(other.backup.applied).toEqual(applied)
        cable.mend()
        expect(await acknowledged).toEqual({ name, by: [BACKUP] })
        expect(primary.stats().sentBytes - sentBytes).toBeLessThan(lastEpochBytes + PAGE)
        expectSame()
      }
      expect(lost).toEqual([])
    })

    it('a session that is lost gives way to another, for the pages missed', async () => {
      const { region, primary, other, connect, cable, clock, expectSame } = await setup()
      const channels = await connect()
      stampPages(region, 0, 512)
      await bringInSync({ primary })
      const suspended = Promise.all(channels.map((end) => nextEvent(end, 'suspended')))
      const detached = nextEvent(other.backup, 'detached')
      const lost = nextEvent<{ reason: unknown }>(primary, 'backup:lost')
      cable.cut()
      stampPages(region, 7, 3, 2)
      const { acknowledged } = await primary.checkpoint()
      await suspended
      clock.jump(PATIENT.graceMs)
      expect((await lost).reason).toMatchObject({ code: 'ERR_BULK_SESSION_LOST' })
      await detached
      expect((await acknowledged).by).toEqual([])
      cable.mend()
      const before = primary.stats().sentBytes
      await connect()
      await bringInSync({ primary })
      expectSame()
      expect(primary.stats().sentBytes - before).toBeLessThan(8 * PAGE)
    })
  })
}
