/** What the simulation of output commit is about: outputs, images, nodes, the grantor's record. */
import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import type { World } from '@mycelium/simulator'
import type { VmRecord } from '../src/core/vm-record.ts'

/**
 * What a guest has gone through: outputs 1 to `count` of one life, after what it was loaded from.
 * A takeover begins a new life, in which other outputs have the same numbers.
 */
export interface History {
  readonly life: number
  readonly count: number
  readonly parent?: History
}

function contains(history: History, life: number, count: number): boolean {
  for (let part: History | undefined = history; part !== undefined; part = part.parent) {
    if (part.life === life) return part.count >= count
  }
  return false
}

export interface Faults {
  /** In thousandths of all updates of the record. */
  updateFailure: number
  /** Mean times; none: never. */
  departureMs: number | undefined
  crashMs: number | undefined
  shutdownMs: number | undefined
  delayMsMax: number
  /** Of an update of the record, each way. */
  updateMsMax: number
}

/** One node. Its image outlives its links, not its process. */
export class Node {
  readonly id: NodeId
  image: History | undefined
  /** Changes with every link and every restart: what belongs to an older one is void. */
  session = 0
  phase: 'away' | 'filling' | 'joining' | 'in-sync' | 'active' = 'away'

  constructor(id: NodeId) {
    this.id = id
  }

  leave(): void {
    this.session++
    this.phase = 'away'
  }

  restart(): void {
    this.leave()
    this.image = undefined
  }
}

/** Knows what was seen outside, and throws when somebody who may take over does not hold it. */
export class Judge {
  readonly #world: World
  readonly #nodes: readonly Node[]
  readonly #grantor: Grantor
  /** The last output seen of each life of this VM. */
  #seen = new Map<number, number>()

  constructor(world: World, nodes: readonly Node[], grantor: Grantor) {
    this.#world = world
    this.#nodes = nodes
    this.#grantor = grantor
  }

  /** Another VM begins from nothing. */
  reset(): void {
    this.#seen = new Map()
  }

  seen(life: number, output: number): void {
    const last = this.#seen.get(life) ?? 0
    assert.equal(output, last + 1, `life ${life}: output ${output} was seen after ${last}`)
    this.#seen.set(life, output)
  }

  seenOf(life: number): number {
    return this.#seen.get(life) ?? 0
  }

  /** Whoever may take over at this moment contains whatever was seen. */
  check(): void {
    const { record } = this.#grantor
    if (record.state === 'stopped') return
    for (const { id, image } of this.#nodes) {
      // Without an image it does not take over, whatever the record says.
      if (image === undefined || !record.inSync.includes(id)) continue
      for (const [life, output] of this.#seen) {
        assert.ok(
          contains(image, life, output),
          `${this.#world.clock.now()}: ${id} may take over from output ${image.count} of life ` +
            `${image.life}, and ${output} of life ${life} was seen`,
        )
      }
    }
  }
}

/** Holds the record. Updates take effect in the order of their numbers, and of one life only. */
export class Grantor {
  readonly #world: World
  readonly #faults: Faults
  record: VmRecord = { state: 'stopped', inSync: [] }
  #life = 0
  #sequence = 0

  constructor(world: World, faults: Faults) {
    this.#world = world
    this.#faults = faults
  }

  /** Everything of earlier lives is refused from now on. */
  grant(life: number, record: VmRecord): void {
    this.#life = life
    this.#sequence = 0
    this.record = record
  }

  /** @param answer - called once, with whether the update is known to have happened */
  update(
    life: number,
    sequence: number,
    record: VmRecord,
    answer: (isDone: boolean) => void,
  ): void {
    const { clock, random, coverage } = this.#world
    const delay = (): number => clock.now() + random.below(this.#faults.updateMsMax + 1)
    const isFailing = random.below(1_000) < this.#faults.updateFailure
    const way = isFailing ? WAYS_TO_FAIL[random.below(WAYS_TO_FAIL.length)] : 'done'
    coverage.hit(`update: ${way}`)
    if (way === 'never') {
      clock.schedule(delay(), () => answer(false))
    } else if (way === 'later') {
      // Still on its way when it is given up. A later one supersedes it.
      clock.schedule(delay(), () => answer(false))
      clock.schedule(delay() + random.below(200), () => this.#commit(life, sequence, record))
    } else {
      clock.schedule(delay(), () => {
        this.#commit(life, sequence, record)
        clock.schedule(delay(), () => answer(way === 'done'))
      })
    }
  }

  #commit(life: number, sequence: number, record: VmRecord): void {
    if (life !== this.#life || sequence <= this.#sequence) {
      this.#world.coverage.hit('update: superseded')
      return
    }
    this.#sequence = sequence
    this.record = record
    const { clock, trace } = this.#world
    trace.add(`${clock.now()} record ${life} ${sequence} ${record.state} ${record.inSync.join()}`)
    this.onCommit()
  }

  onCommit: () => void = () => {}
}

/** Not done, done in spite of the answer, and done some time after it. */
const WAYS_TO_FAIL = ['never', 'done, not answered', 'later'] as const
