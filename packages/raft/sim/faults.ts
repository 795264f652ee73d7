/** What goes wrong, and what operators ask for, in one seed: a swarm of both. */
import { chooseSwarm, type World } from '@mycelium/simulator'
import type { MembershipChange, RawNode, SingleChange } from '../src/index.ts'
import type { Cluster, Machine } from './cluster.ts'

export const FEATURES = [
  'loss',
  'duplication',
  'reordering',
  'slow network',
  'cuts',
  'old leaders',
  'restarted bridges',
  'deaf leaders',
  'clogs',
  'crashes',
  'power losses',
  'pauses',
  'clock skew',
  'clock leaps',
  'full disks',
  'bit rot',
  'membership',
  'transfers',
  'campaigns',
  'unreachable reports',
] as const
export type Feature = (typeof FEATURES)[number]

export function chooseFeatures(world: World): ReadonlySet<Feature> {
  const { coverage } = world
  return chooseSwarm({ random: world.random.fork('features'), coverage }, FEATURES)
}

/** Lets things go wrong until {@link Faults.stop}. */
export class Faults {
  readonly #cluster: Cluster
  readonly #features: ReadonlySet<Feature>
  readonly #world: World
  readonly #random: World['random']
  #isOver = false
  #cuts = 0

  constructor(cluster: Cluster, features: ReadonlySet<Feature>, isLease: boolean) {
    this.#cluster = cluster
    this.#features = features
    const { world } = cluster
    this.#world = world
    this.#random = world.random.fork('faults')
    const has = (feature: Feature, value: number): number => (features.has(feature) ? value : 0)
    world.network.setFaults({
      delayMsMax: 3 + has('slow network', 60),
      lossPerMille: has('loss', 80),
      duplicationPerMille: has('duplication', 80),
      reorders: features.has('reordering'),
    })
    if (features.has('clock skew')) this.#skew(isLease ? 40 : 500)
    this.#often('crashes', 900, () => this.#crash(false))
    this.#often('power losses', 900, () => this.#crash(true))
    this.#often('pauses', 1_200, () => this.#pause())
    this.#often('cuts', 700, () => this.#cut())
    this.#often('old leaders', 900, () => this.#leaveAlone())
    this.#often('restarted bridges', 1_500, () => this.#restartBridge())
    this.#often('deaf leaders', 1_500, () => this.#deafen())
    this.#often('clogs', 800, () => this.#clog())
    this.#often('full disks', 2_500, () => this.#fill())
    this.#often('membership', 400, () => this.#change())
    this.#often('transfers', 800, () => this.#transfer())
    this.#often('campaigns', 1_000, () => this.#any()?.node?.ask((raw) => raw.campaign()))
    this.#often('unreachable reports', 300, () => this.#report())
    // A leap is a clock that runs unequally fast: leases may not be used then.
    if (!isLease) this.#often('clock leaps', 1_500, () => this.#leap())
    // With changes of membership nobody knows how many members may be lost.
    if (!features.has('membership')) this.#often('bit rot', 3_000, () => this.#rot())
  }

  /** @param meanMs - between two */
  #often(feature: Feature, meanMs: number, action: () => void): void {
    if (!this.#features.has(feature)) return
    const { clock } = this.#world
    const again = (): void => {
      clock.schedule(clock.now() + 1 + this.#random.below(2 * meanMs), () => {
        if (this.#isOver) return
        action()
        again()
      })
    }
    again()
  }

  #later(msMax: number, action: () => void): void {
    const { clock } = this.#world
    clock.schedule(clock.now() + this.#random.below(msMax), action)
  }

  #pick<T>(values: readonly T[]): T | undefined {
    return values[this.#random.below(Math.max(1, values.length))]
  }

  #any(): Machine | undefined {
    return this.#pick(this.#cluster.awake)
  }

  #skew(perMilleMax: number): void {
    for (const { process } of this.#cluster.machines) {
      process.setClockRate(1_000 - perMilleMax + this.#random.below(2 * perMilleMax + 1))
    }
  }

  #crash(withPower: boolean): void {
    const leader = this.#pick(this.#cluster.leaders)
    const machine = this.#random.below(2) === 0 ? leader : this.#any()
    if (machine === undefined) return
    this.#cluster.crash(machine, withPower)
    const isSoon = this.#random.below(2) === 0
    this.#later(isSoon ? 50 : 800, () => this.#cluster.restart(machine))
  }

  #pause(): void {
    const machine = this.#any()
    machine?.process.pause()
    if (machine !== undefined) this.#later(600, () => machine.process.resume())
  }

  #cut(): void {
    const { network, coverage } = this.#world
    const ids = this.#cluster.machines.map(({ id }) => id)
    const way = this.#random.below(4)
    if (way === 0) {
      coverage.hit('network: one way cut')
      network.cut(this.#pick(ids) ?? '', this.#pick(ids) ?? '')
    } else if (way === 1) {
      coverage.hit('network: one cut off')
      const one = this.#pick(ids) ?? ''
      network.partition([this.#clients, this.#withClients(ids.filter((id) => id !== one)), [one]])
    } else {
      const size = 1 + this.#random.below(ids.length - 1)
      const [left, right] = [ids.slice(0, size), ids.slice(size)]
      const bridge = way === 2 ? [] : [this.#pick(ids) ?? '']
      coverage.hit(way === 2 ? 'network: parted' : 'network: bridged')
      const groups = [left, right].map((group) => this.#withClients([...group, ...bridge]))
      network.partition(groups)
    }
    this.#healLater(1_500)
  }

  /** Not what was cut since. */
  #healLater(msMax: number): void {
    const number = ++this.#cuts
    this.#later(msMax, () => {
      if (number === this.#cuts) this.#world.network.heal()
    })
  }

  /** Who led is still asked by some clients, while others elect a new one, and write. */
  #leaveAlone(): void {
    const { network, coverage } = this.#world
    const old = this.#pick(this.#cluster.leaders)
    if (old === undefined) return
    coverage.hit('network: leader cut off')
    const rest = this.#cluster.machines.map(({ id }) => id).filter((id) => id !== old.id)
    const clients = this.#clients
    const half = Math.floor(clients.length / 2)
    network.partition([
      [old.id, ...clients.slice(0, half)],
      [...rest, ...clients.slice(half)],
    ])
    this.#healLater(1_500)
  }

  /** One that hears nothing of the leader stands for election when all others have just begun. */
  #restartBridge(): void {
    const { network, coverage } = this.#world
    const { awake, leaders } = this.#cluster
    const old = this.#pick(leaders)
    const other = this.#pick(awake.filter((machine) => machine !== old))
    if (old === undefined || other === undefined) return
    const rest = awake.filter((machine) => machine !== old && machine !== other)
    const ids = rest.map(({ id }) => id)
    const clients = this.#clients
    const half = Math.floor(clients.length / 2)
    network.partition([
      [old.id, ...ids, ...clients.slice(0, half)],
      [other.id, ...ids, ...clients.slice(half)],
    ])
    this.#healLater(1_500)
    const { clock } = this.#world
    clock.schedule(clock.now() + 320 + this.#random.below(200), () => {
      if (this.#isOver) return
      coverage.hit('bridges restarted')
      for (const machine of rest) {
        this.#cluster.crash(machine, false)
        this.#cluster.restart(machine)
        network.cut(machine.id, old.id)
      }
      if (!other.process.isPaused) other.node?.ask((raw) => raw.campaign())
    })
  }

  /** Hands leadership over, and hears nothing of what follows. */
  #deafen(): void {
    const { network, coverage } = this.#world
    const { awake, leaders } = this.#cluster
    const old = this.#pick(leaders)
    const other = this.#pick(awake.filter((machine) => machine !== old))
    if (old === undefined || other === undefined) return
    coverage.hit('leader deaf after handing over')
    old.node?.ask((raw) => raw.transferLeadership(other.id))
    for (const { id } of this.#cluster.machines) network.cut(id, old.id)
    this.#healLater(800)
  }

  get #clients(): readonly string[] {
    return this.#world.network.nodes.filter((name) => name.startsWith('client'))
  }

  #withClients(ids: readonly string[]): readonly string[] {
    return [...ids, ...this.#clients]
  }

  #clog(): void {
    const ids = this.#cluster.machines.map(({ id }) => id)
    this.#world.network.clog(
      this.#pick(ids) ?? '',
      this.#pick(ids) ?? '',
      50 + this.#random.below(400),
    )
  }

  #fill(): void {
    const disk = this.#any()?.disk
    if (disk === undefined) return
    disk.capacityBytes = disk.usedBytes + this.#random.below(500)
    this.#later(1_500, () => {
      disk.capacityBytes = Infinity
    })
  }

  #leap(): void {
    this.#any()?.process.leapClock(1 + this.#random.below(400))
  }

  /** Only as many as may be lost; found when it starts again. */
  #rot(): void {
    const { machines, judge } = this.#cluster
    const damaged = machines.filter((machine) => this.#damaged.has(machine))
    const machine = this.#pick(machines)
    const mayBeLost = Math.floor((judge.membership.voters.length - 1) / 2)
    if (machine === undefined || damaged.length >= mayBeLost) return
    if (!machine.disk.rot('log')) return
    this.#damaged.add(machine)
    this.#cluster.crash(machine, false)
    this.#later(500, () => this.#cluster.restart(machine))
  }
  readonly #damaged = new Set<Machine>()

  #report(): void {
    const other = this.#pick(this.#cluster.machines)?.id ?? ''
    this.#any()?.node?.ask((raw) => raw.reportUnreachable(other))
  }

  #transfer(): void {
    const to = this.#pick(this.#cluster.machines)?.id ?? ''
    this.#cluster.askLeader((raw) => raw.transferLeadership(to))
    if (this.#random.below(4) === 0) this.#any()?.node?.ask((raw) => raw.forgetLeader())
  }

  #change(): void {
    this.#cluster.askLeader((raw) => raw.proposeChange(this.#randomChange(raw)))
  }

  #randomChange(raw: RawNode): MembershipChange {
    const { voters, votersOutgoing, autoLeave } = raw.status().membership
    const isJoint = votersOutgoing.length > 0
    if (isJoint && !autoLeave) return { transition: 'auto', changes: [] }
    const ids = this.#cluster.machines.map(({ id }) => id)
    const one = (): SingleChange => {
      const id = this.#pick(ids) ?? ''
      const isVoter = voters.includes(id)
      const types = isVoter ? (['remove', 'add-learner'] as const) : (['add-voter'] as const)
      const type = this.#random.below(6) === 0 ? 'add-learner' : (this.#pick(types) ?? 'add-voter')
      return { type, id }
    }
    const transition = this.#pick(['auto', 'auto', 'implicit', 'explicit'] as const) ?? 'auto'
    const count = 1 + this.#random.below(this.#random.below(2) === 0 ? 1 : 3)
    return { transition, changes: Array.from({ length: count }, one) }
  }

  /** Nothing goes wrong any more; what was cut, frozen, skewed or full is right again. */
  stop(): void {
    this.#isOver = true
    const { network } = this.#world
    network.heal()
    network.setFaults({ delayMsMax: 3, lossPerMille: 0, duplicationPerMille: 0, reorders: false })
    for (const { process, disk } of this.#cluster.machines) {
      process.resume()
      process.setClockRate(1_000)
      disk.capacityBytes = Infinity
    }
  }
}
