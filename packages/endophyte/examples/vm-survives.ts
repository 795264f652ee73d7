/** A Linux guest whose QEMU is killed, and which runs on elsewhere. Both hosts in one process. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createEndophyteHost,
  createLeaseClient,
  createLeaseServer,
  type EndophyteEvents,
  type EndophyteHost,
  guestKernelArguments,
  prepareGuestImage,
  probeQemu,
} from '@mycelium/endophyte'
import type { NodeId } from '@mycelium/interface'
import { createBoottimeClock, createSystemRandom, createUnixChannels } from '@mycelium/ram'

const clock = createBoottimeClock()
const folder = await mkdtemp(join(tmpdir(), 'vm-')) // mode 0700
await using server = createLeaseServer({ clock }, { folder: join(folder, 'leases') })
await server.start()
const qemu = await probeQemu()
const machine = {
  qemu,
  accelerator: 'tcg', // or 'kvm', if `probeAccelerator` says so
  guest: await prepareGuestImage(),
  kernelArguments: guestKernelArguments(qemu.architecture, { memoryMebibytes: 8 }),
  memoryBytes: 96 * 2 ** 20,
  leaseSocket: server.socketPath,
} as const
await using cleanup = new AsyncDisposableStack()

async function makeHost(name: string, ...peers: string[]): Promise<EndophyteHost> {
  const self = name as NodeId
  const deps = { clock, random: createSystemRandom() }
  const channels = createUnixChannels(deps, { local: self, folder: join(folder, 'channels') })
  const leases = createLeaseClient({ clock }, { self, socketPath: server.socketPath })
  await channels.start()
  const config = { vm: 'demo', self, peers: peers as NodeId[], intervalMs: 50, ttlMs: 2_000 }
  const host = createEndophyteHost({ clock, channels, leases, machine }, config)
  for (const one of [leases, channels, host]) cleanup.use(one)
  return host
}

function next(host: EndophyteHost, event: keyof EndophyteEvents): Promise<unknown> {
  return new Promise((resolve) => host.addEventListener(event, resolve, { once: true }))
}

const active = await makeHost('first', 'second')
const backup = await makeHost('second')
let pid = 0
active.addEventListener('machine', ({ detail }) => (pid = detail.pid))
active.addEventListener('output', ({ detail }) => console.log('first: ', detail.lines.at(-1)))
backup.addEventListener('output', ({ detail }) => console.log('second:', detail.lines.at(-1)))

await backup.startBackup()
const isProtected = next(active, 'in-sync')
await active.startActive()
await isProtected
await next(active, 'output')
process.kill(pid, 'SIGKILL') // the guest's QEMU
await next(backup, 'output')
await cleanup.disposeAsync()
await rm(folder, { recursive: true })
