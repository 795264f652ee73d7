/**
 * A group of members driven by lines of text, for golden transcripts: what a protocol does, step by
 * step, as a file that people read and tests compare.
 *
 * @packageDocumentation
 */
import type { Random } from '@mycelium/interface'
import {
  describeEntry,
  describeHardState,
  describeMembership,
  describeMessage,
  describeReady,
  describeSnapshot,
} from './core/describe.ts'
import { MemoryStorage } from './core/memory-storage.ts'
import { type RaftStatus, RawNode } from './core/raw-node.ts'
import type {
  Entry,
  Membership,
  MembershipChange,
  Message,
  RaftId,
  Ready,
  SingleChange,
} from './core/types.ts'
import type { RaftInit } from './core/config.ts'
import { decodeMessage, encodeMessage } from './wire.ts'

/** Rounds of `stabilize`; more is a livelock. */
const ROUNDS_MAX = 200

interface Member {
  readonly id: RaftId
  readonly init: Omit<RaftInit, 'storage'>
  readonly storage: MemoryStorage
  raw: RawNode
  membership: Membership
  /** What the state machine holds: texts in order. */
  applied: string[]
  appliedId: { term: number; index: number }
  /** With `isAsync`: taken and not persisted; persisted and not applied. */
  taken: Ready[]
  toApply: Ready['committed'][]
}

/**
 * Runs the commands of a transcript: lines that begin with `> `. What stood between them is
 * replaced by what they print now; comments (`#`) and empty lines stay.
 *
 * @returns the transcript as it should be; the same as given if nothing has changed
 */
export function runTranscript(transcript: string): string {
  const script = new RaftScript()
  const lines: string[] = []
  for (const line of transcript.trimEnd().split('\n')) {
    if (line.startsWith('> ')) lines.push(line, ...script.run(line.slice(2)))
    else if (line === '' || line.startsWith('#')) lines.push(line)
  }
  return `${lines.join('\n')}\n`
}

type Command = (words: readonly string[]) => readonly string[]

/** The commands, and the members they are about. {@link RaftScript.commands} lists them. */
export class RaftScript {
  readonly #members = new Map<RaftId, Member>()
  #wire: Message[] = []

  /** Lines with what happened, also a refusal. @throws {RangeError} no such command or node */
  run(line: string): readonly string[] {
    const [name = '', ...words] = line.split(/\s+/).filter((word) => word !== '')
    const command = this.#commands[name]
    if (command === undefined) throw new RangeError(`line must be a command, got ${line}`)
    try {
      return command(words)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined
      if (code === undefined) throw error
      return [`${String(code)}: ${(error as Error).message}`]
    }
  }

  get commands(): readonly string[] {
    return Object.keys(this.#commands).sort()
  }

  readonly #commands: Readonly<Record<string, Command>> = {
    /** `start a b c learners d [async] [reads=lease] ...`: a new group. */
    start: (words) => this.#start(words),
    /** `blank e [options]`: a node that knows nothing yet. */
    blank: (words) => this.#blank(words),
    /** Loses what is not durable; the state machine begins with the snapshot. */
    restart: ([id]) => this.#restart(id),
    campaign: ([id]) => this.#do(id, (raw) => raw.campaign()),
    /** `tick a 10` */
    tick: ([id, count = '1']) => {
      return this.#do(id, (raw) => {
        for (let tick = 0; tick < Number(count); tick++) raw.tick()
      })
    },
    /** `propose a x y`: two entries at once. */
    propose: ([id, ...texts]) => {
      const proposals = texts.map((text) => ({ kind: 'normal', data: bytesOf(text) }) as const)
      return this.#do(id, (raw) => raw.proposeAll(proposals))
    },
    /** `change a [implicit|explicit] +d =e -b`, `change a leave`: + voter, = learner, - nothing. */
    change: ([id, ...words]) => this.#do(id, (raw) => raw.proposeChange(changeOf(words))),
    read: ([id, context = '']) => this.#do(id, (raw) => raw.readIndex(bytesOf(context))),
    transfer: ([id, to = '']) => this.#do(id, (raw) => raw.transferLeadership(to)),
    'forget-leader': ([id]) => this.#do(id, (raw) => raw.forgetLeader()),
    unreachable: ([id, other = '']) => this.#do(id, (raw) => raw.reportUnreachable(other)),
    'report-snapshot': ([id, other = '', result]) => {
      const how = result === 'received' ? result : 'lost'
      return this.#do(id, (raw) => raw.reportSnapshot(other, how))
    },
    /** Of what is applied. */
    snapshot: ([id]) => this.#snapshot(id),
    compact: ([id, index]) => this.#do(id, (_, { storage }) => storage.compact(Number(index))),
    /** Carries out one `ready`; what it sends waits on the wire. */
    ready: ([id]) => this.#ready(id),
    /** With `async`: takes a `ready`; `persist` and `apply` finish the oldest. */
    take: ([id]) => this.#take(id),
    persist: ([id]) => this.#persist(id),
    apply: ([id]) => this.#apply(id),
    /** `deliver a [from b] [type]`: what waits for a. */
    deliver: (words) => this.#deliver(words),
    drop: (words) => this.#drop(words),
    /** `stabilize [a b]`: carries out and delivers until nothing is left to do. */
    stabilize: (ids) => this.#stabilize(ids),
    status: ([id]) => describeStatus(this.#member(id).raw.status()),
    log: ([id]) => this.#log(id),
    state: ([id]) => [this.#member(id).applied.join(' ') || 'nothing'],
  }

  #member(id = ''): Member {
    const member = this.#members.get(id)
    if (member === undefined) throw new RangeError(`id must name a node, got ${id}`)
    return member
  }

  #do(id: string | undefined, action: (raw: RawNode, member: Member) => void): readonly string[] {
    const member = this.#member(id)
    action(member.raw, member)
    return []
  }

  // ---- nodes

  #start(words: readonly string[]): readonly string[] {
    const ids = words.filter((word) => /^[a-z]$/.test(word))
    const learnersAt = words.indexOf('learners')
    const voters = ids.filter((id) => learnersAt < 0 || words.indexOf(id) < learnersAt)
    const learners = ids.filter((id) => !voters.includes(id))
    const membership = { voters, votersOutgoing: [], learners, learnersNext: [], autoLeave: false }
    const id = { term: 1, index: 1 }
    for (const name of ids) {
      const storage = new MemoryStorage({ snapshot: { id, membership, data: new Uint8Array() } })
      this.#add(name, storage, optionsOf(words))
    }
    return []
  }

  #blank(words: readonly string[]): readonly string[] {
    const [id = ''] = words
    this.#add(id, new MemoryStorage(), optionsOf(words))
    return []
  }

  #add(id: RaftId, storage: MemoryStorage, init: Omit<RaftInit, 'storage'>): void {
    const snapshot = storage.snapshot()
    const saved = new TextDecoder().decode(snapshot?.data)
    const random = fixedRandom(id.charCodeAt(0) - 'a'.charCodeAt(0))
    this.#members.set(id, {
      id,
      init,
      storage,
      raw: new RawNode(id, { random }, { storage, ...init }),
      membership: storage.membership,
      applied: saved === '' ? [] : saved.split(' '),
      appliedId: snapshot?.id ?? { term: 0, index: 0 },
      taken: [],
      toApply: [],
    })
  }

  #restart(id: string | undefined): readonly string[] {
    const { storage, init } = this.#member(id)
    this.#add(id ?? '', storage, init)
    return [describeHardState(storage.hardState)]
  }

  #snapshot(id: string | undefined): readonly string[] {
    const { storage, membership, applied, appliedId } = this.#member(id)
    const snapshot = { id: appliedId, membership, data: bytesOf(applied.join(' ')) }
    storage.keep(snapshot)
    return [describeSnapshot(snapshot)]
  }

  // ---- ready

  #ready(id: string | undefined): readonly string[] {
    const member = this.#member(id)
    if (!member.raw.hasReady) return ['nothing']
    const lines = this.#take(id)
    if (member.init.isAsync !== true) return lines
    this.#persist(id)
    while (member.toApply.length > 0) this.#apply(id)
    return lines
  }

  #take(id: string | undefined): readonly string[] {
    const member = this.#member(id)
    const { raw, init } = member
    if (!raw.hasReady) return ['nothing']
    const ready = raw.ready()
    this.#send(ready.messages)
    member.taken.push(ready)
    if (init.isAsync !== true) this.#finish(member)
    return describeReady(ready)
  }

  #persist(id: string | undefined): readonly string[] {
    const member = this.#member(id)
    const [ready] = member.taken
    if (ready === undefined) return ['nothing']
    member.taken.shift()
    this.#persisted(member, ready)
    member.raw.persisted(ready.number)
    if (ready.committed.length > 0) member.toApply.push(ready.committed)
    return [`ready ${ready.number}`, ...ready.afterPersist.map(describeMessage)]
  }

  #apply(id: string | undefined): readonly string[] {
    const member = this.#member(id)
    const entries = member.toApply.shift()
    const last = entries?.at(-1)
    if (entries === undefined || last === undefined) return ['nothing']
    for (const entry of entries) applyEntry(member, entry)
    member.raw.applied(last.index)
    return entries.map(describeEntry)
  }

  /** Without `isAsync`: all of it at once. */
  #finish(member: Member): void {
    const ready = member.taken.shift()
    if (ready === undefined) return
    this.#persisted(member, ready)
    for (const entry of ready.committed) applyEntry(member, entry)
    member.raw.advance()
  }

  #persisted(member: Member, ready: Ready): void {
    member.storage.persist(ready)
    const { snapshot } = ready
    if (snapshot !== undefined) {
      member.membership = snapshot.membership
      member.applied = new TextDecoder().decode(snapshot.data).split(' ')
      member.appliedId = snapshot.id
    }
    this.#send(ready.afterPersist)
  }

  // ---- wire

  /** Through the codec, as over a network: nobody shares an object. */
  #send(messages: readonly Message[]): void {
    this.#wire.push(...messages.map((message) => decodeMessage(encodeMessage(message))))
  }

  /** `a [from b] [type]` */
  #matching([to, ...words]: readonly string[]): readonly Message[] {
    const fromAt = words.indexOf('from')
    const from = fromAt < 0 ? undefined : words[fromAt + 1]
    const type = words.filter((_, at) => fromAt < 0 || at < fromAt || at > fromAt + 1)[0]
    return this.#wire.filter((message) => {
      const isFrom = from === undefined || message.from === from
      return message.to === to && isFrom && (type === undefined || message.type === type)
    })
  }

  #remove(messages: readonly Message[]): void {
    this.#wire = this.#wire.filter((message) => !messages.includes(message))
  }

  #deliver(words: readonly string[]): readonly string[] {
    const messages = this.#matching(words)
    this.#remove(messages)
    return messages.map((message) => {
      this.#members.get(message.to)?.raw.step(message)
      return describeMessage(message)
    })
  }

  #drop(words: readonly string[]): readonly string[] {
    const messages = this.#matching(words)
    this.#remove(messages)
    return messages.map((message) => `lost: ${describeMessage(message)}`)
  }

  #stabilize(words: readonly string[]): readonly string[] {
    const ids = words.length > 0 ? words : [...this.#members.keys()]
    const lines: string[] = []
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const before = lines.length
      for (const id of ids) {
        while (this.#member(id).raw.hasReady) {
          lines.push(`${id} ready`, ...this.#ready(id).map((line) => `  ${line}`))
        }
      }
      for (const id of ids) {
        const got = this.#deliver([id]).map((line) => `  ${line}`)
        if (got.length > 0) lines.push(`${id} gets`, ...got)
      }
      if (lines.length === before) return lines
    }
    throw new RangeError(`stabilize must come to an end within ${ROUNDS_MAX} rounds`)
  }

  #log(id: string | undefined): readonly string[] {
    const { storage } = this.#member(id)
    const { firstIndex, lastIndex } = storage
    const first = `after ${storage.term(firstIndex - 1) ?? 0}/${firstIndex - 1}`
    return [first, ...storage.entries(firstIndex, lastIndex + 1, Infinity).map(describeEntry)]
  }
}

function applyEntry(member: Member, entry: Entry): void {
  if (entry.index <= member.appliedId.index) return // a snapshot came first
  member.appliedId = { term: entry.term, index: entry.index }
  if (entry.kind === 'change') member.membership = member.raw.applyChange(entry)
  else if (entry.data.length > 0) member.applied.push(new TextDecoder().decode(entry.data))
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function changeOf(words: readonly string[]): MembershipChange {
  const [first = '', ...rest] = words
  if (first === 'leave') return { transition: 'auto', changes: [] }
  const isNamed = first === 'implicit' || first === 'explicit'
  const types = { '+': 'add-voter', '=': 'add-learner', '-': 'remove' } as const
  const changes = (isNamed ? rest : words).map((word): SingleChange => {
    const mark = word.charAt(0)
    if (mark !== '+' && mark !== '=' && mark !== '-') {
      throw new RangeError(`change must begin with +, = or -, got ${word}`)
    }
    return { type: types[mark], id: word.slice(1) }
  })
  return { transition: isNamed ? first : 'auto', changes }
}

const NUMBERS = {
  'election-ticks': 'electionTicks',
  'heartbeat-ticks': 'heartbeatTicks',
  'append-bytes': 'appendBytesMax',
  'applying-bytes': 'applyingBytesMax',
  'uncommitted-bytes': 'uncommittedBytesMax',
  'inflight-count': 'inflightCountMax',
  'inflight-bytes': 'inflightBytesMax',
} as const
const SWITCHES: Readonly<Record<string, Omit<RaftInit, 'storage'>>> = {
  async: { isAsync: true },
  lease: { reads: 'lease' },
  'no-pre-vote': { preVote: false },
  'no-check-quorum': { checkQuorum: false },
  'no-forwarding': { forwardsProposals: false },
  'no-step-down': { stepsDownOnRemoval: false },
}

/** Words such as `async` and `inflight-count=2`; others are no options. */
function optionsOf(words: readonly string[]): Omit<RaftInit, 'storage'> {
  const parts = words.map((word): Omit<RaftInit, 'storage'> => {
    const [name = '', value = ''] = word.split('=')
    if (name in NUMBERS) return { [NUMBERS[name as keyof typeof NUMBERS]]: Number(value) }
    return SWITCHES[word] ?? {}
  })
  return Object.assign({}, ...parts) as Omit<RaftInit, 'storage'>
}

/** Election timeouts differ by one tick from node to node. */
function fixedRandom(position: number): Random {
  return {
    bytes: (length) => new Uint8Array(length),
    below: (bound) => Math.min(position, bound - 1),
    fork: () => fixedRandom(position),
  }
}

function describeStatus(status: RaftStatus): readonly string[] {
  const { role, leader, applied, lastIndex, membership, transferee, progress } = status
  const lines = [
    `${role}${leader === undefined ? '' : ` of ${leader}`} ${describeHardState(status)}`,
    `applied ${applied} last ${lastIndex} ${describeMembership(membership)}`,
  ]
  if (transferee !== undefined) lines.push(`handing over to ${transferee}`)
  for (const [id, one] of progress) {
    const { state, match, next, inflightCount, isLearner, isPaused, isActive } = one
    const words = [`${id} ${state} match ${match} next ${next}`]
    if (inflightCount > 0) words.push(`inflight ${inflightCount}`)
    if (isLearner) words.push('learner')
    if (isPaused) words.push('paused')
    if (!isActive) words.push('silent')
    lines.push(words.join(' '))
  }
  return lines
}
