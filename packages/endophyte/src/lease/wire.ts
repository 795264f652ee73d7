/**
 * Frames between lease clients and the lease server: u32 big-endian length, then one CBOR map.
 * Strict on input: no indefinite lengths, no tags, no duplicate or unknown keys, every length
 * bounded before memory is taken for it.
 */
import { decode, encode } from 'cborg'
import type { LeaseView, NodeId } from '@mycelium/interface'
import {
  LEASE_NAME_BYTES_MAX,
  LEASE_NODE_BYTES_MAX,
  LEASE_RECORD_BYTES_MAX,
  LEASE_TOKEN_BYTES,
  LEASE_TTL_MS_MAX,
  LEASE_TTL_MS_MIN,
} from '../core/lease-messages.ts'
import type { LeaseRefusal, LeaseReply, LeaseRequest } from '../core/lease-messages.ts'
import { LeaseFrameError } from '../errors.ts'

/** A record, a name, two node ids, tokens and keys, with room. */
export const LEASE_FRAME_BYTES_MAX = 8192
const HEAD_BYTES = 4

export type LeaseClientFrame =
  | { readonly id: number; readonly request: LeaseRequest }
  /** Ends the watch, or the waiting acquire, with this id. */
  | { readonly cancel: number }

export interface LeaseServerFrame {
  readonly id: number
  readonly reply: LeaseReply
}

export function encodeLeaseClientFrame(frame: LeaseClientFrame): Uint8Array {
  if ('cancel' in frame) return seal({ op: 'cancel', id: frame.cancel })
  return seal({ id: frame.id, ...frame.request })
}

export function encodeLeaseServerFrame({ id, reply }: LeaseServerFrame): Uint8Array {
  if (reply.kind !== 'view') return seal({ id, ...reply })
  const { kind, view } = reply
  return seal({ id, kind, ...view })
}

/** @throws {LeaseFrameError} */
export function decodeLeaseClientFrame(body: Uint8Array): LeaseClientFrame {
  const map = new FieldReader(body)
  const id = map.integer('id', 0, Number.MAX_SAFE_INTEGER)
  const op = map.text('op', 16)
  if (op === 'cancel') {
    map.end()
    return { cancel: id }
  }
  const name = map.text('name', LEASE_NAME_BYTES_MAX)
  const request = readRequest(map, op, name)
  map.end()
  return { id, request }
}

function readRequest(map: FieldReader, op: string, name: string): LeaseRequest {
  if (op === 'read' || op === 'watch') return { op, name }
  const holder = map.nodeId('holder')
  const token = map.bytes('token', LEASE_TOKEN_BYTES, LEASE_TOKEN_BYTES)
  if (op === 'acquire') {
    const ttlMs = map.integer('ttlMs', LEASE_TTL_MS_MIN, LEASE_TTL_MS_MAX)
    const record = map.bytes('record', 0, LEASE_RECORD_BYTES_MAX)
    const wait = map.boolean('wait')
    const expect = map.has('expectVersion') ? { expectVersion: map.big('expectVersion') } : {}
    return { op, name, holder, token, ttlMs, record, wait, ...expect }
  }
  const claim = { name, epoch: map.big('epoch'), holder, token }
  switch (op) {
    case 'renew':
    case 'release':
      return { op, ...claim }
    case 'transfer':
      return { op, ...claim, to: map.nodeId('to') }
    case 'update': {
      const sequence = map.integer('sequence', 1, Number.MAX_SAFE_INTEGER)
      return { op, ...claim, sequence, record: map.bytes('record', 0, LEASE_RECORD_BYTES_MAX) }
    }
    default:
      throw new LeaseFrameError(`unknown operation ${JSON.stringify(op)}`)
  }
}

/** @throws {LeaseFrameError} */
export function decodeLeaseServerFrame(body: Uint8Array): LeaseServerFrame {
  const map = new FieldReader(body)
  const id = map.integer('id', 0, Number.MAX_SAFE_INTEGER)
  const reply = readReply(map)
  map.end()
  return { id, reply }
}

function readReply(map: FieldReader): LeaseReply {
  const kind = map.text('kind', 16)
  switch (kind) {
    case 'granted':
    case 'transferred':
      return { kind, epoch: map.big('epoch') }
    case 'renewed':
    case 'updated':
    case 'released':
      return { kind }
    case 'view':
      return { kind, view: readView(map) }
    case 'refused':
      return { kind, why: readRefusal(map.text('why', 16)) }
    default:
      throw new LeaseFrameError(`unknown reply ${JSON.stringify(kind)}`)
  }
}

function readView(map: FieldReader): LeaseView {
  const name = map.text('name', LEASE_NAME_BYTES_MAX)
  const epoch = map.big('epoch')
  const version = map.big('version')
  const record = map.bytes('record', 0, LEASE_RECORD_BYTES_MAX)
  return { name, epoch, version, record, ...map.holder() }
}

function readRefusal(why: string): LeaseRefusal {
  switch (why) {
    case 'held':
    case 'changed':
    case 'lost':
    case 'full':
    case 'unavailable':
    case 'doubt':
      return why
    default:
      throw new LeaseFrameError(`unknown refusal ${JSON.stringify(why)}`)
  }
}

function seal(body: object): Uint8Array {
  const payload = encode(body, { ignoreUndefinedProperties: true })
  if (payload.length > LEASE_FRAME_BYTES_MAX) {
    throw new LeaseFrameError(`${payload.length} bytes, more than ${LEASE_FRAME_BYTES_MAX}`)
  }
  const frame = new Uint8Array(HEAD_BYTES + payload.length)
  new DataView(frame.buffer).setUint32(0, payload.length)
  frame.set(payload, HEAD_BYTES)
  return frame
}

/** Takes the fields of one CBOR map, each checked and each once. */
export class FieldReader {
  readonly #fields: Map<string, unknown>

  /** @throws {LeaseFrameError} not exactly one CBOR map with text keys */
  constructor(body: Uint8Array) {
    let value: unknown
    try {
      value = decode(body, {
        useMaps: true,
        strict: true,
        allowIndefinite: false,
        allowUndefined: false,
        allowInfinity: false,
        allowNaN: false,
        rejectDuplicateMapKeys: true,
        tags: {},
      })
    } catch (cause) {
      throw new LeaseFrameError('no strict CBOR', { cause })
    }
    if (!(value instanceof Map)) throw new LeaseFrameError('not a map')
    this.#fields = value as Map<string, unknown>
  }

  has(key: string): boolean {
    return this.#fields.has(key)
  }

  text(key: string, bytesMax: number): string {
    const value = this.#take(key)
    if (typeof value !== 'string' || value === '' || Buffer.byteLength(value) > bytesMax) {
      throw new LeaseFrameError(`${key} must be a text of 1 to ${bytesMax} bytes`)
    }
    return value
  }

  nodeId(key: string): NodeId {
    return this.text(key, LEASE_NODE_BYTES_MAX) as NodeId
  }

  holder(): { holder?: NodeId } {
    return this.has('holder') ? { holder: this.nodeId('holder') } : {}
  }

  bytes(key: string, lengthMin: number, lengthMax: number): Uint8Array {
    const value = this.#take(key)
    if (!(value instanceof Uint8Array) || value.length < lengthMin || value.length > lengthMax) {
      throw new LeaseFrameError(`${key} must be ${lengthMin} to ${lengthMax} bytes`)
    }
    return value // a copy, not a view of the receive buffer
  }

  integer(key: string, min: number, max: number): number {
    const value = this.#take(key)
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw new LeaseFrameError(`${key} must be an integer from ${min} to ${max}`)
    }
    return value
  }

  /** An unsigned 64-bit integer; CBOR does not tell small ones from numbers. */
  big(key: string): bigint {
    const value = this.#take(key)
    const isInteger = typeof value === 'bigint' || Number.isSafeInteger(value)
    const big = isInteger ? BigInt(value as bigint | number) : -1n
    if (big < 0n) throw new LeaseFrameError(`${key} must be an unsigned integer`)
    return big
  }

  boolean(key: string): boolean {
    const value = this.#take(key)
    if (typeof value !== 'boolean') throw new LeaseFrameError(`${key} must be a boolean`)
    return value
  }

  /** @throws {LeaseFrameError} a field was not asked for */
  end(): void {
    const [key] = this.#fields.keys()
    if (key !== undefined) throw new LeaseFrameError(`unknown field ${JSON.stringify(key)}`)
  }

  #take(key: string): unknown {
    const value = this.#fields.get(key)
    this.#fields.delete(key)
    return value
  }
}

/** Cuts a byte stream into frame bodies, holding at most one incomplete frame. */
export class FrameCutter {
  #rest: Uint8Array = new Uint8Array(0)

  /**
   * @returns bodies, valid until the next call
   * @throws {LeaseFrameError} a length of 0 or over the bound; the stream is of no use any more
   */
  push(chunk: Uint8Array): Uint8Array[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const bodies: Uint8Array[] = []
    let offset = 0
    while (bytes.length - offset >= HEAD_BYTES) {
      const length = view.getUint32(offset)
      if (length === 0 || length > LEASE_FRAME_BYTES_MAX) {
        throw new LeaseFrameError(`length ${length} is not in 1..${LEASE_FRAME_BYTES_MAX}`)
      }
      const end = offset + HEAD_BYTES + length
      if (end > bytes.length) break
      bodies.push(bytes.subarray(offset + HEAD_BYTES, end))
      offset = end
    }
    this.#rest = bytes.slice(offset)
    return bodies
  }
}
