/**
 * Output commit under faults: updates of the record are late, fail, or happen although they failed;
 * backups join, go, return with their image or without; the active dies at any moment and somebody
 * takes over; guests shut down.
 *
 * After every step whoever the record at the grantor names holds whatever was seen outside. Once
 * the faults are over, all who stay are in the record, and output flows, with backups and without.
 */
import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import { createWorld, type SimulationResult, type World } from '@mycelium/simulator'
import { ProtectionCore } from '../src/core/protection.ts'
import type { VmRecord } from '../src/core/vm-record.ts'
import { Active } from './protection-active.ts'
import { type Faults, Grantor, Judge, Node } from './protection-world.ts'

export const name = 'protection'

const FAULTS_MS = 6_000
/** Time for all to return, to be filled, and for two epochs. */
const HEALING_MS = 3_000
const STEPS_MAX = 200_000
/** Longest time that a lease of a dead active still has to run. */
const LEASE_MS_MAX = 300
/** Output older than this is seen when nothing fails. */
const FLOW_MS = 500

class Cluster {
  readonly #world: World
  readonly #faults: Faults
  readonly #Core: typeof ProtectionCore
  readonly nodes: readonly Node[]
  readonly grantor: Grantor
  readonly judge: Judge
  active: Active | undefined
  #life = 0
  /** Nobody returns. */
  isDeserted = false

  constructor(world: World, faults: Faults, Core: typeof ProtectionCore) {
    this.#world = world
    this.#faults = faults
    this.#Core = Core
    const count = 2 + world.random.below(3)
    this.nodes = Array.from({ length: count }, (_, index) => new Node(`n${index}` as NodeId))
    this.grantor = new Grantor(world, faults)
    this.judge = new Judge(world, this.nodes, this.grantor)
    this.grantor.onCommit = () => this.judge.check()
    this.#startFromNothing()
    this.#sometimes(
      () => 60,
      () => this.#return(),
    )
    this.#sometimes(
      () => faults.departureMs,
      () => this.#depart(),
    )
    this.#sometimes(
      () => faults.crashMs,
      () => this.#crash(),
    )
    this.#sometimes(
      () => faults.shutdownMs,
      () => this.#shutDown(),
    )
  }

  /** All nodes but the active's. */
  get backups(): readonly NodeId[] {
    return this.nodes.filter(({ phase }) => phase !== 'active').map(({ id }) => id)
  }

  #shutDown(): void {
    const { active } = this
    if (active === undefined || active.isShutDown) return
    active.shutDown()
    const { clock, random } = this.#world
    // Before the record says so, now and then.
    if (this.#faults.crashMs === undefined || random.below(2) === 0) return
    clock.schedule(clock.now() + random.below(2 * this.#faults.updateMsMax), () => {
      if (this.active === active) this.#crash()
    })
  }

  /** All backups are gone for good. */
  desert(): void {
    this.isDeserted = true
    for (const node of this.nodes) if (this.#isAttached(node)) this.#leave(node)
  }

  #isAttached(node: Node): boolean {
    return node.phase !== 'away' && node.phase !== 'active'
  }

  /** @param meanMs - asked each time; none: not now */
  #sometimes(meanMs: () => number | undefined, action: () => void): void {
    const { clock, random } = this.#world
    const again = (): void => {
      const mean = meanMs()
      clock.schedule(clock.now() + 1 + random.below(2 * (mean ?? 500)), () => {
        if (mean !== undefined && meanMs() !== undefined) action()
        again()
      })
    }
    again()
  }

  #run(life: number, record: VmRecord, node: Node): void {
    this.grantor.grant(life, record)
    this.judge.check()
    const parent = node.image
    node.restart()
    node.phase = 'active'
    this.active = new Active(
      {
        world: this.#world,
        faults: this.#faults,
        judge: this.judge,
        grantor: this.grantor,
        onStopped: () => this.#stopped(),
      },
      new this.#Core(record),
      life,
      parent,
    )
  }

  #startFromNothing(): void {
    this.judge.reset()
    for (const node of this.nodes) node.restart()
    const [first] = this.nodes
    if (first !== undefined) this.#run(++this.#life, { state: 'running', inSync: [] }, first)
  }

  #stopped(): void {
    const { active } = this
    if (active === undefined) return
    // In a turn of its own, as a shell would: effects of the same step may follow.
    const { clock } = this.#world
    clock.schedule(clock.now(), () => {
      assert.equal(this.judge.seenOf(active.life), active.printed, 'the last words were not seen')
      this.#world.coverage.hit('ended in order')
      active.crash()
      this.#startFromNothing()
    })
    this.active = undefined
  }

  #crash(): void {
    const { active } = this
    if (active === undefined) return
    const { clock, coverage, random } = this.#world
    active.crash()
    this.active = undefined
    coverage.hit(active.isShutDown ? 'crashes after shutdown' : 'crashes')
    for (const node of this.nodes) {
      if (node.phase === 'active') node.restart()
      else node.leave()
    }
    clock.schedule(clock.now() + random.below(LEASE_MS_MAX), () => this.#takeOver())
  }

  #takeOver(): void {
    const { coverage, random } = this.#world
    const { record } = this.grantor
    this.judge.check()
    const able = this.nodes.filter(({ id, image }) => image && record.inSync.includes(id))
    const node = able[random.below(Math.max(able.length, 1))]
    if (record.state === 'stopped' || node === undefined) {
      coverage.hit(record.state === 'stopped' ? 'nobody restarts it' : 'nobody may take over')
      this.#startFromNothing()
      return
    }
    coverage.hit('takeovers')
    // As it stands: whoever it names holds what was seen.
    this.#run(++this.#life, record, node)
  }

  #return(): void {
    const { active } = this
    if (active === undefined || this.isDeserted) return
    const { random } = this.#world
    const away = this.nodes.filter(({ phase }) => phase === 'away')
    const node = away[random.below(Math.max(away.length, 1))]
    if (node === undefined) return
    // Only an epoch of this very life is known to its active.
    const isKnown = node.image?.life === active.life
    active.attach(node, isKnown && random.below(2) === 0)
  }

  #depart(): void {
    const { active } = this
    const { coverage, random } = this.#world
    const node = this.nodes[random.below(this.nodes.length)]
    if (node === undefined || active === undefined || !this.#isAttached(node)) return
    if (random.below(4) === 0) {
      active.refill(node)
      return
    }
    if (random.below(2) === 0) {
      coverage.hit('backup restarted')
      node.image = undefined
    } else {
      coverage.hit('link lost')
    }
    this.#leave(node)
  }

  /** What is on its way is lost at once; the active learns it later. */
  #leave(node: Node): void {
    const { active } = this
    const { clock, random } = this.#world
    const session = ++node.session
    node.phase = 'filling' // attached, as far as the active knows
    clock.schedule(clock.now() + random.below(this.#faults.delayMsMax + 1), () => {
      if (node.session !== session || this.active !== active) return
      node.leave()
      active?.detach(node)
    })
  }
}

function swarm(random: World['random']): Faults {
  const some = (value: number): number | undefined => (random.below(3) === 0 ? undefined : value)
  return {
    updateFailure: some(1 + random.below(700)) ?? 0,
    departureMs: some(50 + random.below(600)),
    crashMs: some(400 + random.below(3_000)),
    shutdownMs: random.below(4) === 0 ? 1_000 + random.below(3_000) : undefined,
    delayMsMax: 1 + random.below(40),
    updateMsMax: 1 + random.below(random.below(2) === 0 ? 10 : 200),
  }
}

/** @param Core - another one: with a bug that must be found */
export function simulate(
  seed: number,
  Core: typeof ProtectionCore = ProtectionCore,
): SimulationResult {
  const world = createWorld({ seed })
  const { clock, random } = world
  const faults = swarm(random.fork('faults'))
  const cluster = new Cluster(world, faults, Core)
  clock.advanceSync(FAULTS_MS, { stepsMax: STEPS_MAX })
  const calm: Faults = {
    updateFailure: 0,
    departureMs: undefined,
    crashMs: undefined,
    shutdownMs: undefined,
    delayMsMax: 3,
    updateMsMax: 3,
  }
  Object.assign(faults, calm)
  clock.advanceSync(HEALING_MS, { stepsMax: STEPS_MAX })
  const { active, backups, grantor } = cluster
  assert.ok(active !== undefined, 'nothing runs')
  const flows = (when: string): void => {
    const { printed } = active
    clock.advanceSync(FLOW_MS, { stepsMax: STEPS_MAX })
    assert.ok(cluster.judge.seenOf(active.life) >= printed, `output does not flow ${when}`)
    assert.ok(active.printed > printed, 'the guest stands still')
  }
  const members = (ids: readonly NodeId[]): string => [...ids].sort().join()
  assert.equal(members(grantor.record.inSync), members(backups), 'the record is not complete')
  flows('with backups')
  cluster.desert()
  clock.advanceSync(HEALING_MS, { stepsMax: STEPS_MAX })
  assert.equal(members(grantor.record.inSync), '', 'the record names who is gone')
  flows('without backups')
  assert.equal(cluster.judge.seenOf(active.life), active.printed, 'output does not pass at once')
  return world.result()
}
