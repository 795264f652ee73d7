/** Entries of the lease log as CBOR: checked when they came in, and by a checksum since. */
import { decode, encode } from 'cborg'
import {
  LEASE_NAME_BYTES_MAX,
  LEASE_RECORD_BYTES_MAX,
  LEASE_TOKEN_BYTES,
  LEASE_TTL_MS_MAX,
  LEASE_TTL_MS_MIN,
} from '../core/lease-messages.ts'
import type { LeaseEntry } from '../core/lease-table.ts'
import { LeaseFrameError } from '../errors.ts'
import { FieldReader } from './wire.ts'

export function encodeEntries(entries: readonly LeaseEntry[]): Uint8Array {
  return encode(
    entries.map(({ prior, ...entry }) => {
      const fields = { ...entry, priorEpoch: prior?.epoch, priorToken: prior?.token }
      return encode(fields, { ignoreUndefinedProperties: true })
    }),
  )
}

/** @throws {LeaseFrameError} */
export function decodeEntries(payload: Uint8Array): LeaseEntry[] {
  const items: unknown = decode(payload)
  if (!Array.isArray(items)) throw new LeaseFrameError('entries must be an array')
  return items.map((item: unknown) => {
    if (!(item instanceof Uint8Array)) throw new LeaseFrameError('an entry must be bytes')
    return readEntry(new FieldReader(item))
  })
}

function readEntry(map: FieldReader): LeaseEntry {
  const name = map.text('name', LEASE_NAME_BYTES_MAX)
  const epoch = map.big('epoch')
  const version = map.big('version')
  const ttlMs = map.integer('ttlMs', LEASE_TTL_MS_MIN, LEASE_TTL_MS_MAX)
  const record = map.bytes('record', 0, LEASE_RECORD_BYTES_MAX)
  const token = map.bytes('token', 0, LEASE_TOKEN_BYTES)
  const sequence = map.integer('sequence', 0, Number.MAX_SAFE_INTEGER)
  const holder = map.holder()
  const prior = map.has('priorEpoch')
    ? {
        prior: {
          epoch: map.big('priorEpoch'),
          token: map.bytes('priorToken', LEASE_TOKEN_BYTES, LEASE_TOKEN_BYTES),
        },
      }
    : {}
  map.end()
  return { name, epoch, version, ttlMs, record, token, sequence, ...holder, ...prior }
}
