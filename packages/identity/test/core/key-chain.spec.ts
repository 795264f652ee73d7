import { describe, expect, it } from 'vitest'
import { createNetworkState } from '../../src/core/facts-state.ts'
import type { Signer } from '../../src/core/model.ts'
import type { NetworkState } from '../../src/core/network-state.ts'
import { DocumentError, SignatureError } from '../../src/errors.ts'
import {
  certificateOf,
  crypto,
  DAY,
  NOW,
  sealedCertificate,
  sealedRotation,
  signerOf,
} from '../kit/documents.ts'
import { a, fact, g1, paper, stateOf } from '../kit/paper-state.ts'

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
