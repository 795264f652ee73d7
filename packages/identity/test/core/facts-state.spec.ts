import { describe, expect, it } from 'vitest'
import { FACTS_HELD_MAX } from '../../src/constants.ts'
import { decodeEnvelope } from '../../src/core/envelope.ts'
import {
  bytesOf,
  DAY,
  NOW,
  paperNetwork,
  sealed,
  sealedRotation,
  signerOf,
} from '../kit/documents.ts'
import {
  a,
  added,
  b,
  fact,
  g1,
  isAuthority,
  isSpent,
  paper,
  spent,
  stateOf,
} from '../kit/paper-state.ts'

describe('facts', () => {
  it('count when they come from an authority, whatever is missing before them', () => {
    const state = stateOf(paper)
    const envelope = fact({ issuer: g1, number: 7, statement: spent(1) })
    expect(state.add(envelope, NOW)).toEqual({ verdict: 'added', released: [] })
    expect(isSpent(state, 1)).toBe(true)
    expect(isSpent(state, 2)).toBe(false)
    expect(state.add(envelope, NOW)).toEqual({ verdict: 'known' })
    expect(state.lastNumberOf(g1.publicKey)).toBe(7)
    expect(state.factCount).toBe(1)
  })

  it('are held until their issuer is an authority, and released then', () => {
    const state = stateOf(paper)
    const early = fact({ issuer: b, number: 1, statement: spent(1) })
    expect(state.add(early, NOW)).toEqual({ verdict: 'held' })
    expect(state.add(early, NOW)).toEqual({ verdict: 'held' })
    expect(state.add(added(a, 1, b), NOW)).toEqual({ verdict: 'held' })
    expect(isSpent(state, 1)).toBe(false)
    expect(state.vector()).toEqual(new Map())
    expect(state.add(added(g1, 1, a), NOW)).toEqual({
      verdict: 'added',
      released: [early, added(a, 1, b)],
    })
    expect(isSpent(state, 1)).toBe(true)
    expect([isAuthority(state, a), isAuthority(state, b)]).toEqual([true, true])
  })

  it('are refused with a reason, and change nothing', () => {
    const state = stateOf(paper)
    const other = paperNetwork({ networkSigner: signerOf(99) })
    const good = fact({ issuer: g1, number: 1, statement: spent(1) })
    const flipped = Uint8Array.from(good)
    flipped[good.byteLength - 1] = (flipped[good.byteLength - 1] ?? 0) ^ 1
    const unsigned = sealed('fact', decodeEnvelope(good).body, [a])
    const signed = sealed('certificate', Uint8Array.of(0xa0), [g1])
    const rotationOfAnother = sealedRotation(
      {
        network: other.id,
        number: 1,
        oldKey: g1.publicKey,
        newKey: a.publicKey,
        at: NOW,
        overlapUntil: NOW,
        cause: 'scheduled',
      },
      [g1, a],
    )
    const refusals = [
      [flipped, 'a signature is not valid'],
      [unsigned, 'not signed by its issuer'],
      [good.slice(1), 'envelope: '],
      [signed, 'fact: "network" is missing'],
      [fact({ issuer: g1, number: 1, statement: spent(1) }, other), 'of another network'],
      [
        fact({ issuer: g1, number: 1, statement: spent(1), coSigners: [a] }),
        'signed by others than its issuer',
      ],
      [
        fact({ issuer: g1, number: 1, statement: spent(1), expiresAt: NOW - 121 }),
        'it has expired',
      ],
      [
        fact({
          issuer: g1,
          number: 1,
          statement: { kind: 'key-rotated', rotation: Uint8Array.of(1) },
        }),
        'envelope: ',
      ],
      [
        fact({
          issuer: g1,
          number: 1,
          statement: { kind: 'key-rotated', rotation: rotationOfAnother },
        }),
        'a rotation of another network',
      ],
    ] as const
    for (const [envelope, why] of refusals) {
      const verdict = state.add(envelope, NOW)
      expect(verdict.verdict, why).toBe('refused')
      if (verdict.verdict === 'refused') expect(verdict.why).toContain(why)
    }
    expect([state.factCount, state.heldCount]).toEqual([0, 0])
  })

  it('of strangers are held up to the bound, the newest of them', () => {
    const state = stateOf(paper)
    const envelopes = Array.from({ length: FACTS_HELD_MAX + 1 }, (_, index) =>
      fact({ issuer: a, number: index + 1, statement: spent(index % 256) }),
    )
    for (const envelope of envelopes) expect(state.add(envelope, NOW).verdict).toBe('held')
    expect(state.heldCount).toBe(FACTS_HELD_MAX)
    const verdict = state.add(added(g1, 1, a), NOW)
    expect(verdict.verdict === 'added' && verdict.released).toEqual(envelopes.slice(1))
  })

  it('end when they expire, but for the last number of their issuer', () => {
    const state = stateOf(paper)
    const passing = [1, 2].map((number) =>
      fact({ issuer: g1, number, statement: spent(number), expiresAt: NOW + 10 }),
    )
    for (const envelope of passing) state.add(envelope, NOW)
    state.add(fact({ issuer: g1, number: 3, statement: spent(3) }), NOW + 130)
    expect([1, 2, 3].map((fill) => isSpent(state, fill))).toEqual([true, true, true])
    state.add(fact({ issuer: g1, number: 5, statement: spent(5), expiresAt: NOW + 900 }), NOW + 131)
    expect([1, 2, 3].map((fill) => isSpent(state, fill))).toEqual([false, false, true])
    state.add(fact({ issuer: g1, number: 4, statement: spent(4) }), NOW + 9_000)
    expect([isSpent(state, 5), state.lastNumberOf(g1.publicKey)]).toEqual([true, 5])
  })

  it('are kept as what was signed, though the caller uses its buffer again', () => {
    const state = stateOf(paper)
    const envelope = fact({ issuer: g1, number: 1, statement: spent(1) })
    const copy = Uint8Array.from(envelope)
    state.add(envelope, NOW)
    envelope.fill(0)
    expect(state.facts()).toEqual([copy])
  })
})

describe('the isolation key', () => {
  const rotated = (number: number, fill: number, at: number): Uint8Array =>
    fact({
      issuer: g1,
      number,
      at,
      statement: {
        kind: 'isolation-rotated',
        isolationHash: bytesOf(32, fill),
        overlapUntil: at + DAY,
      },
    })

  it('is the newest, and the one before until the overlap ends', () => {
    const state = stateOf(paper)
    expect(state.isolationHashes(NOW)).toEqual([paper.genesis.isolationHash])
    state.add(rotated(2, 9, NOW + 100), NOW)
    expect(state.isolationHashes(NOW + 100 + DAY)).toEqual([
      bytesOf(32, 9),
      paper.genesis.isolationHash,
    ])
    expect(state.isolationHashes(NOW + 101 + DAY)).toEqual([bytesOf(32, 9)])
    state.add(rotated(1, 8, NOW), NOW)
    expect(state.isolationHashes(NOW)).toEqual([bytesOf(32, 9), bytesOf(32, 8)])
    expect(state.isolationRotatedAt).toBe(NOW + 100)
  })
})

describe('what another member lacks', () => {
  it('is told by vectors with gaps, oldest first, in pieces', () => {
    const one = stateOf(paper)
    const other = stateOf(paper)
    const numbers = [1, 2, 3, 5, 6, 9]
    for (const number of numbers) {
      one.add(fact({ issuer: g1, number, statement: spent(number) }), NOW)
    }
    for (const number of [2, 5]) {
      other.add(fact({ issuer: g1, number, statement: spent(number) }), NOW)
    }
    const hex = Buffer.from(g1.publicKey).toString('hex')
    expect([...one.vector()].slice(0, 3)).toEqual([
      [hex, 3],
      [`${hex}+5`, 6],
      [`${hex}+9`, 9],
    ])
    expect(one.vector().size).toBe(9)
    const [first = new Uint8Array()] = one.facts()
    const pieces: number[] = []
    for (;;) {
      const missing = one.missing(other.vector(), first.byteLength * 2)
      if (missing.length === 0) break
      pieces.push(missing.length)
      for (const envelope of missing) other.add(envelope, NOW)
    }
    expect(pieces).toEqual([2, 2])
    expect(other.vector()).toEqual(one.vector())
  })

  it('does not depend on what a stranger writes into its vector', () => {
    const state = stateOf(paper)
    state.add(fact({ issuer: g1, number: 1, statement: spent(1) }), NOW)
    const hex = Buffer.from(g1.publicKey).toString('hex')
    const nonsense = new Map([
      ['', 5],
      ['+', 1],
      [`${hex}+x`, 9],
      [`${hex}+-1+3`, -9],
      [`${hex}=1`, 3],
      ['__proto__', 1],
    ])
    expect(state.missing(nonsense, 9_999)).toHaveLength(1)
  })
})
