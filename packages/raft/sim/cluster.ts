/** Machines, their members, and what befalls them. */
import { createDisk } from '@mycelium/simulator'
import type { SimulatedDisk, SimulatedProcess, World } from '@mycelium/simulator'
import {
  describeMembership,
  LogCorruptError,
  type RaftId,
  type RawNode,
  type Snapshot,
} from '../src/index.ts'
import { Judge } from './judge.ts'
import { type NodeOptions, SimNode, writeStart } from './sim-node.ts'

export interface Machine {
  readonly id: RaftId
  readonly disk: SimulatedDisk
  readonly process: SimulatedProcess
  /** While its process runs and its disk is whole. */
  node: SimNode | undefined
  /** Its disk is damaged: it must stay away. */
  isLost: boolean
}

export class Cluster {
  readonly world: World
  readonly judge: Judge
  readonly machines: readonly Machine[]
  readonly #options: NodeOptions

  constructor(
    world: World,
    options: NodeOptions,
    { voters, spares }: { readonly voters: number; readonly spares: number },
  ) {
    this.world = world
    this.#options = options
    const ids = Array.from({ length: voters + spares }, (_, at) => String.fromCharCode(97 + at))
    const start: Snapshot = {
      id: { term: 1, index: 1 },
      membership: {
        voters: ids.slice(0, voters),
        votersOutgoing: [],
        learners: [],
        learnersNext: [],
        autoLeave: false,
      },
      data: new Uint8Array(),
    }
    this.judge = new Judge(world.coverage, start)
    this.machines = ids.map((id, at) => this.#machine(id, at < voters ? start : undefined))
  }

  #machine(id: RaftId, start: Snapshot | undefined): Machine {
    const { world, judge } = this
    const { coverage, random } = world
    const disk = createDisk({ random: random.fork(`disk ${id}`), coverage })
    if (start !== undefined) writeStart(disk, start)
    const holder: { machine?: Machine; node?: SimNode | undefined; isLost: boolean } = {
      isLost: false,
    }
    const crash = (): void => {
      if (holder.machine !== undefined) this.crash(holder.machine, false)
    }
    const process = world.start(id, (host) => {
      holder.node = undefined
      try {
        const deps = { id, disk, judge, coverage, options: this.#options, crash }
        holder.node = new SimNode(deps, host)
      } catch (error) {
        if (!(error instanceof LogCorruptError)) throw error
        coverage.hit('refused to start with a damaged log')
        holder.isLost = true
      }
      const { node } = holder
      return (from, message) => node?.receive(from, message)
    })
    const machine: Machine = {
      id,
      disk,
      process,
      get node() {
        return process.isRunning ? holder.node : undefined
      },
      get isLost() {
        return holder.isLost
      },
    } as Machine
    holder.machine = machine
    return machine
  }

  /** @param withPower - what was not synchronised is lost with the power */
  crash(machine: Machine, withPower: boolean): void {
    if (!machine.process.isRunning) return
    machine.process.crash()
    this.judge.stopped(machine.id)
    if (withPower) machine.disk.crash()
  }

  restart(machine: Machine): void {
    if (!machine.process.isRunning && !machine.isLost) machine.process.restart()
  }

  /** Those that can be asked now. */
  get awake(): readonly Machine[] {
    return this.machines.filter(({ node, process }) => node !== undefined && !process.isPaused)
  }

  get leaders(): readonly Machine[] {
    return this.awake.filter(({ node }) => node?.raw.status().role === 'leader')
  }

  /** One line for each machine. */
  describe(): string {
    const lines = this.machines.map(({ id, node, process, isLost }) => {
      const state = process.isPaused ? 'paused' : isLost ? 'lost' : ''
      if (node === undefined) return `${id} down ${state}`
      const { role, leader, term, commit, applied, lastIndex, membership } = node.raw.status()
      const numbers = `term ${term} applied ${applied} commit ${commit} last ${lastIndex}`
      const progress = [...node.raw.status().progress].map(([to, one]) => {
        return `${to} ${one.state} ${one.match}/${one.next}${one.isPaused ? ' paused' : ''}`
      })
      const words = [id, state, role, `of ${leader}`, numbers, describeMembership(membership)]
      return [...words, ...progress].join(' ')
    })
    return `${JSON.stringify(this.#options)}\n${lines.join('\n')}`
  }

  /** Asks a member that leads, if there is one. */
  askLeader(action: (raw: RawNode) => void): void {
    const { leaders } = this
    const { random } = this.world
    leaders[random.below(Math.max(1, leaders.length))]?.node?.ask(action)
  }
}
