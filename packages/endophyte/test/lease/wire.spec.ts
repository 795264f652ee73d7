import assert from 'node:assert/strict'
import { encode } from 'cborg'
import fc from 'fast-check'
import type { NodeId } from '@mycelium/interface'
import { describe, test } from 'vitest'
import {
  LEASE_NAME_BYTES_MAX,
  LEASE_NODE_BYTES_MAX,
  LEASE_RECORD_BYTES_MAX,
  LEASE_TOKEN_BYTES,
} from '../../src/core/lease-messages.ts'
import type { LeaseReply, LeaseRequest } from '../../src/core/lease-messages.ts'
import {
  FrameCutter,
  LEASE_FRAME_BYTES_MAX,
  decodeLeaseClientFrame,
  decodeLeaseServerFrame,
  encodeLeaseClientFrame,
  encodeLeaseServerFrame,
} from '../../src/lease/wire.ts'

const HEAD_BYTES = 4
const RUNS = 300

const textOf = (bytesMax: number): fc.Arbitrary<string> =>
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }).filter((text) => {
    const bytes = Buffer.byteLength(text)
    return bytes <= bytesMax && text.isWellFormed()
  })
const name = textOf(LEASE_NAME_BYTES_MAX)
const node = textOf(LEASE_NODE_BYTES_MAX) as fc.Arbitrary<NodeId>
const big = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const token = fc.uint8Array({ minLength: LEASE_TOKEN_BYTES, maxLength: LEASE_TOKEN_BYTES })
const record = fc.uint8Array({ maxLength: LEASE_RECORD_BYTES_MAX })
const claim = { name, epoch: big, holder: node, token }

const request: fc.Arbitrary<LeaseRequest> = fc.oneof(
  fc.record(
    {
      op: fc.constant('acquire' as const),
      name,
      holder: node,
      token,
      record,
      ttlMs: fc.integer({ min: 100, max: 60_000 }),
      wait: fc.boolean(),
      expectVersion: big,
    },
    { requiredKeys: ['op', 'name', 'holder', 'token', 'record', 'ttlMs', 'wait'] },
  ),
  fc.record({ op: fc.constantFrom('renew' as const, 'release' as const), ...claim }),
  fc.record({ op: fc.constant('transfer' as const), ...claim, to: node }),
  fc.record({
    op: fc.constant('update' as const),
    ...claim,
    record,
    sequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  }),
  fc.record({ op: fc.constantFrom('read' as const, 'watch' as const), name }),
)
const why = fc.constantFrom(
  ...(['held', 'changed', 'lost', 'full', 'unavailable', 'doubt'] as const),
)
const reply: fc.Arbitrary<LeaseReply> = fc.oneof(
  fc.record({ kind: fc.constantFrom('granted' as const, 'transferred' as const), epoch: big }),
  fc.record({
    kind: fc.constantFrom('renewed' as const, 'updated' as const, 'released' as const),
  }),
  fc.record({ kind: fc.constant('refused' as const), why }),
  fc.record({
    kind: fc.constant('view' as const),
    view: fc.record(
      { name, epoch: big, version: big, record, holder: node },
      { requiredKeys: ['name', 'epoch', 'version', 'record'] },
    ),
  }),
)
const id = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })

describe('frames', () => {
  test('of a client come out as they went in', () => {
    fc.assert(
      fc.property(id, request, (number, body) => {
        const frame = encodeLeaseClientFrame({ id: number, request: body })
        const decoded = decodeLeaseClientFrame(frame.subarray(HEAD_BYTES))
        assert.deepEqual(decoded, { id: number, request: { ...body } })
      }),
      { numRuns: RUNS },
    )
    const cancel = encodeLeaseClientFrame({ cancel: 5 })
    assert.deepEqual(decodeLeaseClientFrame(cancel.subarray(HEAD_BYTES)), { cancel: 5 })
  })

  test('of the server come out as they went in', () => {
    fc.assert(
      fc.property(id, reply, (number, body) => {
        const frame = encodeLeaseServerFrame({ id: number, reply: body })
        const decoded = decodeLeaseServerFrame(frame.subarray(HEAD_BYTES))
        const plain = body.kind === 'view' ? { ...body, view: { ...body.view } } : { ...body }
        assert.deepEqual(decoded, { id: number, reply: plain })
      }),
      { numRuns: RUNS },
    )
  })

  test('with anything changed are refused with a coded error, or are another valid frame', () => {
    fc.assert(
      fc.property(request, fc.nat(), fc.integer({ min: 1, max: 255 }), (body, at, flip) => {
        const bytes = encodeLeaseClientFrame({ id: 1, request: body }).subarray(HEAD_BYTES)
        const index = at % bytes.length
        bytes[index] = (bytes[index] ?? 0) ^ flip
        for (const decode of [decodeLeaseClientFrame, decodeLeaseServerFrame]) {
          try {
            decode(bytes)
          } catch (error) {
            assert.equal((error as { code?: unknown }).code, 'ERR_LEASE_FRAME')
          }
        }
      }),
      { numRuns: 2_000 },
    )
  })

  const claimFields = { name: 'x', epoch: 1, holder: 'a', token: new Uint8Array(32) }
  const acquire = {
    ...{ id: 1, op: 'acquire', name: 'x', holder: 'a', token: new Uint8Array(32) },
    ...{ ttlMs: 1000, record: new Uint8Array(0), wait: true },
  }
  const wrong: Readonly<Record<string, unknown>> = {
    'no map': [1],
    'no operation': { id: 1 },
    'unknown operation': { ...claimFields, id: 1, op: 'steal' },
    'unknown field': { ...claimFields, id: 1, op: 'renew', more: 1 },
    'negative id': { ...acquire, id: -1 },
    'time to live too short': { ...acquire, ttlMs: 99 },
    'time to live too long': { ...acquire, ttlMs: 60_001 },
    'time to live with a fraction': { ...acquire, ttlMs: 100.5 },
    'token too short': { ...acquire, token: new Uint8Array(31) },
    'record one too long': { ...acquire, record: new Uint8Array(LEASE_RECORD_BYTES_MAX + 1) },
    'name one too long': { ...acquire, name: 'x'.repeat(LEASE_NAME_BYTES_MAX + 1) },
    'empty name': { ...acquire, name: '' },
    'holder one too long': { ...acquire, holder: 'x'.repeat(LEASE_NODE_BYTES_MAX + 1) },
    'wait is no boolean': { ...acquire, wait: 1 },
    'epoch is negative': { ...claimFields, id: 1, op: 'renew', epoch: -1 },
    'update 0': { ...claimFields, id: 1, op: 'update', sequence: 0, record: new Uint8Array(0) },
  }
  for (const [what, body] of Object.entries(wrong)) {
    test(`refused: ${what}`, () => {
      assert.throws(() => decodeLeaseClientFrame(encode(body)), { code: 'ERR_LEASE_FRAME' })
    })
  }

  test('refused: the same field twice', () => {
    const key = encode('op')
    const read = encode('read')
    const body = Buffer.concat([encode({ id: 1, name: 'x', op: 'read' }), key, read])
    body[0] = (body[0] ?? 0) + 1 // a map of four pairs
    assert.throws(() => decodeLeaseClientFrame(body), { code: 'ERR_LEASE_FRAME' })
  })

  test('what was decoded does not change with the receive buffer', () => {
    const frame = encodeLeaseClientFrame({ id: 1, request: acquire as unknown as LeaseRequest })
    const decoded = decodeLeaseClientFrame(frame.subarray(HEAD_BYTES))
    frame.fill(0xff)
    assert.ok('request' in decoded && decoded.request.op === 'acquire')
    assert.deepEqual(decoded.request.token, new Uint8Array(LEASE_TOKEN_BYTES))
  })

  test('refused: an answer of unknown kind or with an unknown reason', () => {
    for (const body of [
      { id: 1, kind: 'perhaps' },
      { id: 1, kind: 'refused', why: 'mood' },
    ]) {
      assert.throws(() => decodeLeaseServerFrame(encode(body)), { code: 'ERR_LEASE_FRAME' })
    }
  })

  test('a frame at the bound fits, the longest request is far from it', () => {
    const longest = encodeLeaseClientFrame({
      id: Number.MAX_SAFE_INTEGER,
      request: {
        op: 'acquire',
        name: 'x'.repeat(LEASE_NAME_BYTES_MAX),
        holder: 'x'.repeat(LEASE_NODE_BYTES_MAX) as NodeId,
        token: new Uint8Array(LEASE_TOKEN_BYTES),
        record: new Uint8Array(LEASE_RECORD_BYTES_MAX),
        ttlMs: 60_000,
        wait: true,
        expectVersion: 2n ** 64n - 1n,
      },
    })
    assert.ok(longest.length < LEASE_FRAME_BYTES_MAX)
    const over = 'x'.repeat(LEASE_FRAME_BYTES_MAX)
    assert.throws(() => encodeLeaseClientFrame({ id: 1, request: { op: 'read', name: over } }), {
      code: 'ERR_LEASE_FRAME',
    })
  })
})

describe('the cutter', () => {
  test('finds the same frames however the bytes are cut', () => {
    const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 8 })
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 30 })), (bodies, sizes) => {
        const bytes = Buffer.concat(
          bodies.flatMap((body) => {
            const head = Buffer.alloc(HEAD_BYTES)
            head.writeUInt32BE(body.length)
            return [head, body]
          }),
        )
        const cutter = new FrameCutter()
        const found: Uint8Array[] = []
        let offset = 0
        for (const size of [...sizes, bytes.length]) {
          for (const body of cutter.push(bytes.subarray(offset, offset + size))) {
            found.push(Uint8Array.from(body))
          }
          offset += size
        }
        assert.deepEqual(found, bodies)
      }),
      { numRuns: RUNS },
    )
  })

  test('refuses a length of 0 and one over the bound before it takes memory', () => {
    for (const length of [0, LEASE_FRAME_BYTES_MAX + 1, 2 ** 32 - 1]) {
      const head = Buffer.alloc(HEAD_BYTES)
      head.writeUInt32BE(length)
      assert.throws(() => new FrameCutter().push(head), { code: 'ERR_LEASE_FRAME' })
    }
    const full = Buffer.alloc(HEAD_BYTES + LEASE_FRAME_BYTES_MAX)
    full.writeUInt32BE(LEASE_FRAME_BYTES_MAX)
    assert.equal(new FrameCutter().push(full).length, 1)
  })
})
