import { describe, expect, it } from 'vitest'
import { FACTS_HELD_MAX } from '../../src/constants.ts'
import { createNetworkState } from '../../src/core/facts-state.ts'
import type { Signer, Statement } from '../../src/core/model.ts'
import type { NetworkState, NetworkStateInit } from '../../src/core/network-state.ts'
import { DocumentError, SignatureError } from '../../src/errors.ts'
import {
  bytesOf,
  certificateOf,
  crypto,
  DAY,
  NOW,
  paperNetwork,
  sealed,
  sealedCertificate,
  sealedFact,
  sealedRotation,
  signerOf,
  type FactInit,
  type PaperNetwork,
} from '../kit/documents.ts'

const [g1, g2, a, b, c] = [1, 2, 3, 4, 5].map(signerOf) as [Signer, Signer, Signer, Signer, Signer]
const paper = paperNetwork({ nodes: [g1] })
const pair = paperNetwork({ nodes: [g1, g2], threshold: 2 })

const stateOf = (network: PaperNetwork, init: Partial<NetworkStateInit> = {}): NetworkState =>
  createNetworkState({ crypto }, { genesis: network.envelope, ...init })
const fact = (init: FactInit, network: PaperNetwork = paper): Uint8Array =>
  sealedFact(network.id, init)
const added = (issuer: Signer, number: number, node: Signer): Uint8Array =>
  fact({ issuer, number, statement: { kind: 'authority-added', node: node.publicKey } })
const removal = (node: Signer, lastNumber: number): Statement => ({
  kind: 'authority-removed',
  node: node.publicKey,
  lastNumber,
})
const spent = (fill: number): Statement => ({ kind: 'token-revoked', tokenId: bytesOf(16, fill) })
const isSpent = (state: NetworkState, fill: number): boolean =>
  state.isTokenSpent(bytesOf(16, fill))
const isAuthority = (state: NetworkState, { publicKey }: Signer): boolean =>
  state.authorities.some((key) => Buffer.from(key).equals(publicKey))

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

describe('certificates', () => {
  const subject = a.publicKey
  const check = (
    state: NetworkState,
    envelope: Uint8Array,
    now: number = NOW,
    who: Uint8Array = subject,
  ): string => {
    const verdict = state.checkCertificate(envelope, who, now)
    return 'refused' in verdict ? verdict.refused : 'member'
  }
  const certificate = certificateOf(paper.id, subject)
  const envelope = sealedCertificate(certificate, [g1])
  const revoked = (statement: Statement): Uint8Array => fact({ issuer: g1, number: 9, statement })

  it('hold if signed by an authority', () => {
    const verdict = stateOf(paper).checkCertificate(envelope, subject, NOW)
    expect(verdict).toEqual({ certificate })
  })

  it('are refused by the first thing that is wrong with them', () => {
    const state = stateOf(paper)
    const other = certificateOf(pair.id, subject)
    const foreign = paperNetwork({ networkSigner: signerOf(77) })
    const broken = Uint8Array.from(envelope)
    broken[broken.byteLength - 1] = (broken[broken.byteLength - 1] ?? 0) ^ 1
    expect(check(state, broken)).toBe('certificate-invalid')
    expect(check(state, envelope.slice(1))).toBe('certificate-invalid')
    expect(check(state, sealedCertificate(certificate, [b]))).toBe('certificate-invalid')
    expect(check(stateOf(foreign), sealedCertificate(other, [g1]))).toBe('wrong-network')
    expect(check(state, envelope, NOW, b.publicKey)).toBe('certificate-of-another')
    const sealedFactAsCertificate = fact({ issuer: g1, number: 1, statement: spent(1) })
    expect(check(state, sealedFactAsCertificate)).toBe('certificate-invalid')
  })

  it('count from notBefore to notAfter, with 120 s at both ends', () => {
    const state = stateOf(paper)
    expect(check(state, envelope, NOW - 121)).toBe('certificate-not-yet-valid')
    expect(check(state, envelope, NOW - 120)).toBe('member')
    expect(check(state, envelope, NOW + 7 * DAY + 120)).toBe('member')
    expect(check(state, envelope, NOW + 7 * DAY + 121)).toBe('certificate-expired')
  })

  it.each([
    { kind: 'certificate-revoked', serial: certificate.serial, reason: 'removed' },
    { kind: 'node-revoked', node: subject, reason: 'left' },
  ] satisfies readonly Statement[])('are revoked by $kind', (statement) => {
    const state = stateOf(paper)
    state.add(revoked(statement), NOW)
    expect(check(state, envelope)).toBe('revoked')
    const next = sealedCertificate({ ...certificate, serial: bytesOf(16, 6) }, [g1])
    expect(check(state, next)).toBe(statement.kind === 'node-revoked' ? 'revoked' : 'member')
  })

  it('need the threshold, of different authorities', () => {
    const state = stateOf(pair)
    const two = certificateOf(pair.id, subject)
    expect(check(state, sealedCertificate(two, [g1]))).toBe('certificate-invalid')
    expect(check(state, sealedCertificate(two, [g1, b]))).toBe('certificate-invalid')
    expect(check(state, sealedCertificate(two, [g1, g2]))).toBe('member')
    expect(check(state, sealedCertificate(two, [g1, g2, b]))).toBe('member')
  })

  it('outlive the removal of who signed them, unless it is compromised', () => {
    const facts = [added(g1, 1, b)]
    const ofB = sealedCertificate(certificate, [b])
    const remove = fact({ issuer: g1, number: 2, at: NOW + 10, statement: removal(b, 0) })
    const state = stateOf(paper, { facts })
    expect(check(state, ofB)).toBe('member')
    state.add(remove, NOW + 10)
    expect(check(state, ofB)).toBe('member')
    const later = { ...certificate, notBefore: NOW + 11 }
    expect(check(state, sealedCertificate(later, [b]))).toBe('certificate-invalid')
    expect(check(state, sealedCertificate(later, [g1]))).toBe('member')
    state.add(revoked({ kind: 'node-revoked', node: b.publicKey, reason: 'compromised' }), NOW + 20)
    expect(check(state, ofB)).toBe('certificate-invalid')
  })
})

describe('the network key', () => {
  const next = [51, 52, 53].map(signerOf) as [Signer, Signer, Signer]
  const rotation = (
    number: number,
    oldKey: Signer,
    newKey: Signer,
    { cause = 'scheduled', by = [] }: { cause?: 'scheduled' | 'emergency'; by?: Signer[] } = {},
  ): Uint8Array =>
    sealedRotation(
      {
        network: paper.id,
        number,
        oldKey: oldKey.publicKey,
        newKey: newKey.publicKey,
        at: NOW,
        overlapUntil: NOW + DAY,
        cause,
      },
      cause === 'scheduled' && by.length === 0 ? [oldKey, newKey] : [newKey, ...by],
    )
  const told = (number: number, envelope: Uint8Array): Uint8Array =>
    fact({ issuer: g1, number, statement: { kind: 'key-rotated', rotation: envelope } })
  const chain = [rotation(1, paper.networkSigner, next[0]), rotation(2, next[0], next[1])] as const
  const keysOf = (state: NetworkState): readonly Uint8Array[] =>
    state.rotations.map(({ newKey }) => newKey)

  it('changes by a chain, from facts or from the start, in any order', () => {
    const keys = [next[0].publicKey, next[1].publicKey]
    expect(keysOf(stateOf(paper, { rotations: chain }))).toEqual(keys)
    expect(keysOf(stateOf(paper, { rotations: chain.toReversed() }))).toEqual(keys)
    const state = stateOf(paper)
    state.add(told(2, chain[1]), NOW)
    expect(keysOf(state)).toEqual([])
    state.add(told(1, chain[0]), NOW)
    expect(keysOf(state)).toEqual(keys)
    expect(state.networkKeys(NOW + DAY)).toEqual(keys.toReversed())
    expect(state.networkKeys(NOW + DAY + 1)).toEqual([next[1].publicKey])
    expect(stateOf(paper).networkKeys(NOW)).toEqual([paper.genesis.networkKey])
  })

  it('does not change without the signatures of both keys', () => {
    const forged = [
      rotation(1, paper.networkSigner, next[0], { by: [next[1]] }),
      rotation(1, next[1], next[0]),
      rotation(2, paper.networkSigner, next[0]),
      rotation(1, paper.networkSigner, next[0], { cause: 'emergency', by: [a] }),
      rotation(1, paper.networkSigner, next[0], { cause: 'emergency' }),
    ]
    for (const envelope of forged)
      expect(keysOf(stateOf(paper, { rotations: [envelope] }))).toEqual([])
  })

  it('changes in an emergency by authorities, over what a thief of the old key signs', () => {
    const emergency = rotation(1, paper.networkSigner, next[2], { cause: 'emergency', by: [g1] })
    const state = stateOf(paper, { rotations: [...chain] })
    state.add(told(1, emergency), NOW)
    expect(keysOf(state)).toEqual([next[2].publicKey])
    const certificate = certificateOf(paper.id, a.publicKey)
    const old = sealedCertificate(certificate, [g1])
    const fresh = sealedCertificate({ ...certificate, epoch: 1 }, [g1])
    const unknown = sealedCertificate({ ...certificate, epoch: 2 }, [g1])
    const after = NOW + DAY + 1
    expect(state.checkCertificate(old, a.publicKey, NOW + DAY)).toHaveProperty('certificate')
    expect(state.checkCertificate(old, a.publicKey, after)).toEqual({ refused: 'stale-key-chain' })
    expect(state.checkCertificate(fresh, a.publicKey, after)).toHaveProperty('certificate')
    expect(state.checkCertificate(unknown, a.publicKey, NOW)).toEqual({
      refused: 'stale-key-chain',
    })
  })

  it('never goes back to one that was given up', () => {
    const back = [
      rotation(1, paper.networkSigner, next[0]),
      rotation(2, next[0], paper.networkSigner),
    ]
    expect(keysOf(stateOf(paper, { rotations: back }))).toEqual([next[0].publicKey])
  })

  it('is not given rotations that cannot be read', () => {
    const init = { rotations: [Uint8Array.of(1)] }
    expect(() => stateOf(paper, init)).toThrow(SignatureError)
    expect(() => createNetworkState({ crypto }, { genesis: Uint8Array.of(1) })).toThrow(
      DocumentError,
    )
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
    expect(one.vector().size).toBe(5)
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
