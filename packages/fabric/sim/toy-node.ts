import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import { createLinks, type Links, type LinksEffect, type LinksInput } from '../src/core/links.ts'
import {
  createReconnect,
  type Reconnect,
  type ReconnectEffect,
  type ReconnectInput,
} from '../src/core/reconnect.ts'
import type { ToyEnd, ToyNet } from './toy-net.ts'

const RECONNECT = {
  peersMax: 64,
  discoveredMax: 8,
  addressesMax: 4,
  dialsMax: 3,
  delayMsMin: 250,
  delayMsMax: 30_000,
  discoveredDelayMsMax: 600_000,
  stableMs: 10_000,
} as const

const LINKS = {
  heartbeatMs: 5_000,
  missesMax: 2,
  roundTripsMax: 9,
  lingerMs: 1_000,
  connectionsPerPeerMax: 4,
} as const

/** Dials of one peer in ten seconds that backoff cannot explain. */
const DIALS_PER_WINDOW_MAX = 30
const WINDOW_MS = 10_000

/** A node of the simulation: both cores, and the shell that carries their effects out. */
export class ToyNode {
  readonly name: NodeId
  readonly ends = new Map<number, ToyEnd>()
  isAlive = false
  /** How often a peer was lost. */
  downs = 0
  incarnation = 0
  reconnect!: Reconnect
  links!: Links
  readonly #net: ToyNet
  readonly #refused = new Set<NodeId>()
  readonly #up = new Set<NodeId>()
  readonly #dialling = new Set<NodeId>()
  readonly #dials = new Map<NodeId, number[]>()
  #cancelTimer = (): void => {}

  constructor(net: ToyNet, name: NodeId) {
    this.#net = net
    this.name = name
    net.nodes.set(name, this)
  }

  boot(knows: readonly NodeId[]): void {
    assert.ok(!this.isAlive)
    this.isAlive = true
    this.incarnation++
    const random = this.#net.world.random.fork(`${this.name}/${this.incarnation}`)
    this.reconnect = createReconnect({ random }, RECONNECT)
    this.links = createLinks({ self: this.name, random }, LINKS)
    for (const peer of knows) {
      if (this.#refused.has(peer)) continue
      this.#reconnect({ type: 'learn', peer, addresses: [`at ${peer}`] })
    }
  }

  die(): void {
    this.isAlive = false
    this.incarnation++
    this.#cancelTimer()
    this.ends.clear()
    this.#up.clear()
    this.#dialling.clear()
  }

  /** Is told that a peer is revoked: drops it, and keeps it out. */
  revoke(peer: NodeId): void {
    this.#refused.add(peer)
    if (!this.isAlive) return
    this.#reconnect({ type: 'forget', peer })
    this.#links({ type: 'drop', peer })
    assert.ok(!this.#up.has(peer), 'a revoked peer is still up')
  }

  accepts(peer: NodeId): boolean {
    return !this.#refused.has(peer)
  }

  dialled(peer: NodeId): void {
    this.#dialling.delete(peer)
    this.#reconnect({ type: 'dialled', peer })
  }

  opened(end: ToyEnd): void {
    this.ends.set(end.name, end)
    // As the gate of the real shell does: a revocation may have come while it was made.
    if (!this.accepts(end.peer)) {
      this.#net.close(end)
      return
    }
    const { name: connection, peer, isOutbound } = end
    this.#links({ type: 'opened', connection, peer, isOutbound, isRelayed: false })
    const sides = new Set(this.#openTo(peer).map((open) => open.isOutbound))
    if (sides.size === 2) this.#net.world.coverage.hit('dialled by both')
  }

  closed(end: ToyEnd): void {
    this.ends.delete(end.name)
    if (this.isAlive) this.#links({ type: 'closed', connection: end.name })
  }

  pong(end: ToyEnd, roundTripMs: number): void {
    this.#links({ type: 'pong', connection: end.name, roundTripMs })
  }

  silence(end: ToyEnd): void {
    this.#links({ type: 'silence', connection: end.name })
  }

  #openTo(peer: NodeId): ToyEnd[] {
    return [...this.ends.values()].filter((end) => end.peer === peer && end.isOpen)
  }

  /** The one connection of a pair that both use, if it is the only one. */
  usesOne(peer: NodeId): ToyEnd | undefined {
    const ends = this.#openTo(peer)
    const [end] = ends
    return ends.length === 1 && end?.name === this.links.used(peer) ? end : undefined
  }

  isUp(peer: NodeId): boolean {
    return this.#up.has(peer)
  }

  #reconnect(input: ReconnectInput): void {
    const effects = this.reconnect.step(input, this.#net.world.clock.now())
    for (const effect of effects) this.#carryOutReconnect(effect)
    this.#arm()
  }

  #links(input: LinksInput): void {
    const effects = this.links.step(input, this.#net.world.clock.now())
    for (const effect of effects) this.#carryOutLinks(effect)
    this.#arm()
  }

  #carryOutReconnect(effect: ReconnectEffect): void {
    const { world } = this.#net
    world.trace.add(`${world.clock.now()} ${this.name} ${effect.type} ${effect.peer}`)
    switch (effect.type) {
      case 'dial':
        this.#checkDial(effect.peer)
        this.#dialling.add(effect.peer)
        this.#net.dial(this, effect.peer)
        break
      case 'cancel':
        world.coverage.hit('dial cancelled')
        break
      case 'full':
        assert.fail('there is room')
    }
  }

  #checkDial(peer: NodeId): void {
    assert.notEqual(peer, this.name)
    assert.ok(!this.#up.has(peer), `${this.name} dials ${peer}, which is up`)
    assert.ok(!this.#refused.has(peer), `${this.name} dials ${peer}, which is revoked`)
    assert.ok(!this.#dialling.has(peer), 'two dials of one peer')
    assert.ok(this.#dialling.size < RECONNECT.dialsMax, 'too many dials')
    const now = this.#net.world.clock.now()
    const recent = (this.#dials.get(peer) ?? []).filter((at) => at > now - WINDOW_MS)
    recent.push(now)
    this.#dials.set(peer, recent)
    assert.ok(recent.length <= DIALS_PER_WINDOW_MAX, `${recent.length} dials of ${peer}`)
  }

  #carryOutLinks(effect: LinksEffect): void {
    const { world } = this.#net
    const what = 'peer' in effect ? effect.peer : effect.connection
    world.trace.add(`${world.clock.now()} ${this.name} ${effect.type} ${what}`)
    switch (effect.type) {
      case 'up':
        assert.ok(!this.#up.has(effect.peer), 'up twice')
        assert.ok(this.accepts(effect.peer), 'a revoked peer is up')
        this.#up.add(effect.peer)
        this.#reconnect({ type: 'up', peer: effect.peer })
        break
      case 'down':
        assert.ok(this.#up.delete(effect.peer), 'down twice')
        this.downs++
        this.#reconnect({ type: 'down', peer: effect.peer })
        break
      case 'use':
        assert.equal(this.ends.get(effect.connection)?.peer, effect.peer, 'uses what is gone')
        world.coverage.hit('switched')
        break
      case 'ping':
        this.#withEnd(effect.connection, (end) => this.#net.ping(end))
        break
      case 'close':
        world.coverage.hit('spare closed')
        this.#withEnd(effect.connection, (end) => this.#net.close(end))
        break
      case 'cut':
        world.coverage.hit(`cut: ${effect.why}`)
        this.#withEnd(effect.connection, (end) => this.#net.close(end))
        break
    }
  }

  #withEnd(connection: number, then: (end: ToyEnd) => void): void {
    const end = this.ends.get(connection)
    assert.ok(end !== undefined, 'an effect for a connection that is gone')
    then(end)
  }

  #arm(): void {
    this.#cancelTimer()
    const { clock } = this.#net.world
    const deadlines = [this.reconnect.nextDeadline(), this.links.nextDeadline()]
    const at = Math.min(...deadlines.map((deadline) => deadline ?? Infinity))
    if (at === Infinity) return
    this.#cancelTimer = clock.schedule(Math.max(at, clock.now()), () => {
      this.#reconnect({ type: 'tick' })
      this.#links({ type: 'tick' })
    })
  }
}
