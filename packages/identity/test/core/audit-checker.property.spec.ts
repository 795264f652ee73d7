/** Everything that somebody without the key can do to a log, and what of it is found. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, test } from 'vitest'
import { AUDIT_UNSIGNED_MAX } from '../../src/core/audit.ts'
import {
  LogInMemory,
  bodyOf,
  check,
  crypto,
  filesOf,
  forge,
  own,
  payloadsOf,
  rechain,
  segmentOf,
  stranger,
  verdictOf,
} from '../audit-kit.ts'
import type { Files, Image } from '../audit-kit.ts'

function logOf(entries: number, { isClosed = true, bytesMax = 2 ** 18, id = 0 } = {}): Image {
  const log = new LogInMemory({ bytesMax })
  log.step({ kind: 'begin', id: new Uint8Array(16).fill(id) })
  for (let i = 0; i < entries; i++) log.say('happened', `${i} `.repeat(i % 30))
  if (isClosed) log.step({ kind: 'close' })
  return log.image
}

const small = logOf(20)
/** Several segments, the oldest dropped. */
const large = logOf(2500)
const firsts = [...large.segments.keys()].toSorted((one, other) => one - other)
const smallFile = segmentOf(small.segments.get(1) ?? [])
const smallPayloads = small.segments.get(1) ?? []

/** Any entry of the large log: its segment and its index there. */
const place = fc
  .nat({ max: firsts.length - 1 })
  .chain((segment) =>
    fc.tuple(
      fc.constant(firsts[segment] ?? 0),
      fc.nat({ max: (large.segments.get(firsts[segment] ?? 0)?.length ?? 1) - 1 }),
    ),
  )

function withSegment(first: number, payloads: readonly Uint8Array[] | Uint8Array): Files {
  const bytes = payloads instanceof Uint8Array ? payloads : segmentOf(payloads)
  return new Map([...filesOf(large), [first, bytes]])
}
const segment = (first: number): Uint8Array[] => [...(large.segments.get(first) ?? [])]

test('untouched logs pass', () => {
  assert.ok(firsts.length > 2 && (firsts[0] ?? 1) > 1)
  for (const image of [small, large, logOf(5, { isClosed: false }), logOf(0)]) {
    assert.equal(verdictOf(filesOf(image), image.head), 'ok')
  }
})

describe('bytes', () => {
  test('every single one that changes is found, with its place', () => {
    for (let offset = 0; offset < smallFile.length; offset++) {
      for (const bit of [1, 128]) {
        const bytes = Uint8Array.from(smallFile)
        bytes[offset] = (bytes[offset] ?? 0) ^ bit
        const { result } = check(new Map([[1, bytes]]), small.head)
        assert.ok('problem' in result, `byte ${offset}`)
        assert.ok((result.problem.at?.offset ?? Infinity) <= offset, `byte ${offset}`)
      }
    }
  })

  test('in any segment of a long log', () => {
    const change = place.chain(([first]) => {
      const { length } = segmentOf(segment(first))
      return fc.tuple(
        fc.constant(first),
        fc.nat({ max: length - 1 }),
        fc.integer({ min: 1, max: 255 }),
      )
    })
    fc.assert(
      fc.property(change, ([first, offset, bits]) => {
        const bytes = segmentOf(segment(first))
        bytes[offset] = (bytes[offset] ?? 0) ^ bits
        const { result } = check(withSegment(first, bytes), large.head)
        assert.ok('problem' in result)
        assert.equal(result.problem.at?.segment, first)
      }),
      { numRuns: 60 },
    )
  })

  test('of the head too, and a head that is gone or of another log', () => {
    const { head } = small
    assert.ok(head !== undefined)
    const files = filesOf(small)
    for (let offset = 0; offset < head.length; offset++) {
      const changed = Uint8Array.from(head)
      changed[offset] = (changed[offset] ?? 0) ^ 4
      assert.notEqual(verdictOf(files, changed), 'ok', `byte ${offset}`)
    }
    assert.equal(verdictOf(files, undefined), 'head')
    assert.equal(verdictOf(files, new Uint8Array(0)), 'head')
    assert.equal(verdictOf(files, logOf(20, { id: 1 }).head), 'changed')
    assert.equal(verdictOf(files, logOf(30).head), 'truncated')
  })

  test('a file that ends anywhere else than it did is found', () => {
    for (let length = 0; length < smallFile.length; length++) {
      const verdict = verdictOf(new Map([[1, smallFile.subarray(0, length)]]), small.head)
      assert.notEqual(verdict, 'ok', `${length} bytes`)
    }
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (tail) => {
        const longer = Uint8Array.from([...smallFile, ...tail])
        assert.notEqual(verdictOf(new Map([[1, longer]]), small.head), 'ok')
      }),
      { numRuns: 200 },
    )
  })
})

describe('entries', () => {
  test('each that is removed is found, chained anew or not', () => {
    fc.assert(
      fc.property(place, fc.boolean(), ([first, index], isChained) => {
        const payloads = segment(first).toSpliced(index, 1)
        const files = withSegment(first, isChained ? rechain(payloads) : payloads)
        assert.notEqual(verdictOf(files, large.head), 'ok')
      }),
      { numRuns: 40 },
    )
  })

  test('a gap and a wrong order are named, and where they begin', () => {
    const verdict = (payloads: readonly Uint8Array[]): string =>
      verdictOf(new Map([[1, segmentOf(payloads)]]), small.head)
    assert.equal(verdict(smallPayloads.toSpliced(5, 1)), 'missing')
    assert.equal(verdict(smallPayloads.toSpliced(5, 0, ...smallPayloads.slice(3, 4))), 'order')
    assert.equal(verdict(smallPayloads.slice(1)), 'missing')
  })

  test('two that are swapped are found, within a segment and between two', () => {
    fc.assert(
      fc.property(place, place, ([one, i], [other, j]) => {
        fc.pre(one !== other || i !== j)
        const segments = new Map([...large.segments].map(([first, all]) => [first, [...all]]))
        const a = segments.get(one)?.[i]
        const b = segments.get(other)?.[j]
        assert.ok(a !== undefined && b !== undefined)
        segments.get(one)?.splice(i, 1, b)
        segments.get(other)?.splice(j, 1, a)
        assert.notEqual(verdictOf(filesOf({ ...large, segments }), large.head), 'ok')
      }),
      { numRuns: 40 },
    )
  })

  test('each that is changed or doubled is found, all after it chained anew', () => {
    for (let index = 0; index < smallPayloads.length; index++) {
      const payload = smallPayloads[index]
      assert.ok(payload !== undefined)
      const { key: _, ...body } = bodyOf(payload)
      const changed = forge({ ...body, reason: 'other' })
      const doubled = rechain(smallPayloads.toSpliced(index, 0, payload))
      const unchained = smallPayloads.with(index, changed)
      for (const forged of [unchained, rechain(unchained), doubled]) {
        assert.notEqual(verdictOf(new Map([[1, segmentOf(forged)]]), small.head), 'ok')
      }
    }
  })

  test('a signature is of this key and of nothing else', () => {
    const last = smallPayloads.at(-1)
    assert.ok(last !== undefined)
    const { key: _, ...body } = bodyOf(last)
    const forged = forge({ ...body, reason: 'other' }, stranger)
    const files = new Map([[1, segmentOf(smallPayloads.with(-1, forged))]])
    assert.equal(verdictOf(files, forged), 'signature')
    const whole = rechain(smallPayloads.map((one) => forge({ ...bodyOf(one) }, stranger)))
    assert.notEqual(verdictOf(new Map([[1, segmentOf(whole)]]), whole.at(-1)), 'ok')
  })

  test('a whole log of somebody else is found', () => {
    const log = new LogInMemory({ signer: stranger })
    log.step({ kind: 'begin', id: new Uint8Array(16) })
    log.step({ kind: 'close' })
    assert.equal(verdictOf(filesOf(log.image), log.head), 'foreign')
  })

  test('any that is added to a closed log is found, rightly chained and all', () => {
    const last = smallPayloads.at(-1)
    assert.ok(last !== undefined)
    const next = {
      number: smallPayloads.length + 1,
      at: 1_700_000_000_000,
      previous: crypto.sha256(last),
    }
    const verdict = (added: Uint8Array): string =>
      verdictOf(new Map([[1, segmentOf([...smallPayloads, added])]]), small.head)
    assert.equal(verdict(forge({ ...next, event: 'forged' })), 'unsigned')
    assert.equal(verdict(forge({ ...next, event: 'audit:opened' })), 'unsigned')
    assert.equal(verdict(forge({ ...next, event: 'audit:head' }, own)), 'unsigned')
    // As the node would go on, signed by somebody else in his own name or in that of the node.
    const liar = { publicKey: own.publicKey, sign: (bytes: Uint8Array) => stranger.sign(bytes) }
    for (const signer of [stranger, liar]) {
      assert.equal(verdict(forge({ ...next, event: 'audit:opened' }, signer)), 'signature')
    }
    assert.equal(verdict(forge({ ...next, event: 'audit:opened' }, own)), 'ok')
  })
})

describe('segments', () => {
  test('each that is gone is found, also the last', () => {
    for (const first of firsts) {
      const files = new Map(filesOf(large))
      files.delete(first)
      assert.notEqual(verdictOf(files, large.head), 'ok', `${first}`)
    }
    assert.equal(verdictOf(new Map(), large.head), 'truncated')
    assert.equal(verdictOf(new Map(), undefined), 'missing')
  })

  test('one under another name is found', () => {
    const files = new Map(filesOf(large))
    const first = firsts.at(-1) ?? 0
    const bytes = files.get(first)
    assert.ok(bytes !== undefined)
    files.delete(first)
    files.set(first + 1, bytes)
    assert.equal(verdictOf(files, large.head), 'order')
  })

  test('the oldest may be there longer than the cut says: a crash came before its deletion', () => {
    const bytesMax = 2 ** 18
    const log = new LogInMemory({ bytesMax })
    log.step({ kind: 'begin', id: new Uint8Array(16) })
    const kept = new Map<number, Uint8Array[]>()
    while (!log.effects.some(({ kind }) => kind === 'drop')) {
      for (const [first, payloads] of log.segments) kept.set(first, payloads)
      log.say('happened', 'x'.repeat(200))
    }
    assert.ok(kept.has(1) && !log.segments.has(1))
    const segments = new Map([...kept, ...log.segments])
    assert.equal(verdictOf(filesOf({ ...log.image, segments }), log.head), 'ok')
  })
})

describe('what cannot be found', () => {
  test('changes after the last signature, never more than 64 entries', () => {
    const image = logOf(30, { isClosed: false })
    const payloads = image.segments.get(1) ?? []
    const changed = payloads.map((one) =>
      bodyOf(one).number === 1 ? one : forge({ ...bodyOf(one), reason: 'forged' }),
    )
    const files = new Map([[1, segmentOf(rechain(changed))]])
    const { result } = check(files, image.head)
    assert.equal('summary' in result && result.summary.unsigned, 30)
    const shorter = new Map([[1, segmentOf(payloads.slice(0, 10))]])
    assert.equal(verdictOf(shorter, image.head), 'ok')
    let last = payloads.slice(0, 1)
    for (let number = 2; number <= 2 + AUDIT_UNSIGNED_MAX; number++) {
      assert.equal(verdictOf(new Map([[1, segmentOf(last)]]), image.head), 'ok')
      const previous = crypto.sha256(last.at(-1) ?? new Uint8Array(0))
      last = [...last, forge({ number, at: 1, previous, event: 'forged' })]
    }
    assert.equal(verdictOf(new Map([[1, segmentOf(last)]]), image.head), 'unsigned')
  })

  test('a folder put back to an earlier state, unless a head was kept elsewhere', () => {
    const log = new LogInMemory()
    log.step({ kind: 'begin', id: new Uint8Array(16) })
    log.say('early')
    log.step({ kind: 'close' })
    const earlier = log.image
    const tail = {
      number: log.core.number,
      hash: crypto.sha256(log.segments.get(1)?.at(-1) ?? new Uint8Array(0)),
      unsigned: 0,
      segments: [{ first: 1, bytes: log.core.bytes }],
    }
    const again = new LogInMemory()
    for (const [first, payloads] of earlier.segments) again.segments.set(first, [...payloads])
    again.step({ kind: 'resume', tail, tornBytes: 0 })
    again.say('late')
    again.step({ kind: 'close' })
    const { result } = check(filesOf(again.image), again.head)
    assert.ok('summary' in result)
    const expected = result.summary.head
    assert.equal(verdictOf(filesOf(again.image), again.head, { expected }), 'ok')
    assert.equal(verdictOf(filesOf(earlier), earlier.head), 'ok')
    assert.equal(verdictOf(filesOf(earlier), earlier.head, { expected }), 'truncated')
    const wrong = { ...expected, hash: new Uint8Array(32) }
    assert.equal(verdictOf(filesOf(again.image), again.head, { expected: wrong }), 'changed')
  })
})

test('frames are read back as they were written', () => {
  assert.deepEqual(payloadsOf(smallFile), smallPayloads)
  assert.equal(verdictOf(filesOf(small), small.head, { publicKey: own.publicKey }), 'ok')
})
