/** A member as a shell would drive it: ticks, disk, messages, snapshots, clients. */
import type { Random } from '@mycelium/interface'
import type { Coverage, Host, SimulatedDisk } from '@mycelium/simulator'
import { frameRecord, readRecords } from '../src/core/log-records.ts'
import {
  decodeMessage,
  decodeRecord,
  encodeMessage,
  encodeRecord,
  type Membership,
  MembershipChangeError,
  MemoryStorage,
  type Message,
  ProposalDroppedError,
  type RaftId,
  type RaftInit,
  RawNode,
  type Ready,
  type Snapshot,
} from '../src/index.ts'
import type { Judge } from './judge.ts'
import { type Command, decode, encode, RegisterMachine } from './register-machine.ts'

export const TICK_MS = 10
const LOG = 'log'
/** A round of `ready` that finds no end is a livelock. */
const ROUNDS_MAX = 1_000

export interface NodeOptions extends Omit<RaftInit, 'storage' | 'appliedIndex' | 'membership'> {
  /** Longest time for one synchronisation. 0: at once. */
  readonly syncMsMax: number
  /** Longest time until committed entries are applied, with `isAsync`. */
  readonly applyMsMax: number
  /** Entries applied between snapshots. */
  readonly snapshotEvery: number
  /** Entries kept before a snapshot, for followers that are slow. */
  readonly keptEntries: number
}

export interface NodeDeps {
  readonly id: RaftId
  readonly disk: SimulatedDisk
  readonly judge: Judge
  readonly coverage: Coverage
  readonly options: NodeOptions
  /** The process ends itself: it cannot go on. */
  crash(): void
}

/** What a client asks. */
export interface Request extends Command {
  /** Tells repetitions apart. */
  readonly attempt: number
}

export interface Reply {
  readonly serial: number
  /** Absent: ask somebody else. */
  readonly output?: string
  readonly leader?: string | undefined
}

/** First file of a disk: whoever starts a group knows its members. */
export function writeStart(disk: SimulatedDisk, snapshot: Snapshot): void {
  const { term, index } = snapshot.id
  const hardState = { term, vote: undefined, commit: index }
  disk.replace(LOG, frameRecord(encodeRecord({ hardState, snapshot, entries: [] }), 0).bytes)
}

/** One life of a member. */
export class SimNode {
  readonly #deps: NodeDeps
  readonly #host: Host
  readonly #random: Random
  readonly #machine = new RegisterMachine()
  readonly storage: MemoryStorage = new MemoryStorage()
  readonly raw: RawNode
  #sum: number
  readonly #startMs: number
  #ticks = 0
  /** Given to the disk, oldest first. */
  #writing: { readonly ready: Ready; isDone: boolean }[] = []
  #applying: Ready['committed'][] = []
  readonly #waiting = new Map<string, (output: string) => void>()
  #reads: { readonly request: Request; readonly from: string; readonly index: number }[] = []
  readonly #asked = new Map<string, { readonly request: Request; readonly from: string }>()
  #membership: Membership

  /** @throws `ERR_RAFT_LOG_CORRUPT`: the disk is damaged: it must not start */
  constructor(deps: NodeDeps, host: Host) {
    this.#deps = deps
    this.#host = host
    this.#random = host.random
    const { disk, id, options, judge } = deps
    const bytes = disk.read(LOG) ?? new Uint8Array()
    const { records, sum, length } = readRecords(bytes)
    if (length < bytes.length) deps.coverage.hit('torn end of a log cut off')
    disk.truncate(LOG, length)
    // What another process wrote and did not synchronise may be here, and still be lost.
    disk.sync(LOG)
    this.#sum = sum
    for (const record of records) this.storage.persist(decodeRecord(record))
    const snapshot = this.storage.snapshot()
    if (snapshot !== undefined) this.#machine.load(snapshot.data, snapshot.id)
    this.#membership = this.storage.membership
    const { storage } = this
    this.raw = new RawNode(id, { random: host.random.fork('raft') }, { ...options, storage })
    judge.started({ id, storage }, this.raw.status())
    this.#startMs = host.clock.now()
    this.#armTick()
  }

  get id(): RaftId {
    return this.#deps.id
  }

  get applied(): number {
    return this.#machine.applied
  }

  get isIdle(): boolean {
    return this.#writing.length === 0 && this.#applying.length === 0
  }

  // ---- time

  #armTick(): void {
    const { clock } = this.#host
    clock.schedule(this.#startMs + (this.#ticks + 1) * TICK_MS, () => {
      this.#catchUp()
      this.#armTick()
      this.pump()
    })
  }

  /** Time that passed while the process was frozen counts before anything else. */
  #catchUp(): void {
    const due = Math.floor((this.#host.clock.now() - this.#startMs) / TICK_MS)
    for (; this.#ticks < due; this.#ticks++) this.raw.tick()
    this.#watch()
  }

  // ---- messages

  receive(from: string, bytes: Uint8Array): void {
    this.#catchUp()
    if (from.startsWith('client')) this.#serve(from, decode(bytes) as Request)
    else this.raw.step(decodeMessage(bytes))
    this.pump()
  }

  #send(messages: readonly Message[]): void {
    const { judge, id, coverage } = this.#deps
    for (const message of messages) {
      judge.sent(id, message)
      this.#host.send(message.to, encodeMessage(message))
      if (message.type === 'timeout-now') coverage.hit('told to campaign at once')
      if (message.type === 'snapshot') this.#reportLater(message.to)
    }
  }

  /** A transport knows after a while how a snapshot went, or thinks so. */
  #reportLater(to: RaftId): void {
    const { clock } = this.#host
    this.#deps.coverage.hit('snapshot sent')
    clock.schedule(clock.now() + 20 + this.#random.below(100), () => {
      this.raw.reportSnapshot(to, this.#random.below(2) === 0 ? 'received' : 'lost')
      this.pump()
    })
  }

  // ---- ready

  #watch(): void {
    this.#deps.judge.watch(this.id, this.raw)
  }

  /** Carries out all there is to do. */
  pump(): void {
    this.#watch()
    const { judge, id, options } = this.#deps
    for (let rounds = 0; this.raw.hasReady; rounds++) {
      if (rounds > ROUNDS_MAX) throw new Error(`${id}: ready finds no end`)
      const ready = this.raw.ready()
      judge.ready(id, ready, this.raw.status())
      if (options.isAsync) this.#deps.coverage.hit(`ready under way: ${this.#depth()}`)
      this.#send(ready.messages)
      for (const { context, index } of ready.readStates) this.#canRead(context, index)
      if (!this.#write(ready)) return
    }
  }

  #depth(): string {
    return this.#writing.length < 3 ? String(this.#writing.length) : '3 or more'
  }

  /** False: the disk does not take it, and the process ends. */
  #write(ready: Ready): boolean {
    const { disk, options, coverage, crash } = this.#deps
    const { hardState, snapshot, entries, mustSync } = ready
    if (hardState !== undefined || snapshot !== undefined || entries.length > 0) {
      const { bytes, sum } = frameRecord(encodeRecord(ready), this.#sum)
      try {
        disk.append(LOG, bytes)
      } catch {
        coverage.hit('ended because the disk is full')
        crash()
        return false
      }
      this.#sum = sum
    }
    const job = { ready, isDone: false }
    this.#writing.push(job)
    const finish = (): void => {
      job.isDone = true
      if (mustSync) disk.sync(LOG)
      this.#finishWrites()
    }
    const ms = mustSync && options.syncMsMax > 0 ? this.#random.below(options.syncMsMax + 1) : 0
    const { clock } = this.#host
    if (ms === 0) finish()
    else {
      clock.schedule(clock.now() + ms, () => {
        finish()
        this.pump()
      })
    }
    return true
  }

  /** In order, and a later one makes the earlier ones durable too. */
  #finishWrites(): void {
    const last = this.#writing.findLastIndex(({ isDone, ready }) => isDone && ready.mustSync)
    for (let at = 0; at <= last; at++) {
      const job = this.#writing[at]
      if (job !== undefined) job.isDone = true
    }
    while (this.#writing[0]?.isDone) {
      const { ready } = this.#writing[0]
      this.#writing.shift()
      this.#persisted(ready)
    }
  }

  #persisted(ready: Ready): void {
    const { options, judge, id } = this.#deps
    this.storage.persist(ready)
    if (ready.snapshot !== undefined) {
      this.#machine.load(ready.snapshot.data, ready.snapshot.id)
      this.#membership = ready.snapshot.membership
      judge.state(id, ready.snapshot.id.index, this.#machine.save())
    }
    if (options.isAsync) this.raw.persisted(ready.number)
    this.#watch()
    this.#send(ready.afterPersist)
    if (options.isAsync) return this.#applyLater(ready.committed)
    this.#apply(ready.committed)
    this.#watch()
    this.raw.advance()
    this.#watch()
  }

  // ---- applying

  #applyLater(committed: Ready['committed']): void {
    if (committed.length === 0) return
    this.#applying.push(committed)
    if (this.#applying.length > 1) return
    const { clock } = this.#host
    const { applyMsMax } = this.#deps.options
    const next = (): void => {
      clock.schedule(clock.now() + this.#random.below(applyMsMax + 1), () => {
        const [entries] = this.#applying
        const last = entries?.at(-1)
        if (entries === undefined || last === undefined) return
        this.#applying.shift()
        this.#apply(entries)
        this.raw.applied(last.index)
        if (this.#applying.length > 0) next()
        this.pump()
      })
    }
    next()
  }

  #apply(committed: Ready['committed']): void {
    const { judge, id } = this.#deps
    const machine = this.#machine
    for (const entry of committed) {
      if (entry.index <= machine.applied) continue // a snapshot came first
      if (entry.index !== machine.applied + 1) throw new Error(`${id}: ${entry.index} out of order`)
      machine.applied = entry.index
      machine.appliedTerm = entry.term
      if (entry.kind === 'change') {
        this.#watch()
        this.#membership = this.raw.applyChange(entry)
        this.#watch()
        judge.applied(id, entry.index, this.#membership)
      } else if (entry.data.length > 0) {
        const command = decode(entry.data) as Command
        const output = machine.apply(command)
        const key = `${command.client} ${command.serial}`
        if (output !== undefined) this.#waiting.get(key)?.(output)
        this.#waiting.delete(key)
      }
    }
    this.#answerReads()
    this.#snapshot()
  }

  /** Takes a snapshot of what is applied, and forgets what it stands for. */
  #snapshot(): void {
    const { options, judge, id, disk, coverage } = this.#deps
    const { storage } = this
    const machine = this.#machine
    const last = storage.snapshot()?.id.index ?? 0
    if (machine.applied < last + options.snapshotEvery) return
    // The file is written anew, so nothing may be on its way to it.
    if (options.isAsync && this.#writing.length > 0) return
    if (storage.lastIndex < machine.applied) return
    const data = machine.save()
    judge.state(id, machine.applied, data)
    const snapshotId = { term: machine.appliedTerm, index: machine.applied }
    const snapshot = { id: snapshotId, membership: this.#membership, data }
    const { hardState } = storage
    const commit = Math.max(hardState.commit, machine.applied)
    const entries = storage.entries(machine.applied + 1, storage.lastIndex + 1, Infinity)
    const record = encodeRecord({ hardState: { ...hardState, commit }, snapshot, entries })
    const { bytes, sum } = frameRecord(record, 0)
    try {
      disk.replace(LOG, bytes)
    } catch {
      return // later, when there is room
    }
    this.#sum = sum
    coverage.hit('snapshot taken')
    storage.keep(snapshot)
    storage.compact(Math.max(storage.firstIndex - 1, machine.applied - options.keptEntries))
  }

  // ---- clients

  #serve(from: string, request: Request): void {
    const { client, serial, attempt } = request
    if (request.kind === 'get') {
      const context = `${client} ${serial} ${attempt}`
      this.#asked.set(context, { request, from })
      return this.raw.readIndex(encode(context))
    }
    this.#waiting.set(`${client} ${serial}`, (output) => this.#reply(from, { serial, output }))
    try {
      const { kind, key, value, expected } = request
      this.raw.propose(encode({ client, serial, kind, key, value, expected } satisfies Command))
    } catch (error) {
      if (!(error instanceof ProposalDroppedError)) throw error
      this.#deps.coverage.hit(`proposal dropped: ${error.reason}`)
      this.#reply(from, { serial, leader: this.raw.status().leader })
    }
  }

  #canRead(context: Uint8Array, index: number): void {
    const key = decode(context) as string
    const asked = this.#asked.get(key)
    if (asked === undefined) return
    this.#asked.delete(key)
    this.#reads.push({ ...asked, index })
    this.#answerReads()
  }

  #answerReads(): void {
    const ready = this.#reads.filter(({ index }) => index <= this.#machine.applied)
    if (ready.length === 0) return
    this.#reads = this.#reads.filter(({ index }) => index > this.#machine.applied)
    for (const { request, from } of ready) {
      this.#deps.coverage.hit('read answered')
      const { serial, key } = request
      this.#reply(from, { serial, output: this.#machine.get(key) })
    }
  }

  #reply(to: string, reply: Reply): void {
    this.#host.send(to, encode(reply))
  }

  /** As an operator: what is refused is refused. */
  ask(action: (raw: RawNode) => void): void {
    try {
      action(this.raw)
    } catch (error) {
      const isRefusal =
        error instanceof MembershipChangeError || error instanceof ProposalDroppedError
      if (!isRefusal) throw error
      this.#deps.coverage.hit(`refused: ${error.code}`)
    }
    this.pump()
  }
}
