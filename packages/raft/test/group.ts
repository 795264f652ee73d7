/** A few members in one place, all messages by hand: for tests of single sentences. */
import { createSeededRandom } from '@mycelium/simulator'
import type {
  Entry,
  EntryId,
  Message,
  RaftId,
  RaftInit,
  RaftStatus,
  Ready,
  SingleChange,
} from '../src/index.ts'
import { MemoryStorage, RawNode } from '../src/index.ts'

const ROUNDS_MAX = 100

interface Member {
  readonly storage: MemoryStorage
  raw: RawNode
  applied: Entry[]
  reads: string[]
}

const decoder = new TextDecoder()
const encoder = new TextEncoder()

export class Group {
  readonly #members = new Map<RaftId, Member>()
  readonly #init: Omit<RaftInit, 'storage'>
  readonly #seed: number
  readonly #cut = new Set<RaftId>()
  #wire: Message[] = []

  private constructor(init: Omit<RaftInit, 'storage'>, seed: number) {
    this.#init = init
    this.#seed = seed
  }

  /** Voters are single letters. All hold one snapshot at 1/1. */
  static start(ids: string, init: Omit<RaftInit, 'storage'> = {}, seed = 1): Group {
    const group = new Group(init, seed)
    const voters = [...ids]
    const none = { votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false }
    const id = { term: 1, index: 1 }
    for (const name of voters) {
      const snapshot = { id, membership: { voters, ...none }, data: new Uint8Array() }
      group.#boot(name, new MemoryStorage({ snapshot }))
    }
    return group
  }

  /** One that knows nothing. */
  add(id: RaftId): void {
    this.#boot(id, new MemoryStorage())
  }

  restart(id: RaftId): void {
    this.#boot(id, this.storage(id))
  }

  #boot(id: RaftId, storage: MemoryStorage): void {
    const random = createSeededRandom(this.#seed, id)
    const raw = new RawNode(id, { random }, { storage, ...this.#init })
    const saved = decoder.decode(storage.snapshot()?.data)
    const applied = saved === '' ? [] : (saved.split(' ').map(textEntry) as Entry[])
    this.#members.set(id, { storage, raw, applied, reads: [] })
  }

  #member(id: RaftId): Member {
    const member = this.#members.get(id)
    if (member === undefined) throw new RangeError(`no member ${id}`)
    return member
  }

  raw(id: RaftId): RawNode {
    return this.#member(id).raw
  }

  storage(id: RaftId): MemoryStorage {
    return this.#member(id).storage
  }

  status(id: RaftId): RaftStatus {
    return this.raw(id).status()
  }

  /** Entries of the durable log. */
  entries(id: RaftId): readonly Entry[] {
    const { firstIndex, lastIndex } = this.storage(id)
    return this.storage(id).entries(firstIndex, lastIndex + 1, Infinity)
  }

  terms(id: RaftId): readonly number[] {
    return this.entries(id).map(({ term }) => term)
  }

  /** What was applied, without empty entries and changes. */
  texts(id: RaftId): readonly string[] {
    const { applied } = this.#member(id)
    const texts = applied.map((entry) =>
      entry.kind === 'normal' ? decoder.decode(entry.data) : '',
    )
    return texts.filter((text) => text !== '')
  }

  reads(id: RaftId): readonly string[] {
    return this.#member(id).reads
  }

  // ---- driving

  step(id: RaftId, message: Message): void {
    this.raw(id).step(message)
    this.pump(id)
  }

  /** An append of a leader that is not there. */
  feed(
    id: RaftId,
    previous: EntryId,
    entries: readonly Entry[],
    { from, term, commit = 0 }: { from: RaftId; term: number; commit?: number },
  ): void {
    this.step(id, { type: 'append', from, to: id, term, previous, entries, commit })
  }

  tick(id: RaftId, count: number): void {
    for (let tick = 0; tick < count; tick++) {
      this.raw(id).tick()
      this.pump(id)
    }
  }

  campaign(id: RaftId): void {
    this.raw(id).campaign()
    this.pump(id)
  }

  propose(id: RaftId, text: string): void {
    this.raw(id).propose(encoder.encode(text))
    this.pump(id)
  }

  change(
    id: RaftId,
    changes: readonly SingleChange[],
    transition: 'auto' | 'explicit' = 'auto',
  ): void {
    this.raw(id).proposeChange({ transition, changes })
    this.pump(id)
  }

  read(id: RaftId, context: string): void {
    this.raw(id).readIndex(encoder.encode(context))
    this.pump(id)
  }

  transfer(id: RaftId, to: RaftId): void {
    this.raw(id).transferLeadership(to)
    this.pump(id)
  }

  /** Snapshot of all that is applied, and nothing before it. */
  compact(id: RaftId): void {
    const { storage, raw } = this.#member(id)
    const { applied: index, membership } = raw.status()
    const data = encoder.encode(this.texts(id).join(' '))
    storage.keep({ id: { term: storage.term(index) ?? 0, index }, membership, data })
    storage.compact(index)
  }

  cut(id: RaftId): void {
    this.#cut.add(id)
  }

  mend(): void {
    this.#cut.clear()
  }

  /** Makes `id` the leader, by the votes of all. */
  elect(id: RaftId): void {
    for (const other of this.#members.keys()) this.raw(other).forgetLeader()
    this.campaign(id)
    this.settle()
  }

  // ---- ready

  /** Carries out all there is to do at once. */
  pump(id: RaftId): void {
    const { raw } = this.#member(id)
    for (let round = 0; raw.hasReady; round++) {
      if (round > ROUNDS_MAX) throw new Error(`${id}: ready finds no end`)
      this.#carryOut(this.#member(id), raw.ready())
    }
  }

  #carryOut(member: Member, ready: Ready): void {
    const { raw, storage } = member
    storage.persist(ready)
    if (ready.snapshot !== undefined) {
      const saved = decoder.decode(ready.snapshot.data)
      member.applied = saved === '' ? [] : (saved.split(' ').map(textEntry) as Entry[])
    }
    this.#wire.push(...ready.messages, ...ready.afterPersist)
    for (const entry of ready.committed) {
      member.applied.push(entry)
      if (entry.kind === 'change') raw.applyChange(entry)
    }
    for (const { context, index } of ready.readStates) {
      member.reads.push(`${decoder.decode(context)} at ${index}`)
    }
    if (this.#init.isAsync === true) {
      raw.persisted(ready.number)
      const last = ready.committed.at(-1)
      if (last !== undefined) raw.applied(last.index)
    } else {
      raw.advance()
    }
  }

  /** Takes what `id` has sent off the wire. */
  out(id: RaftId): readonly Message[] {
    const out = this.#wire.filter(({ from }) => from === id)
    this.#wire = this.#wire.filter(({ from }) => from !== id)
    return out
  }

  deliver(to: RaftId): void {
    const messages = this.#wire.filter((message) => message.to === to)
    this.#wire = this.#wire.filter((message) => message.to !== to)
    for (const message of messages) {
      if (this.#cut.has(message.from) || this.#cut.has(to)) continue
      if (this.#members.has(to)) this.step(to, message)
    }
  }

  /** Delivers until nothing is on its way. */
  settle(): void {
    for (let round = 0; this.#wire.length > 0; round++) {
      if (round > ROUNDS_MAX) throw new Error('messages find no end')
      for (const id of new Set(this.#wire.map(({ to }) => to))) this.deliver(id)
    }
  }
}

function textEntry(text: string): Entry {
  return { term: 0, index: 0, kind: 'normal', data: encoder.encode(text) }
}
