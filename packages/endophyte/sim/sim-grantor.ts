import type { Random } from '@mycelium/interface'
import type { Boot, Host, World } from '@mycelium/simulator'
import { DurableGate } from '../src/core/durable-gate.ts'
import type { OutwardEffect } from '../src/core/durable-gate.ts'
import { LeaseTable } from '../src/core/lease-table.ts'
import type { LeaseEntry, LeaseTableEffect, LeaseTableInput } from '../src/core/lease-table.ts'
import { decodeLeaseClientFrame, encodeLeaseServerFrame } from '../src/lease/wire.ts'
import type { LeaseOracle } from './lease-oracle.ts'
import { DriftingClock } from './sim-clock.ts'

const BATCH_ENTRIES_MAX = 4
const SYNC_MS_MAX = 30
const HEAD_BYTES = 4

/** Mistakes that the simulation must find; see `leases.sim.spec.ts`. */
export type LeaseBug =
  | 'reply-before-persist'
  | 'ttl-from-grant'
  | 'restart-forgets'
  | 'epochs-in-memory'
  | 'sent-at-after-sending'
  | 'undo-forgets'

/** What outlives a crash of the grantor. */
class Disk {
  readonly entries = new Map<string, LeaseEntry>()
  #inFlight: readonly LeaseEntry[] = []

  begin(batch: readonly LeaseEntry[]): void {
    this.#inFlight = batch
  }

  /** Any number of the first entries of what was being written survive, the rest does not. */
  crash(random: Random): void {
    this.write(this.#inFlight.slice(0, random.below(this.#inFlight.length + 1)))
  }

  write(batch: readonly LeaseEntry[]): void {
    for (const entry of batch) this.entries.set(entry.name, entry)
    this.#inFlight = []
  }
}

/** The lease server around its cores, on a slow disk that fails at times. */
export function createSimGrantor(
  world: World,
  oracle: LeaseOracle,
  bug: LeaseBug | undefined,
): { readonly boot: Boot; crashDisk(): void; areFaultsOver: boolean } {
  const disk = new Disk()
  const state = {
    areFaultsOver: false,
    crashDisk: () => disk.crash(world.random),
    boot: (host: Host) => {
      const life = new GrantorLife(world, oracle, host, disk, bug, () => state.areFaultsOver)
      return (from: string, message: Uint8Array) => life.receive(from, message)
    },
  }
  return state
}

class GrantorLife {
  readonly #world: World
  readonly #oracle: LeaseOracle
  readonly #host: Host
  readonly #clock: DriftingClock
  readonly #disk: Disk
  readonly #bug: LeaseBug | undefined
  readonly #areFaultsOver: () => boolean
  readonly #table: LeaseTable
  readonly #gate = new DurableGate()
  readonly #askers = new Map<number, { readonly from: string; readonly life: number; id: number }>()
  #key = 0
  #isWriting = false
  #cancelTimer: (() => void) | undefined

  constructor(
    world: World,
    oracle: LeaseOracle,
    host: Host,
    disk: Disk,
    bug: LeaseBug | undefined,
    areFaultsOver: () => boolean,
  ) {
    this.#world = world
    this.#oracle = oracle
    this.#host = host
    this.#disk = disk
    this.#bug = bug
    this.#areFaultsOver = areFaultsOver
    this.#clock = new DriftingClock(host.clock, host.random)
    const now = this.#clock.now()
    const entries =
      bug === 'epochs-in-memory'
        ? [...disk.entries.values()].map((entry) => ({ ...entry, epoch: 0n }))
        : disk.entries.values()
    this.#table = new LeaseTable(entries, bug === 'restart-forgets' ? now - 1e6 : now)
    this.#arm()
  }

  receive(from: string, message: Uint8Array): void {
    const [life = 0] = message
    const frame = decodeLeaseClientFrame(message.subarray(1 + HEAD_BYTES))
    const id = 'cancel' in frame ? frame.cancel : frame.id
    if ('cancel' in frame) {
      for (const [key, asker] of this.#askers) {
        const isSame = asker.from === from && asker.life === life && asker.id === id
        if (isSame) this.#step({ type: 'cancel', key })
      }
      return
    }
    const key = this.#key++
    this.#askers.set(key, { from, life, id })
    const { request } = frame
    if (this.#bug === 'ttl-from-grant' && request.op === 'renew') {
      const entry = this.#disk.entries.get(request.name)
      const isHeld = entry?.epoch === request.epoch && entry.holder === request.holder
      const reply = isHeld
        ? ({ kind: 'renewed' } as const)
        : ({ kind: 'refused', why: 'lost' } as const)
      this.#send([{ type: 'reply', key, name: request.name, reply }])
      return
    }
    this.#step({ type: 'request', key, request })
  }

  #step(input: LeaseTableInput): void {
    const effects = this.#table.step(input, this.#clock.now())
    for (const effect of effects) this.#note(effect)
    const ready = this.#gate.push(effects)
    if (this.#bug === 'reply-before-persist') {
      this.#send(effects.filter((effect) => effect.type !== 'persist'))
    } else this.#send(ready)
    this.#write()
    this.#arm()
  }

  #note(effect: LeaseTableEffect): void {
    if (effect.type !== 'persist') return
    const { record, version } = effect.entry
    this.#oracle.persisted(record, version)
    if (effect.entry.token.length === 0) this.#world.coverage.hit('handed over')
  }

  #write(): void {
    if (this.#isWriting || !this.#gate.hasUnwritten) return
    this.#isWriting = true
    const batch = this.#gate.takeBatch(BATCH_ENTRIES_MAX)
    this.#disk.begin(batch)
    const { clock, random } = this.#host
    clock.schedule(clock.now() + random.below(SYNC_MS_MAX), () => {
      this.#isWriting = false
      if (!this.#areFaultsOver() && random.below(40) === 0) this.#fail(batch)
      else {
        this.#disk.write(batch)
        this.#send(this.#gate.written(batch))
      }
      this.#write()
    })
  }

  #fail(batch: readonly LeaseEntry[]): void {
    this.#world.coverage.hit('write failed')
    this.#disk.begin([])
    const { names, refusals } = this.#gate.failed(batch, false)
    this.#send(refusals)
    if (this.#bug === 'undo-forgets') return
    const durable = names.flatMap((name) => this.#disk.entries.get(name) ?? [])
    this.#step({ type: 'not-durable', names, durable, doubt: false })
  }

  #arm(): void {
    this.#cancelTimer?.()
    const deadline = this.#table.nextDeadline()
    this.#cancelTimer =
      deadline === undefined
        ? undefined
        : this.#clock.schedule(Math.max(deadline, this.#clock.now()), () => {
            this.#step({ type: 'tick' })
          })
  }

  #send(effects: readonly OutwardEffect[]): void {
    for (const effect of effects) {
      const asker = this.#askers.get(effect.key)
      if (asker === undefined) continue
      const { from, life, id } = asker
      const reply =
        effect.type === 'view' ? ({ kind: 'view', view: effect.view } as const) : effect.reply
      if (effect.type === 'reply') this.#askers.delete(effect.key)
      this.#host.send(from, Buffer.concat([Buffer.of(life), encodeLeaseServerFrame({ id, reply })]))
    }
  }
}
