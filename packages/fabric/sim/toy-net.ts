import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import type { World } from '@mycelium/simulator'
import type { ConnectionName } from '../src/core/links.ts'
import type { ToyNode } from './toy-node.ts'

/** Milliseconds until a dial into the void, or a ping, is given up: as in the real shell. */
const DIAL_TIMEOUT_MS = 10_000
const PING_TIMEOUT_MS = 5_000

/** Longest time under way: enough that faults hit dials in the middle. */
export const ONE_WAY_MS_MAX = 150

/** One end of a connection, as its node sees it. */
export interface ToyEnd {
  readonly name: ConnectionName
  readonly node: ToyNode
  readonly incarnation: number
  readonly peer: NodeId
  readonly isOutbound: boolean
  isOpen: boolean
  isPinged: boolean
  /** The dialler's end is not there yet: what is sent waits for it. */
  isAwaited: boolean
  other: ToyEnd | undefined
}

/** Connections as TCP has them: half open after a power loss or a cut, until somebody asks. */
export class ToyNet {
  readonly world: World
  readonly nodes = new Map<NodeId, ToyNode>()
  /** Per mille of connections that end for no reason soon after they began. */
  flapPerMille = 0
  #groups: readonly (readonly NodeId[])[] | undefined
  #nextName = 1

  constructor(world: World) {
    this.world = world
  }

  partition(groups: readonly (readonly NodeId[])[] | undefined): void {
    this.#groups = groups
    this.world.coverage.hit(groups === undefined ? 'healed' : 'partition')
  }

  dial(from: ToyNode, to: NodeId): void {
    const { incarnation } = from
    const target = this.nodes.get(to)
    assert.ok(target !== undefined)
    const ended = (): void => {
      if (from.incarnation === incarnation) from.dialled(to)
    }
    this.#later(() => {
      if (!this.#reaches(from.name, to)) {
        this.world.coverage.hit('dial into the void')
        this.#after(DIAL_TIMEOUT_MS, ended)
      } else if (!target.isAlive || !target.accepts(from.name)) {
        this.#later(ended)
      } else {
        this.#connect(from, target, incarnation, ended)
      }
    })
  }

  #connect(from: ToyNode, target: ToyNode, incarnation: number, ended: () => void): void {
    const theirs = this.#end(target, from.name, false)
    theirs.isAwaited = true
    // The dialler knows of it later, and may be dead by then, or cut off.
    this.#later(() => {
      theirs.isAwaited = false
      if (from.incarnation !== incarnation) {
        this.world.coverage.hit('half open: dialler gone')
        return
      }
      if (!this.#reaches(from.name, target.name)) {
        this.world.coverage.hit('half open: cut while dialling')
        this.#after(DIAL_TIMEOUT_MS, ended)
        return
      }
      const ours = this.#end(from, target.name, true)
      ours.other = theirs
      theirs.other = ours
      from.opened(ours)
      ended()
      if (!theirs.isOpen) this.#tellClosed(ours)
      if (this.world.random.below(1_000) < this.flapPerMille) {
        this.world.coverage.hit('flap')
        this.#after(this.world.random.below(3_000), () => this.close(ours))
      }
    })
    target.opened(theirs)
  }

  close(end: ToyEnd): void {
    if (!end.isOpen) return
    end.isOpen = false
    end.node.closed(end)
    if (end.other !== undefined) this.#tellClosed(end.other)
  }

  ping(end: ToyEnd): void {
    assert.ok(!end.isPinged, 'two pings on one connection')
    end.isPinged = true
    const sentAt = this.world.clock.now()
    const done = (then: () => void): void => {
      end.isPinged = false
      if (end.isOpen) then()
    }
    const arrive = (): void => {
      const { other } = end
      if (end.isAwaited) {
        this.#later(arrive)
        return
      }
      const reached = this.#reaches(end.node.name, end.peer)
      if (reached && other?.isOpen === true) {
        this.#later(() => {
          if (!this.#reaches(end.node.name, end.peer)) {
            this.#after(PING_TIMEOUT_MS, () => done(() => end.node.silence(end)))
          } else {
            done(() => end.node.pong(end, this.world.clock.now() - sentAt))
          }
        })
      } else if (reached && this.nodes.get(end.peer)?.isAlive === true) {
        this.world.coverage.hit('half open: found out')
        done(() => this.close(end))
      } else {
        this.#after(PING_TIMEOUT_MS, () => done(() => end.node.silence(end)))
      }
    }
    this.#later(arrive)
  }

  /** A killed process: its system tells the peers. After a power loss nobody does. */
  crash(node: ToyNode, { isPowerLoss }: { readonly isPowerLoss: boolean }): void {
    this.world.coverage.hit(isPowerLoss ? 'power loss' : 'crash')
    const ends = [...node.ends.values()]
    node.die()
    for (const end of ends) {
      end.isOpen = false
      if (!isPowerLoss && end.other !== undefined) this.#tellClosed(end.other)
    }
  }

  #end(node: ToyNode, peer: NodeId, isOutbound: boolean): ToyEnd {
    const { incarnation } = node
    const name = this.#nextName++
    const flags = { isOpen: true, isPinged: false, isAwaited: false, other: undefined }
    return { name, node, incarnation, peer, isOutbound, ...flags }
  }

  #tellClosed(end: ToyEnd): void {
    this.#later(() => {
      if (!end.isOpen || !this.#reaches(end.node.name, end.peer)) return
      end.isOpen = false
      end.node.closed(end)
    })
  }

  #reaches(one: NodeId, other: NodeId): boolean {
    const groups = this.#groups
    if (groups === undefined) return true
    return groups.some((group) => group.includes(one) && group.includes(other))
  }

  #later(job: () => void): void {
    this.#after(1 + this.world.random.below(ONE_WAY_MS_MAX), job)
  }

  #after(ms: number, job: () => void): void {
    const { clock } = this.world
    clock.schedule(clock.now() + ms, job)
  }
}
