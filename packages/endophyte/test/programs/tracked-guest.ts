/** Starts a guest and its replication, says how its memory is tracked, and ends. */
import { openSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NodeId } from '@mycelium/interface'
import { createBoottimeClock, createSystemRandom, createUnixChannels } from '@mycelium/ram'
import {
  createEndophyteHost,
  createLeaseClient,
  createLeaseServer,
  guestKernelArguments,
  prepareGuestImage,
  probeQemu,
} from '../../src/index.ts'

const clock = createBoottimeClock()
const self = 'tracked' as NodeId
const folder = await mkdtemp(join(tmpdir(), 'tracked-guest-'))
const server = createLeaseServer({ clock }, { folder: join(folder, 'leases') })
await server.start()
const { socketPath } = server
const leases = createLeaseClient({ clock }, { self, socketPath })
const channels = createUnixChannels(
  { clock, random: createSystemRandom() },
  { local: self, folder: join(folder, 'channels') },
)
await channels.start()
const qemu = await probeQemu()
const host = createEndophyteHost(
  {
    leases,
    channels,
    clock,
    machine: {
      qemu,
      accelerator: 'tcg',
      guest: await prepareGuestImage(),
      kernelArguments: guestKernelArguments(qemu.architecture),
      memoryBytes: 96 * 2 ** 20,
      leaseSocket: socketPath,
    },
  },
  { vm: 'tracked', self, peers: [], intervalMs: 100, ttlMs: 2_000 },
)
const lines: string[] = []
let tier: string | undefined
let mayReadPageMap = true
host.addEventListener('status', ({ detail }) => lines.push(detail.text))
host.addEventListener('tracker', ({ detail }) => (tier = detail.tier))
host.addEventListener('machine', ({ detail: { pid } }) => {
  try {
    openSync(`/proc/${pid}/maps`, 'r')
    openSync(`/proc/${pid}/pagemap`, 'r')
  } catch {
    mayReadPageMap = false
  }
})
await host.startActive()
await host.stop()
await leases.stop()
await channels.stop()
await server.stop()
await rm(folder, { recursive: true })
console.log(JSON.stringify({ tier, lines, mayReadPageMap }))
