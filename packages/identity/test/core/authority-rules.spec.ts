import { describe, expect, it } from 'vitest'
import type { Signer, Statement } from '../../src/core/model.ts'
import { bytesOf, DAY, NOW } from '../kit/documents.ts'
import {
  a,
  added,
  b,
  c,
  fact,
  g1,
  g2,
  isAuthority,
  isSpent,
  pair,
  paper,
  removal,
  spent,
  stateOf,
} from '../kit/paper-state.ts'

describe('authorities', () => {
  it('are the genesis nodes at first', () => {
    expect(stateOf(paper).authorities).toEqual([g1.publicKey])
    expect(stateOf(pair).authorities).toEqual(pair.genesis.genesisNodes)
  })

  it('need as many signatures as the network says, of authorities alone', () => {
    const statement: Statement = { kind: 'authority-added', node: a.publicKey }
    const alone = fact({ issuer: g1, number: 1, statement }, pair)
    const padded = fact({ issuer: g1, number: 1, statement, coSigners: [b, c] }, pair)
    const enough = fact({ issuer: g1, number: 1, statement, coSigners: [g2] }, pair)
    const state = stateOf(pair)
    expect(state.add(alone, NOW).verdict).toBe('held')
    expect(state.add(padded, NOW).verdict).toBe('held')
    expect(isAuthority(state, a)).toBe(false)
    expect(state.add(enough, NOW).verdict).toBe('added')
    expect(isAuthority(state, a)).toBe(true)
  })

  it('that are removed issue no more, but what they issued before stays', () => {
    const state = stateOf(paper, { facts: [added(g1, 1, a), added(g1, 2, b)] })
    const before = fact({ issuer: a, number: 1, statement: spent(1) })
    const after = fact({ issuer: a, number: 2, statement: spent(2) })
    state.add(before, NOW)
    state.add(after, NOW)
    expect([isSpent(state, 1), isSpent(state, 2)]).toEqual([true, true])
    state.add(fact({ issuer: b, number: 1, statement: removal(a, 1) }), NOW)
    expect([isSpent(state, 1), isSpent(state, 2)]).toEqual([true, false])
    expect([isAuthority(state, a), isAuthority(state, b)]).toEqual([false, true])
    expect(state.facts()).not.toContainEqual(after)
    expect(state.add(added(g1, 3, a), NOW).verdict).toBe('added')
    expect(isAuthority(state, a), 'a removed one never comes back').toBe(false)
  })

  it('that a removed one added after its last number are none', () => {
    const facts = [added(g1, 1, a), added(a, 2, b), added(b, 1, c)]
    const state = stateOf(paper, { facts })
    expect(isAuthority(state, c)).toBe(true)
    state.add(fact({ issuer: g1, number: 2, statement: removal(a, 1) }), NOW)
    expect([a, b, c].map((one) => isAuthority(state, one))).toEqual([false, false, false])
  })

  it('go on without the genesis node', () => {
    const state = stateOf(paper, { facts: [added(g1, 1, a)] })
    const verdict = state.add(fact({ issuer: a, number: 1, statement: removal(g1, 1) }), NOW)
    expect(verdict.verdict).toBe('added')
    expect(state.authorities).toEqual([a.publicKey])
    expect(state.add(added(a, 2, b), NOW).verdict).toBe('added')
    expect(isAuthority(state, b)).toBe(true)
  })

  it('can leave by themselves', () => {
    const state = stateOf(paper, { facts: [added(g1, 1, a)] })
    state.add(fact({ issuer: a, number: 1, statement: removal(a, 1) }), NOW)
    expect(isAuthority(state, a)).toBe(false)
  })

  it('cannot take away what makes them one', () => {
    const state = stateOf(paper, { facts: [added(g1, 1, a)] })
    const absurd = [
      fact({ issuer: a, number: 1, statement: removal(g1, 0) }),
      fact({ issuer: a, number: 2, statement: removal(a, 1) }),
    ]
    for (const envelope of absurd) expect(state.add(envelope, NOW).verdict).toBe('held')
    expect(state.authorities).toHaveLength(2)
  })

  it('that remove each other: the senior one stays', () => {
    const facts = [added(g1, 1, a)]
    const mutual = [
      fact({ issuer: g1, number: 2, statement: removal(a, 0) }),
      fact({ issuer: a, number: 1, statement: removal(g1, 1) }),
    ]
    for (const order of [mutual, mutual.toReversed()]) {
      const state = stateOf(paper, { facts })
      for (const envelope of order) state.add(envelope, NOW)
      expect(state.authorities).toEqual([g1.publicKey])
    }
  })

  it('that a thief adds after the removal became known do not count, though dated before', () => {
    const state = stateOf(paper, { facts: [added(g1, 1, a)] })
    state.add(fact({ issuer: g1, number: 2, statement: removal(a, 0) }), NOW + 100)
    const forged = fact({
      issuer: a,
      number: 1,
      at: NOW,
      statement: { kind: 'authority-added', node: b.publicKey },
    })
    expect(state.add(forged, NOW + 200).verdict).toBe('held')
    expect(isAuthority(state, b)).toBe(false)
  })

  it('removed by number count no more as co-signers of what is dated later', () => {
    const add = (at: number, node: Signer, number: number): Uint8Array =>
      fact(
        {
          issuer: g1,
          number,
          at,
          statement: { kind: 'authority-added', node: node.publicKey },
          coSigners: [g2],
        },
        pair,
      )
    const remove = fact(
      { issuer: g1, number: 3, at: NOW + 50, statement: removal(g2, 0), coSigners: [a] },
      pair,
    )
    const state = stateOf(pair, { facts: [add(NOW, a, 1), add(NOW + 50, b, 2), remove] })
    expect(isAuthority(state, g2)).toBe(false)
    expect([isAuthority(state, a), isAuthority(state, b)]).toEqual([true, true])
    expect(state.add(add(NOW + 51, c, 4), NOW + 60).verdict).toBe('held')
  })
})

describe('an issuer that says two things under one number', () => {
  it('gets what restricts counted, and nothing that permits', () => {
    const one = added(g1, 1, a)
    const other = fact({ issuer: g1, number: 1, statement: { ...removal(b, 0) } })
    const state = stateOf(paper, { facts: [added(g1, 2, b)] })
    state.add(one, NOW)
    expect(isAuthority(state, a)).toBe(true)
    expect(state.add(other, NOW).verdict).toBe('added')
    expect([isAuthority(state, a), isAuthority(state, b)]).toEqual([false, false])
    expect(state.facts()).toEqual(expect.arrayContaining([one, other]))
  })

  it('rotates no isolation key with either', () => {
    const rotated = (fill: number): Uint8Array =>
      fact({
        issuer: g1,
        number: 1,
        statement: {
          kind: 'isolation-rotated',
          isolationHash: bytesOf(32, fill),
          overlapUntil: NOW + DAY,
        },
      })
    const state = stateOf(paper)
    state.add(rotated(8), NOW)
    expect(state.isolationHashes(NOW)[0]).toEqual(bytesOf(32, 8))
    state.add(rotated(9), NOW)
    expect(state.isolationHashes(NOW)).toEqual([paper.genesis.isolationHash])
  })

  it('is found out by members that each heard one of them', () => {
    const [one, other] = [stateOf(paper), stateOf(paper)]
    one.add(fact({ issuer: g1, number: 1, statement: spent(1) }), NOW)
    other.add(fact({ issuer: g1, number: 1, statement: spent(2) }), NOW)
    for (const envelope of one.missing(other.vector(), 99_999)) other.add(envelope, NOW)
    for (const envelope of other.missing(one.vector(), 99_999)) one.add(envelope, NOW)
    for (const state of [one, other]) {
      expect([isSpent(state, 1), isSpent(state, 2)]).toEqual([true, true])
    }
    expect(other.vector()).toEqual(one.vector())
    expect(one.missing(other.vector(), 99_999)).toEqual([])
  })
})
