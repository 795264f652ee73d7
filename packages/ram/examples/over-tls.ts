/** The same over TLS 1.3: each side pins the other's key. Both in one process, to be short. */
import type { NodeId } from '@mycelium/interface'
import {
  createBackup,
  createBoottimeClock,
  createNodeCertificate,
  createPrimary,
  createRegion,
  createSystemRandom,
  createTlsChannels,
} from '@mycelium/ram'

const [writer, keeper] = ['writer' as NodeId, 'keeper' as NodeId]
// Made once on each machine and kept there; only the fingerprints are told to the other.
const keys = { writer: createNodeCertificate(writer), keeper: createNodeCertificate(keeper) }
const deps = { clock: createBoottimeClock(), random: createSystemRandom() }

await using there = createTlsChannels(deps, {
  ...keys.keeper,
  local: keeper,
  peers: [{ node: writer, fingerprint: keys.writer.fingerprint }],
  listen: { host: '127.0.0.1', port: 0 },
})
await there.start()
if (there.address === undefined) throw new Error('it does not listen')
await using here = createTlsChannels(deps, {
  ...keys.writer,
  local: writer,
  peers: [{ node: keeper, fingerprint: keys.keeper.fingerprint, address: there.address }],
})

const bytes = 2 ** 20
const [ours, theirs] = [createRegion({ bytes }), createRegion({ bytes })]
await using primary = createPrimary({ region: ours, ...deps }, { compression: 'lz4' })
await using backup = createBackup({ region: theirs })
await primary.start()
const accepted = there.accept('ram/')[Symbol.asyncIterator]()
primary.attach(await here.open(keeper, 'ram/example'))
const { value: channel } = await accepted.next()
if (channel !== undefined) await backup.attach(channel)

ours.buffer.set(new TextEncoder().encode('still here'))
for (let holders = 0; holders === 0;) {
  const { acknowledged } = await primary.checkpoint()
  holders = (await acknowledged).by.length
}
await backup.promote()
console.log(new TextDecoder().decode(theirs.buffer.subarray(0, 10)))
