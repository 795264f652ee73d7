/**
 * Messages and log records as bytes. Numbers: unsigned LEB128 of at most 53 bits, shortest form.
 * Text and data: length, then bytes. Each value has one encoding, and no other is accepted, so that
 * bytes can be compared, counted and signed.
 */
import { configOf } from './core/membership.ts'
import { InvariantError, WireError } from './errors.ts'
import type {
  Entry,
  EntryId,
  HardState,
  LogIndex,
  Membership,
  MembershipChange,
  Message,
  MessageType,
  Proposal,
  RaftId,
  SingleChange,
  Snapshot,
} from './core/types.ts'

/** One message or record; a snapshot travels in one. */
export const WIRE_BYTES_MAX: number = 256 * 2 ** 20
/** Name of a node, in UTF-8; a `NodeId` has 64. */
export const ID_BYTES_MAX = 128
/** In one append, one record, or one forwarded proposal. */
export const ENTRIES_MAX = 1_048_576
/** Members in one configuration, and changes in one proposal. */
export const MEMBERS_MAX = 1_024
/** Name of a read, and what a proposer adds to its change of membership. */
export const CONTEXT_BYTES_MAX = 1_024

/** Durable things of one `Ready`. */
export interface LogRecord {
  readonly hardState?: HardState
  readonly snapshot?: Snapshot
  readonly entries: readonly Entry[]
}

/** In order of their numbers, which begin with 1: append only. */
const MESSAGE_TYPES: readonly MessageType[] = [
  'append',
  'append-response',
  'heartbeat',
  'heartbeat-response',
  'vote',
  'vote-response',
  'pre-vote',
  'pre-vote-response',
  'snapshot',
  'timeout-now',
  'transfer-leader',
  'propose',
  'read-index',
  'read-index-response',
]
const TRANSITIONS = ['auto', 'implicit', 'explicit'] as const
const CHANGES = ['add-voter', 'add-learner', 'remove'] as const

// ---- writing

const encoder = new TextEncoder()
const CHUNK_BYTES = 256

class Writer {
  #bytes = new Uint8Array(CHUNK_BYTES)
  #length = 0

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + bytes))
    larger.set(this.#bytes)
    this.#bytes = larger
  }

  number(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new InvariantError(`${value} must be an integer that is not negative`)
    }
    this.#room(8)
    let rest = value
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#bytes[this.#length++] = rest
  }

  bytes(value: Uint8Array): void {
    this.number(value.length)
    this.#room(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
  }

  id(value: RaftId): void {
    const bytes = encoder.encode(value)
    if (bytes.length === 0 || bytes.length > ID_BYTES_MAX) {
      throw new RangeError(`id must have 1..${ID_BYTES_MAX} bytes, got ${bytes.length}`)
    }
    this.bytes(bytes)
  }

  /** @throws {RangeError} there are more than `max` */
  list<T>(max: number, values: readonly T[], write: (value: T) => void): void {
    if (values.length > max) throw new RangeError(`list must have ${max}, got ${values.length}`)
    this.number(values.length)
    for (const value of values) write(value)
  }

  optional<T>(value: T | undefined, write: (value: T) => void): void {
    this.flag(value !== undefined)
    if (value !== undefined) write(value)
  }

  flag(value: boolean): void {
    this.number(value ? 1 : 0)
  }

  get result(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }
}

function writeId(writer: Writer, { term, index }: EntryId): void {
  writer.number(term)
  writer.number(index)
}

function writeProposal(writer: Writer, proposal: Proposal): void {
  writer.number(proposal.kind === 'normal' ? 0 : 1)
  if (proposal.kind === 'normal') return writer.bytes(proposal.data)
  const { transition, changes, context } = proposal.change
  writer.number(TRANSITIONS.indexOf(transition))
  writer.list(MEMBERS_MAX, changes, ({ type, id }) => {
    writer.number(CHANGES.indexOf(type))
    writer.id(id)
  })
  writer.optional(context, (bytes) => writer.bytes(bytes))
}

/** Entries follow each other: one index stands for all. */
function writeEntries(writer: Writer, entries: readonly Entry[]): void {
  writer.list(ENTRIES_MAX, entries, (entry) => {
    writer.number(entry.term)
    writeProposal(writer, entry)
  })
}

function writeMembership(writer: Writer, membership: Membership): void {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = membership
  for (const ids of [voters, votersOutgoing, learners, learnersNext]) {
    writer.list(MEMBERS_MAX, ids, (id) => writer.id(id))
  }
  writer.flag(autoLeave)
}

function writeSnapshot(writer: Writer, { id, membership, data }: Snapshot): void {
  writeId(writer, id)
  writeMembership(writer, membership)
  writer.bytes(data)
}

/** @throws {RangeError} a name of a node is empty or too long */
export function encodeMessage(message: Message): Uint8Array {
  const writer = new Writer()
  writer.number(MESSAGE_TYPES.indexOf(message.type) + 1)
  writer.id(message.from)
  writer.id(message.to)
  writer.number(message.term)
  writeBody(writer, message)
  return writer.result
}

function writeBody(writer: Writer, message: Message): void {
  switch (message.type) {
    case 'append':
      writeId(writer, message.previous)
      writer.number(message.commit)
      return writeEntries(writer, message.entries)
    case 'append-response':
      writer.number(message.index)
      return writer.optional(message.rejected, (id) => writeId(writer, id))
    case 'heartbeat':
      writer.number(message.commit)
      return writer.number(message.round)
    case 'heartbeat-response':
      return writer.number(message.round)
    case 'vote':
    case 'pre-vote':
      writeId(writer, message.last)
      return writer.flag(message.isTransfer)
    case 'vote-response':
    case 'pre-vote-response':
      writer.flag(message.isGranted)
      return writeId(writer, message.commit)
    case 'snapshot':
      return writeSnapshot(writer, message.snapshot)
    case 'timeout-now':
      return
    case 'transfer-leader':
      return writer.id(message.transferee)
    case 'propose':
      return writer.list(ENTRIES_MAX, message.proposals, (one) => writeProposal(writer, one))
    case 'read-index':
      return writer.bytes(message.context)
    case 'read-index-response':
      writer.bytes(message.context)
      return writer.number(message.index)
  }
}

/** @throws {RangeError} a name of a node is empty or too long */
export function encodeRecord({ hardState, snapshot, entries }: LogRecord): Uint8Array {
  const writer = new Writer()
  writer.optional(hardState, ({ term, vote, commit }) => {
    writer.number(term)
    writer.optional(vote, (id) => writer.id(id))
    writer.number(commit)
  })
  writer.optional(snapshot, (one) => writeSnapshot(writer, one))
  writer.number(entries[0]?.index ?? 0)
  writeEntries(writer, entries)
  return writer.result
}

// ---- reading

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

class Reader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    if (bytes.length > WIRE_BYTES_MAX) throw new WireError(`${bytes.length} bytes are too many`)
    this.#bytes = bytes
  }

  number(max: number = Number.MAX_SAFE_INTEGER): number {
    let value = 0
    let factor = 1
    for (;;) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw new WireError('cut off')
      value += (byte & 0x7f) * factor
      if (value > max) throw new WireError(`a number is above ${max}`)
      if (byte < 0x80) {
        if (byte === 0 && factor > 1) throw new WireError('a number is not in its shortest form')
        return value
      }
      factor *= 0x80
      // Zero bits could go on without end.
      if (factor > Number.MAX_SAFE_INTEGER) throw new WireError('a number is too long')
    }
  }

  /** A copy. */
  bytes(max: number): Uint8Array {
    const length = this.number(max)
    if (length > this.#bytes.length - this.#at) throw new WireError('cut off')
    this.#at += length
    return this.#bytes.slice(this.#at - length, this.#at)
  }

  id(): RaftId {
    const bytes = this.bytes(ID_BYTES_MAX)
    if (bytes.length === 0) throw new WireError('a name is empty')
    try {
      return decoder.decode(bytes)
    } catch (cause) {
      throw new WireError('a name is not UTF-8', { cause })
    }
  }

  list<T>(max: number, read: (at: number) => T): readonly T[] {
    const count = this.number(max)
    // Each takes a byte at least: no memory for what cannot be there.
    if (count > this.#bytes.length - this.#at) throw new WireError('cut off')
    return Array.from({ length: count }, (_, at) => read(at))
  }

  flag(): boolean {
    return this.number(1) === 1
  }

  optional<T>(read: () => T): T | undefined {
    return this.flag() ? read() : undefined
  }

  oneOf<T>(values: readonly T[]): T {
    return values[this.number(values.length - 1)] as T
  }

  end(): void {
    if (this.#at < this.#bytes.length) throw new WireError('bytes are left over')
  }
}

function readId(reader: Reader): EntryId {
  return { term: reader.number(), index: reader.number() }
}

function readProposal(reader: Reader): Proposal {
  if (!reader.flag()) return { kind: 'normal', data: reader.bytes(WIRE_BYTES_MAX) }
  const transition = reader.oneOf(TRANSITIONS)
  const changes = reader.list(MEMBERS_MAX, (): SingleChange => {
    return { type: reader.oneOf(CHANGES), id: reader.id() }
  })
  const context = reader.optional(() => reader.bytes(CONTEXT_BYTES_MAX))
  const change: MembershipChange = { transition, changes, ...(context && { context }) }
  return { kind: 'change', change }
}

function readEntries(reader: Reader, first: LogIndex): readonly Entry[] {
  return reader.list(ENTRIES_MAX, (at): Entry => {
    if (!Number.isSafeInteger(first + at)) throw new WireError('an index is too high')
    return { term: reader.number(), index: first + at, ...readProposal(reader) }
  })
}

function readIds(reader: Reader): readonly RaftId[] {
  const ids = reader.list(MEMBERS_MAX, () => reader.id())
  ids.reduce((before, id) => {
    if (id <= before) throw new WireError('names are not in order')
    return id
  }, '')
  return ids
}

function readMembership(reader: Reader): Membership {
  const membership = {
    voters: readIds(reader),
    votersOutgoing: readIds(reader),
    learners: readIds(reader),
    learnersNext: readIds(reader),
    autoLeave: reader.flag(),
  }
  try {
    configOf(membership)
  } catch (cause) {
    throw new WireError('a membership contradicts itself', { cause })
  }
  return membership
}

function readSnapshot(reader: Reader): Snapshot {
  const id = readId(reader)
  return { id, membership: readMembership(reader), data: reader.bytes(WIRE_BYTES_MAX) }
}

/** Bytes of data are copied. @throws {WireError} `ERR_RAFT_WIRE` */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = new Reader(bytes)
  const type = MESSAGE_TYPES[reader.number(MESSAGE_TYPES.length) - 1]
  if (type === undefined) throw new WireError('no such message')
  const head = { from: reader.id(), to: reader.id(), term: reader.number() }
  const message = { ...head, ...readBody(reader, type) } as Message
  reader.end()
  return message
}

function readBody(reader: Reader, type: MessageType): object {
  switch (type) {
    case 'append': {
      const previous = readId(reader)
      const commit = reader.number()
      return { type, previous, commit, entries: readEntries(reader, previous.index + 1) }
    }
    case 'append-response': {
      const index = reader.number()
      const rejected = reader.optional(() => readId(reader))
      return { type, index, ...(rejected && { rejected }) }
    }
    case 'heartbeat':
      return { type, commit: reader.number(), round: reader.number() }
    case 'heartbeat-response':
      return { type, round: reader.number() }
    case 'vote':
    case 'pre-vote':
      return { type, last: readId(reader), isTransfer: reader.flag() }
    case 'vote-response':
    case 'pre-vote-response':
      return { type, isGranted: reader.flag(), commit: readId(reader) }
    case 'snapshot':
      return { type, snapshot: readSnapshot(reader) }
    case 'timeout-now':
      return { type }
    case 'transfer-leader':
      return { type, transferee: reader.id() }
    case 'propose':
      return { type, proposals: reader.list(ENTRIES_MAX, () => readProposal(reader)) }
    case 'read-index':
      return { type, context: reader.bytes(CONTEXT_BYTES_MAX) }
    case 'read-index-response':
      return { type, context: reader.bytes(CONTEXT_BYTES_MAX), index: reader.number() }
  }
}

/** Bytes of data are copied. @throws {WireError} `ERR_RAFT_WIRE` */
export function decodeRecord(bytes: Uint8Array): LogRecord {
  const reader = new Reader(bytes)
  const hardState = reader.optional((): HardState => {
    return {
      term: reader.number(),
      vote: reader.optional(() => reader.id()),
      commit: reader.number(),
    }
  })
  const snapshot = reader.optional(() => readSnapshot(reader))
  const first = reader.number()
  const entries = readEntries(reader, first)
  if ((first === 0) !== (entries.length === 0)) throw new WireError('entries have no index')
  reader.end()
  return { ...(hardState && { hardState }), ...(snapshot && { snapshot }), entries }
}
