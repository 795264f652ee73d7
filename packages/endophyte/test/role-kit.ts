/** Hosts of one VM in this process: real leases, channels and memory, and no QEMU. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LeaseView, NodeId } from '@mycelium/interface'
import {
  createBoottimeClock,
  createSystemRandom,
  createUnixChannels,
  type UnixChannels,
} from '@mycelium/ram'
import { onTestFinished } from 'vitest'
import { LeaseOutcomeUnknownError, LeaseUnavailableError } from '../src/errors.ts'
import { VmHost } from '../src/host.ts'
import type { EndophyteEvents, HeldLeases } from '../src/index.ts'
import type { HeldLease } from '../src/lease/held-lease.ts'
import { createLeaseClient, type LeaseClient } from '../src/lease/lease-client.ts'
import { createLeaseServer, type LeaseServer } from '../src/lease/lease-server.ts'
import { LinkCable } from './link-cable.ts'
import { MemoryMachine } from './memory-machine.ts'

/** Bound on one wait. */
const PATIENCE_MS = 30_000
const TTL_MS = 1_500

export const VM = 'tested'

type EventName = keyof EndophyteEvents

/** A host with all that is its own, and what it told. */
export class RoleNode {
  readonly id: NodeId
  readonly host: VmHost
  readonly leases: LeaseClient
  readonly channels: UnixChannels
  readonly #told = new Map<EventName, unknown[]>()
  readonly #checks = new Set<() => void>()
  #machine: MemoryMachine | undefined
  ended: Error | undefined | 'not yet' = 'not yet'
  /** Updates of the record that are reported as failed: without, or after, having happened. */
  failingUpdates: 'none' | 'not done' | 'done' = 'none'
  failedUpdates = 0
  /** Reads of the lease fail, as when nobody answers. */
  isFailingReads = false
  failedReads = 0
  /** What it is told of a lease that was read. */
  onRead: (view: LeaseView) => LeaseView = (view) => view
  /** Called with each event, at once. */
  onEvent: (name: EventName) => void = () => {}

  constructor(
    world: RoleWorld,
    id: string,
    peers: readonly string[],
    folder: string = world.folder,
  ) {
    this.id = id as NodeId
    const { clock, server } = world
    this.leases = createLeaseClient({ clock }, { self: this.id, socketPath: server.socketPath })
    this.channels = createUnixChannels(
      { clock, random: createSystemRandom() },
      { local: this.id, folder, keepAliveMs: 200, silenceMs: 1_000, graceMs: 1_000 },
    )
    const leases: HeldLeases = {
      acquire: async (...args) => this.#wrap(await this.leases.acquire(...args)),
      read: async (...args) => {
        if (!this.isFailingReads) return this.onRead(await this.leases.read(...args))
        this.failedReads++
        this.#check()
        throw new LeaseUnavailableError(args[0])
      },
      watch: (...args) => this.leases.watch(...args),
    }
    this.host = new VmHost(
      { leases, channels: this.channels, clock },
      {
        vm: VM,
        self: this.id,
        peers: peers as readonly NodeId[],
        intervalMs: 10,
        ttlMs: TTL_MS,
        verify: true,
      },
      () => (this.#machine = new MemoryMachine()),
    )
    for (const name of EVENTS) {
      this.host.addEventListener(name, ({ detail }) => {
        this.#told.set(name, [...this.told(name), detail])
        if (name === 'output') world.show(this.told('output').at(-1)?.lines ?? [])
        this.onEvent(name)
        this.#check()
      })
    }
    void this.host.ended.then((reason) => {
      this.ended = reason
      this.#check()
    })
  }

  get machine(): MemoryMachine {
    assert.ok(this.#machine, `${this.id} has no machine yet`)
    return this.#machine
  }

  get hasMachine(): boolean {
    return this.#machine !== undefined
  }

  told<Name extends EventName>(name: Name): readonly EndophyteEvents[Name][] {
    return (this.#told.get(name) ?? []) as readonly EndophyteEvents[Name][]
  }

  get status(): readonly string[] {
    return this.told('status').map(({ text }) => text)
  }

  get inSync(): readonly string[] {
    return this.told('in-sync').at(-1)?.members ?? []
  }

  /** Waits until `find` finds something; asks at each event of this host. */
  async until<T>(what: string, find: () => T | undefined | false): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const check = (): void => {
      const found = find()
      if (found !== undefined && found !== false) resolve(found)
    }
    const timer = setTimeout(() => {
      reject(new Error(`${this.id} waited in vain: ${what}; said: ${this.status.join('; ')}`))
    }, PATIENCE_MS)
    this.#checks.add(check)
    check()
    try {
      return await promise
    } finally {
      this.#checks.delete(check)
      clearTimeout(timer)
    }
  }

  async protectedBy(...ids: readonly string[]): Promise<void> {
    await this.until(`${ids.join()} in sync`, () => [...this.inSync].sort().join() === ids.join())
  }

  /** More lines that nothing will undo. */
  async shows(count: number): Promise<void> {
    const from = this.told('output').flatMap(({ lines }) => lines).length
    await this.until(
      'output',
      () => this.told('output').flatMap(({ lines }) => lines).length >= from + count,
    )
  }

  async over(): Promise<Error | undefined> {
    return await this.until(
      'its end',
      () => this.ended !== 'not yet' && { reason: this.ended },
    ).then(({ reason }) => reason)
  }

  /** As if its process had died: nobody hears of it any more, and its lease runs out. */
  async crash(): Promise<void> {
    this.machine.die('SIGKILL')
    await this.disconnect()
  }

  #check(): void {
    for (const check of [...this.#checks]) check()
  }

  async disconnect(): Promise<void> {
    await Promise.all([this.leases.stop(), this.channels.stop()])
  }

  #wrap(lease: HeldLease): HeldLease {
    const update: HeldLease['update'] = async (record, options) => {
      if (this.failingUpdates !== 'not done') await lease.update(record, options)
      if (this.failingUpdates === 'none') return
      this.failedUpdates++
      throw new LeaseOutcomeUnknownError(lease.name)
    }
    return Object.create(lease, { update: { value: update } }) as HeldLease
  }
}

/** One VM, its lease server, and what the world has seen of it. */
export class RoleWorld {
  readonly clock = createBoottimeClock()
  readonly folder: string
  readonly server: LeaseServer
  readonly nodes: RoleNode[] = []
  readonly cables: LinkCable[] = []
  readonly shown: string[] = []

  constructor(folder: string, server: LeaseServer) {
    this.folder = folder
    this.server = server
  }

  get lastShown(): number {
    return Number(/^tick (\d+)$/.exec(this.shown.at(-1) ?? '')?.[1] ?? 0)
  }

  show(lines: readonly string[]): void {
    this.shown.push(...lines)
  }

  /** @param folder - of its channels; by default that of all */
  async node(id: string, peers: readonly string[] = [], folder?: string): Promise<RoleNode> {
    const node = new RoleNode(this, id, peers, folder)
    this.nodes.push(node)
    await node.channels.start()
    return node
  }

  async active(id: string, peers: readonly string[] = []): Promise<RoleNode> {
    const node = await this.node(id, peers)
    await node.host.startActive()
    return node
  }

  async backup(id: string): Promise<RoleNode> {
    const node = await this.node(id)
    await node.host.startBackup()
    return node
  }

  /** An active and a backup in sync; what the guest prints is shown. */
  async pair(): Promise<{ readonly active: RoleNode; readonly backup: RoleNode }> {
    const backup = await this.backup('b')
    const active = await this.active('a', ['b'])
    await active.protectedBy('b')
    await active.shows(5)
    return { active, backup }
  }

  /** As {@link pair}; what goes from one to the other goes through a cable. */
  async cabledPair(): Promise<{
    readonly active: RoleNode
    readonly backup: RoleNode
    readonly cable: LinkCable
  }> {
    const backup = await this.backup('b')
    const cable = new LinkCable(backup.channels.socketPath(backup.id))
    this.cables.push(cable)
    const active = await this.node('a', ['b'], `${this.folder}-of-a`)
    await cable.listen(active.channels.socketPath(backup.id))
    await active.host.startActive()
    await active.protectedBy('b')
    await active.shows(5)
    return { active, backup, cable }
  }

  async firstToTakeOver(nodes: readonly RoleNode[]): Promise<RoleNode> {
    const { promise, resolve } = Promise.withResolvers<RoleNode>()
    for (const node of nodes) {
      node.onEvent = (name) => {
        if (name === 'takeover') resolve(node)
      }
    }
    return await promise
  }

  /** Waits for the takeover, and holds it to what the world has seen. */
  async takenOverBy(backup: RoleNode): Promise<void> {
    // Before the new active shows anything: its guest still stands where it was loaded.
    let seen = 0
    let count = 0
    backup.onEvent = (name) => {
      if (name !== 'takeover') return
      seen = this.lastShown
      count = backup.machine.count
    }
    const takeover = await backup.until('its takeover', () => backup.told('takeover').at(0))
    assert.ok(count >= seen, `it runs on from ${count}, and ${seen} was seen`)
    assert.equal(takeover.mismatchPages, 0)
    assert.equal(backup.machine.errors, 0)
    assert.ok(backup.machine.isBound)
    await backup.shows(3)
  }

  /** What the world has seen is what one guest could have printed that never died. */
  checkOutput(): void {
    const ticks = this.shown
      .map((line) => /^tick (\d+)$/.exec(line)?.[1])
      .filter((text) => text !== undefined)
      .map(Number)
    assert.ok(ticks.length > 0)
    for (const [index, tick] of ticks.entries()) {
      assert.equal(tick, (ticks[0] ?? 0) + index, `after ${ticks[index - 1]} came ${tick}`)
    }
  }

  async holder(): Promise<string | undefined> {
    const client = createLeaseClient(
      { clock: this.clock },
      { self: 'reader' as NodeId, socketPath: this.server.socketPath },
    )
    try {
      return (await client.read(VM)).holder
    } finally {
      await client.stop()
    }
  }
}

/** Everything ends with the test. */
export async function makeRoleWorld(): Promise<RoleWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'mycelium-roles-'))
  const server = createLeaseServer(
    { clock: createBoottimeClock() },
    { folder: join(folder, 'leases') },
  )
  await server.start()
  const world = new RoleWorld(join(folder, 'channels'), server)
  onTestFinished(async () => {
    await Promise.all(world.nodes.map(({ host }) => host.stop()))
    await Promise.all(world.nodes.map((node) => node.disconnect()))
    await Promise.all(world.cables.map((cable) => cable.close()))
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })
  return world
}

const EVENTS: readonly EventName[] = Object.keys({
  status: 0,
  lease: 0,
  machine: 0,
  tracker: 0,
  backup: 0,
  'in-sync': 0,
  epoch: 0,
  reset: 0,
  console: 0,
  output: 0,
  applied: 0,
  'refused-takeover': 0,
  takeover: 0,
} satisfies Record<EventName, 0>) as EventName[]
