/**
 * usage: keeping-backup.ts FOLDER BYTES
 *
 * Keeps the replica of whoever opens a channel in FOLDER, in the memory file on descriptor 3. Says
 * `ready` when it listens. Lives until it is killed.
 */
import type { NodeId } from '@mycelium/interface'
import {
  adoptRegion,
  createBackup,
  createBoottimeClock,
  createSystemRandom,
  createUnixChannels,
} from '../../src/index.ts'

const [folder = '', bytes] = process.argv.slice(2)
const region = adoptRegion({ fd: 3, bytes: Number(bytes) })
const backup = createBackup({ region })
const deps = { clock: createBoottimeClock(), random: createSystemRandom() }
const channels = createUnixChannels(deps, { local: 'backup' as NodeId, folder })
await channels.start()
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
for await (const channel of channels.accept('ram/')) await backup.attach(channel)
