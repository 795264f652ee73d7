import type { NodeId } from '@mycelium/interface'
import type { Host, World } from '@mycelium/simulator'
import { LEASE_TOKEN_BYTES } from '../src/core/lease-messages.ts'
import type { LeaseReply, LeaseRequest } from '../src/core/lease-messages.ts'
import { LeaseHolder } from '../src/core/lease-holder.ts'
import type { LeaseHolderEffect, LeaseHolderInput } from '../src/core/lease-holder.ts'
import { decodeLeaseServerFrame, encodeLeaseClientFrame } from '../src/lease/wire.ts'
import type { LeaseClientFrame } from '../src/lease/wire.ts'
import type { Claim, LeaseOracle } from './lease-oracle.ts'
import { DriftingClock } from './sim-clock.ts'
import type { LeaseBug } from './sim-grantor.ts'

const LEASE = 'vm'
export const GRANTOR = 'grantor'
export const TTL_MS_MAX = 600
const TTL_MS_MIN = 100
const THINK_MS_MAX = 400
const ACT_MS_MAX = 500
const PAUSE_MS_MAX = 1_500
const UNAVAILABLE_AFTER_MS = 3_000
const HEAD_BYTES = 4
/** For the bug: what may pass between sending and a look at the clock that comes too late. */
const STALL_MS_MAX = 60

/** One life of a process that wants the lease, acts with it, and lets it go in all ways. */
export class HolderLife {
  readonly #world: World
  readonly #oracle: LeaseOracle
  readonly #host: Host
  readonly #bug: LeaseBug | undefined
  readonly #peers: readonly string[]
  readonly #clock: DriftingClock
  #holder: LeaseHolder | undefined
  #claim: Claim | undefined
  #cancelTimer: (() => void) | undefined
  #lastId = 0
  #records = 0
  #pending:
    { readonly op: 'update' | 'transfer' | 'release'; readonly record: Uint8Array } | undefined
  readonly #reads = new Map<number, bigint>()
  /** The version of the last view: what a candidate bases its decision on. */
  #seen: bigint | undefined
  #pausedUntil = 0

  constructor(
    world: World,
    oracle: LeaseOracle,
    host: Host,
    peers: readonly string[],
    bug: LeaseBug | undefined,
  ) {
    this.#world = world
    this.#oracle = oracle
    this.#host = host
    this.#peers = peers
    this.#bug = bug
    this.#clock = new DriftingClock(host.clock, host.random)
    this.#think()
    this.#readSometimes()
    this.#pauseSometimes()
  }

  /** The process is dead: it acts no more. */
  die(): void {
    this.#end()
  }

  receive(message: Uint8Array): void {
    this.#awake(() => {
      if (message[0] !== this.#host.incarnation) return // for an earlier life
      const { id, reply } = decodeLeaseServerFrame(message.subarray(1 + HEAD_BYTES))
      const versionMin = this.#reads.get(id)
      if (versionMin !== undefined) this.#onRead(id, reply, versionMin)
      else if (this.#holder?.isWaitingFor(id) === true) this.#step({ type: 'reply', id, reply })
    })
  }

  #below(bound: number): number {
    return this.#host.random.below(bound)
  }

  /** A stopped process does nothing until it goes on; then everything comes at once. */
  #awake(callback: () => void): void {
    const { clock } = this.#host
    if (clock.now() >= this.#pausedUntil) callback()
    else clock.schedule(this.#pausedUntil, () => this.#awake(callback))
  }

  #after(ms: number, callback: () => void): void {
    const { clock } = this.#host
    clock.schedule(clock.now() + ms, () => this.#awake(callback))
  }

  #pauseSometimes(): void {
    this.#after(this.#below(8_000), () => {
      this.#world.coverage.hit('process stopped')
      this.#pausedUntil = this.#host.clock.now() + this.#below(PAUSE_MS_MAX)
      this.#pauseSometimes()
    })
  }

  #readSometimes(): void {
    this.#after(this.#below(THINK_MS_MAX), () => {
      const id = ++this.#lastId
      this.#reads.set(id, this.#oracle.versionMin)
      this.#send({ id, request: { op: 'read', name: LEASE } })
      this.#readSometimes()
    })
  }

  #onRead(id: number, reply: LeaseReply, versionMin: bigint): void {
    this.#reads.delete(id)
    if (reply.kind !== 'view') return
    this.#oracle.read(reply.view, versionMin)
    this.#seen = reply.view.version
  }

  #record(): Uint8Array {
    return Buffer.from(`${this.#host.name}/${this.#host.incarnation}/${++this.#records}`)
  }

  #think(): void {
    this.#after(this.#below(THINK_MS_MAX), () => {
      const isConditional = this.#seen !== undefined && this.#below(3) === 0
      const holder = new LeaseHolder(
        {
          request: {
            name: LEASE,
            holder: this.#host.name as NodeId,
            token: this.#host.random.bytes(LEASE_TOKEN_BYTES),
            ttlMs: TTL_MS_MIN + this.#below(TTL_MS_MAX - TTL_MS_MIN + 1),
            record: this.#record(),
            wait: this.#below(4) > 0,
            ...(isConditional && this.#seen !== undefined ? { expectVersion: this.#seen } : {}),
          },
          stopBudgetMs: 0,
          unavailableAfterMs: UNAVAILABLE_AFTER_MS,
        },
        () => ++this.#lastId,
      )
      this.#holder = holder
      this.#step({ type: 'link', isUp: true })
      if (this.#below(5) === 0) {
        this.#after(this.#below(ACT_MS_MAX), () => {
          if (this.#holder !== holder || this.#claim !== undefined) return
          this.#world.coverage.hit('acquire aborted')
          this.#step({ type: 'abandon' })
          if (this.#holder === holder) this.#again()
        })
      }
    })
  }

  #again(): void {
    this.#cancelTimer?.()
    this.#holder = undefined
    this.#think()
  }

  #step(input: LeaseHolderInput): void {
    const holder = this.#holder
    if (holder === undefined) return
    const isLate = this.#bug === 'sent-at-after-sending' && input.type !== 'reply'
    const stallMs = isLate ? this.#below(STALL_MS_MAX) : 0
    for (const effect of holder.step(input, this.#clock.now() + stallMs)) {
      if (this.#holder === holder) this.#carryOut(effect)
    }
    if (this.#holder !== holder) return
    this.#cancelTimer?.()
    const deadline = holder.nextDeadline()
    this.#cancelTimer =
      deadline === undefined || deadline === Infinity
        ? undefined
        : this.#clock.schedule(deadline, () => this.#awake(() => this.#step({ type: 'tick' })))
  }

  #carryOut(effect: LeaseHolderEffect): void {
    const { coverage } = this.#world
    switch (effect.type) {
      case 'send':
        this.#send({ id: effect.id, request: effect.request })
        break
      case 'cancel':
        this.#send({ cancel: effect.id })
        break
      case 'granted':
        coverage.hit('granted')
        this.#claim = this.#oracle.granted(
          this.#host.name,
          effect.epoch,
          this.#clock.toTrue(effect.validUntil),
        )
        this.#act(this.#claim)
        break
      case 'valid':
        // After its hand-over or release was asked for, the holder does not act any more.
        if (this.#claim?.isOver === false) {
          this.#oracle.extended(this.#claim, this.#clock.toTrue(effect.validUntil))
        }
        break
      case 'refused':
        coverage.hit(`refused: ${effect.why}`)
        this.#again()
        break
      case 'changed':
        coverage.hit(`${this.#pending?.op ?? 'nothing'} done`)
        if (this.#pending?.op === 'update') this.#oracle.updated(this.#pending.record)
        this.#pending = undefined
        break
      case 'change-failed':
        coverage.hit(`change failed: ${effect.why}`)
        this.#pending = undefined
        break
      case 'lost':
        coverage.hit(`lost: ${effect.cause}`)
        this.#end()
        this.#again()
        break
    }
  }

  #end(): void {
    if (this.#claim?.isOver === false) this.#oracle.ended(this.#claim)
    this.#claim = undefined
    this.#pending = undefined
  }

  /** Something is done with the lease after a while, until it is over. */
  #act(claim: Claim): void {
    this.#after(this.#below(ACT_MS_MAX), () => {
      if (this.#claim !== claim || claim.isOver) return
      this.#actOnce(claim)
      this.#act(claim)
    })
  }

  #actOnce(claim: Claim): void {
    const chance = this.#below(20)
    if (chance === 0) {
      this.#world.coverage.hit('link down')
      this.#step({ type: 'link', isUp: false })
      this.#after(this.#below(TTL_MS_MAX), () => this.#step({ type: 'link', isUp: true }))
    } else if (chance === 1) this.#step({ type: 'abandon' })
    else if (this.#pending !== undefined) return
    else if (chance < 14) {
      const record = this.#record()
      this.#pending = { op: 'update', record }
      this.#step({ type: 'change', change: { op: 'update', record } })
    } else {
      const op = chance < 17 ? 'release' : 'transfer'
      const to = this.#peers[this.#below(this.#peers.length)] as NodeId
      // What it protects stops first.
      this.#oracle.ended(claim)
      this.#pending = { op, record: this.#record() }
      this.#step({ type: 'change', change: op === 'release' ? { op } : { op, to } })
    }
  }

  #send(frame: LeaseClientFrame | { readonly id: number; readonly request: LeaseRequest }): void {
    const life = Buffer.of(this.#host.incarnation)
    this.#host.send(GRANTOR, Buffer.concat([life, encodeLeaseClientFrame(frame)]))
  }
}
