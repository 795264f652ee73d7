/**
 * One primary and its backups under faults, then without: whoever holds an epoch holds its image,
 * and everybody is in sync again soon after the faults end.
 */
import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import type { SimulationResult } from '@mycelium/simulator'
import { Judge } from './judge.ts'
import { ToyBackup } from './toy-backup.ts'
import { PAGES } from './toy-memory.ts'
import { ToyPrimary } from './toy-primary.ts'
import { Session } from './toy-session.ts'
import { chance, type Faults, makeRecords, type ToyWorld } from './toy-world.ts'

export const name = 'replication'

const FAULTS_MS = 4_000
/** Time for everybody to come back: some sessions, comparisons and fills. */
const HEALING_MS = 6_000
/** Pause between attempts to connect. */
const CONNECT_MS = 40
/** More events than this in one seed are a livelock. */
const STEPS_MAX = 400_000
/** Epochs at the end that every backup must acknowledge. */
const CALM_EPOCHS = 3

const NO_FAULTS: Faults = {
  delayMsMax: 5,
  workMsMax: 2,
  drop: 0,
  duplicate: 0,
  swap: 0,
  corrupt: 0,
  sessionLoss: 0,
  backupCrash: 0,
  promotion: 0,
  zombie: 0,
  rejection: 0,
}

/** A random part of the faults, each more or less often. */
function swarm({ random }: Pick<ToyWorld, 'random'>): Faults {
  const some = (perMilleMax: number): number =>
    random.below(2) === 0 ? 0 : 1 + random.below(perMilleMax)
  return {
    delayMsMax: 1 + random.below(30),
    workMsMax: random.below(8),
    drop: some(8),
    duplicate: some(8),
    swap: some(8),
    corrupt: some(8),
    sessionLoss: some(800),
    backupCrash: some(300),
    promotion: some(800),
    zombie: some(1000),
    rejection: some(30),
  }
}

class Cluster {
  readonly #world: ToyWorld
  readonly #random: ToyWorld['random']
  readonly #sessions: Session[] = []
  #backups: ToyBackup[]
  #primary: ToyPrimary
  #zombie: ToyPrimary | undefined
  #fencing = 1n
  #isCalm = false

  constructor(world: ToyWorld) {
    this.#world = world
    this.#random = world.random.fork('cluster')
    const count = 1 + this.#random.below(4)
    const ids = Array.from({ length: count }, (_, index) => `b${index}` as NodeId)
    this.#backups = ids.map((id) => new ToyBackup(world, id))
    const image = Uint8Array.from({ length: PAGES }, () => this.#random.below(2) * 7)
    this.#primary = this.#newPrimary(image, 3)
    this.#every(CONNECT_MS, () => this.#connect())
    this.#every(1_000, () => this.#harm())
  }

  #every(ms: number, action: () => void): void {
    const { clock } = this.#world
    const again = (): void => {
      action()
      clock.schedule(clock.now() + 1 + this.#random.below(2 * ms), again)
    }
    clock.schedule(clock.now() + 1, again)
  }

  #newPrimary(image: Uint8Array, state: number): ToyPrimary {
    return new ToyPrimary(this.#world, {
      fencing: this.#fencing++,
      image,
      state,
      intervalMs: 20 + this.#random.below(60),
      writesPerEpoch: 1 + this.#random.below(20),
    })
  }

  #connect(): void {
    for (const backup of this.#backups) {
      const isZombies = this.#zombie !== undefined && this.#random.below(4) === 0
      const primary = isZombies ? this.#zombie : this.#primary
      if (primary === undefined || primary.has(backup.id) || this.#random.below(2) === 0) continue
      const session = new Session(this.#world)
      this.#sessions.push(session)
      const [theirs, ours] = session.ends
      primary.attach(theirs, backup)
      backup.attach(ours)
    }
  }

  #harm(): void {
    if (this.#isCalm) return
    const world = this.#world
    for (const session of this.#sessions.splice(0)) {
      if (session.isOver) continue
      this.#sessions.push(session)
      if (chance(world, world.faults.sessionLoss)) session.lose()
    }
    for (const backup of this.#backups) {
      if (chance(world, world.faults.backupCrash)) this.#restart(backup, 'restarts')
    }
    if (chance(world, world.faults.promotion)) this.#promote()
  }

  /** As a new process, with an empty image. Its sessions are lost. */
  #restart(backup: ToyBackup, why: string): void {
    this.#world.coverage.hit(why)
    backup.crash()
    this.#backups = this.#backups.map((other) =>
      other === backup ? new ToyBackup(this.#world, backup.id) : other,
    )
  }

  #promote(): void {
    const world = this.#world
    const backup = this.#backups[this.#random.below(this.#backups.length)]
    // A message at work is finished first: the next second will do as well.
    if (backup === undefined || !backup.isIdle) return
    const promoted = backup.promote()
    this.#restart(backup, promoted === undefined ? 'not promotable' : 'promotions')
    if (promoted === undefined) return
    this.#zombie?.kill()
    this.#zombie = chance(world, world.faults.zombie) ? this.#primary : undefined
    if (this.#zombie === undefined) this.#primary.kill()
    else world.coverage.hit('zombies')
    this.#primary = this.#newPrimary(promoted.image, promoted.state)
  }

  calm(): void {
    this.#isCalm = true
    this.#zombie?.kill()
    this.#zombie = undefined
    Object.assign(this.#world.faults, NO_FAULTS)
  }

  get isInSync(): boolean {
    const phases = [...this.#primary.core.backups().values()].map(({ phase }) => phase)
    const last = this.#primary.acknowledgedBy.slice(-CALM_EPOCHS)
    return (
      phases.length === this.#backups.length &&
      phases.every((phase) => phase === 'in-sync') &&
      last.length === CALM_EPOCHS &&
      last.every((by) => by === this.#backups.length)
    )
  }

  describe(): string {
    return [...this.#primary.core.backups()]
      .map(([id, { phase, missingPages }]) => `${id} ${phase}, lacks ${missingPages}`)
      .join('; ')
  }
}

export function simulate(seed: number): SimulationResult {
  const records = makeRecords(seed)
  const world: ToyWorld = {
    ...records,
    faults: swarm(records),
    judge: new Judge(),
    joinPagesMax: records.random.below(12),
  }
  const cluster = new Cluster(world)
  const { clock } = world
  clock.advanceSync(FAULTS_MS, { stepsMax: STEPS_MAX })
  cluster.calm()
  for (const end = clock.now() + HEALING_MS; clock.now() < end && !cluster.isInSync;) {
    clock.advanceSync(100, { stepsMax: STEPS_MAX })
  }
  assert.ok(cluster.isInSync, `not in sync after all faults ended: ${cluster.describe()}`)
  world.trace.add(JSON.stringify([clock.now(), world.coverage.counts]))
  return {
    traceHash: world.trace.hash,
    coverage: world.coverage.counts,
    virtualMs: clock.now(),
  }
}
