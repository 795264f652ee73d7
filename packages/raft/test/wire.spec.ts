import { describe, expect, it } from 'vitest'
import {
  CONTEXT_BYTES_MAX,
  decodeMessage,
  decodeRecord,
  encodeMessage,
  encodeRecord,
  ID_BYTES_MAX,
  MEMBERS_MAX,
  type Membership,
  type Message,
  WireError,
} from '../src/index.ts'

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const head = { from: 'a', to: 'b', term: 5 } as const
const heartbeat: Message = { ...head, type: 'heartbeat', commit: 3, round: 300 }
const encoded = bytes(3, 1, 97, 1, 98, 5, 3, 0xac, 2)

describe('messages', () => {
  it('have the bytes that others expect', () => {
    expect(encodeMessage(heartbeat)).toEqual(encoded)
    expect(decodeMessage(encoded)).toEqual(heartbeat)
  })

  it.each([
    ['nothing', bytes()],
    ['cut off in a number', encoded.slice(0, -1)],
    ['cut off in a name', encoded.slice(0, 2)],
    ['left over', bytes(...encoded, 0)],
    ['no such type: 0', bytes(0, ...encoded.slice(1))],
    ['no such type: 15', bytes(15, ...encoded.slice(1))],
    ['an empty name', bytes(3, 0, 1, 98, 5, 3, 1)],
    ['a name that is not UTF-8', bytes(3, 1, 0xff, 1, 98, 5, 3, 1)],
    ['a name that is too long', bytes(3, ID_BYTES_MAX + 1, ...new Uint8Array(200))],
    ['a number that is longer than it must be', bytes(3, 1, 97, 1, 98, 5, 0x83, 0, 1)],
    ['a number beyond 53 bits', bytes(3, 1, 97, 1, 98, 255, 255, 255, 255, 255, 255, 255, 127)],
    ['a number without end', bytes(3, 1, 97, 1, 98, ...new Uint8Array(99).fill(0x80))],
    ['a flag that is neither', bytes(6, 1, 97, 1, 98, 5, 2)],
    ['more entries than bytes', bytes(1, 1, 97, 1, 98, 5, 1, 1, 1, 100, 1)],
    ['an index beyond 53 bits', indexBeyond()],
  ])('are refused: %s', (_, wrong) => {
    expect(() => decodeMessage(wrong)).toThrow(WireError)
  })

  it('have names and contexts of no more than the bound', () => {
    const from = 'x'.repeat(ID_BYTES_MAX)
    expect(decodeMessage(encodeMessage({ ...heartbeat, from }))).toEqual({ ...heartbeat, from })
    expect(() => encodeMessage({ ...heartbeat, from: `${from}x` })).toThrow(RangeError)
    expect(() => encodeMessage({ ...heartbeat, from: '' })).toThrow(RangeError)
    const read = (length: number): Message => {
      return { ...head, type: 'read-index', context: new Uint8Array(length) }
    }
    expect(decodeMessage(encodeMessage(read(CONTEXT_BYTES_MAX)))).toEqual(read(CONTEXT_BYTES_MAX))
    const tooLong = encodeMessage(read(CONTEXT_BYTES_MAX + 1))
    expect(() => decodeMessage(tooLong)).toThrow(WireError)
  })

  it('have memberships in order, without contradiction, of no more than the bound', () => {
    const none = { votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false }
    const snapshot = (membership: Membership): Message => {
      const id = { term: 1, index: 1 }
      return { ...head, type: 'snapshot', snapshot: { id, membership, data: new Uint8Array() } }
    }
    const ids = Array.from({ length: MEMBERS_MAX }, (_, at) => `m${1_000 + at}`).sort()
    const full = snapshot({ ...none, voters: ids })
    expect(decodeMessage(encodeMessage(full))).toEqual(full)
    const tooMany = snapshot({ ...none, voters: [...ids, 'z'] })
    expect(() => encodeMessage(tooMany)).toThrow(RangeError)
    const wrong: readonly Partial<Membership>[] = [
      { voters: ['b', 'a'] },
      { voters: ['a', 'a'] },
      { learners: ['a'] },
      { autoLeave: true },
      { learnersNext: ['z'] },
    ]
    for (const part of wrong) {
      const message = encodeMessage(snapshot({ ...none, voters: ['a'], ...part }))
      expect(() => decodeMessage(message), JSON.stringify(part)).toThrow(WireError)
    }
  })
})

function indexBeyond(): Uint8Array {
  const entries = [{ term: 1, index: 1, kind: 'normal', data: new Uint8Array() }] as const
  const previous = { term: 1, index: Number.MAX_SAFE_INTEGER }
  return encodeMessage({ ...head, type: 'append', previous, entries, commit: 0 })
}

describe('records', () => {
  it('may be empty', () => {
    const empty = { entries: [] }
    expect(decodeRecord(encodeRecord(empty))).toEqual(empty)
  })

  it('have an index if and only if they have entries', () => {
    expect(() => decodeRecord(bytes(0, 0, 1, 0))).toThrow(WireError)
    expect(() => decodeRecord(bytes(0, 0, 0, 1, 1, 0, 0))).toThrow(WireError)
  })
})
