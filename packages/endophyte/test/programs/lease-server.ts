/**
 * A lease server process for tests. Says `ready` when it listens.
 *
 * usage: lease-server.ts FOLDER
 */
import { createBoottimeClock } from '@mycelium/ram'
import { createLeaseServer } from '../../src/lease/lease-server.ts'

const [folder = ''] = process.argv.slice(2)
await createLeaseServer({ clock: createBoottimeClock() }, { folder }).start()
process.stdout.write('ready\n')
