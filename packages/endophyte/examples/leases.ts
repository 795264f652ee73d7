/** Two processes want to act, and one may: here both in one process, to be short. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLeaseClient, createLeaseServer } from '@mycelium/endophyte'
import type { NodeId } from '@mycelium/interface'
import { createBoottimeClock } from '@mycelium/ram'

const clock = createBoottimeClock()
const folder = await mkdtemp(join(tmpdir(), 'leases-')) // mode 0700
await using server = createLeaseServer({ clock }, { folder })
await server.start()
const { socketPath } = server
await using ann = createLeaseClient({ clock }, { self: 'ann' as NodeId, socketPath })
await using bob = createLeaseClient({ clock }, { self: 'bob' as NodeId, socketPath })

const record = new TextEncoder().encode('what the next should know')
const first = await ann.acquire('the-only-writer', { ttlMs: 1_000, record })
console.log(`ann acts under epoch ${first.epoch}`)
first.lost.addEventListener('abort', () => console.log('ann has stopped acting'))

// Bob decides by what he reads, and wins only if nothing has changed since.
const { version } = await bob.read('the-only-writer')
const second = bob.acquire('the-only-writer', { ttlMs: 1_000, record, expectVersion: version })
await ann.stop() // as if ann had died: nobody renews, and the lease runs out
const { epoch } = await second
console.log(`bob acts under epoch ${epoch}`)
if (epoch <= first.epoch) process.exitCode = 1
await rm(folder, { recursive: true })
