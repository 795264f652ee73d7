import { createSeededRandom } from '@mycelium/simulator'
import { describe, expect, test } from 'vitest'
import { foundationOf, foundationsFor } from '../../src/core/foundations.ts'
import type { Signer } from '../../src/core/model.ts'
import { runPair } from '../kit/handshake-pair.ts'
import type { PairInit } from '../kit/handshake-pair.ts'
import { createTestMember, createTestNetwork } from '../kit/network.ts'
import type { TestMember } from '../kit/network.ts'

const random = createSeededRandom(6, 'foundations')

/** The genesis node made b an authority, b made c one; c certified a member. */
function chained(): {
  away: TestMember
  member: TestMember
  facts: readonly Uint8Array[]
  c: Signer
} {
  const network = createTestNetwork(random)
  const [b, c] = [network.newSigner(), network.newSigner()]
  const away = createTestMember(network)
  network.issueFact({ kind: 'node-revoked', node: random.bytes(32), reason: 'removed' })
  network.issueFact({ kind: 'authority-added', node: b.publicKey })
  network.issueFact({ kind: 'authority-added', node: c.publicKey }, { by: b })
  network.issueFact({ kind: 'authority-added', node: network.newSigner().publicKey })
  const signer = network.newSigner()
  const certificate = network.certify(signer.publicKey, {}, c)
  const all = network.facts.map(foundationOf).filter((one) => one !== undefined)
  const member = createTestMember(network, {}, signer)
  return {
    away,
    c,
    facts: network.facts,
    member: {
      signer,
      membership: {
        ...member.membership,
        certificate,
        foundations: () => foundationsFor(certificate, all),
      },
    },
  }
}

describe('a member that was away while the authorities changed', () => {
  test('is brought what a certificate stands on, and no more, in an order that counts', () => {
    const { member, facts } = chained()
    expect(member.membership.foundations()).toEqual([facts[1], facts[2]])
  })

  test('accepts who was certified by an authority that it had not heard of', () => {
    for (const role of ['initiator', 'responder'] as const) {
      const { away, member, facts, c } = chained()
      const pair: PairInit =
        role === 'initiator'
          ? { random, initiator: away, responder: member }
          : { random, initiator: member, responder: away }
      const result = runPair(pair)
      expect(result[role]).toMatchObject({ proven: { publicKey: member.signer.publicKey } })
      expect(result.learned).toEqual([facts[1], facts[2]])
      expect(away.membership.state.authorities).toContainEqual(c.publicKey)
    }
  })

  test('would refuse it without them', () => {
    const { away, member } = chained()
    const silent = { ...member, membership: { ...member.membership, foundations: () => [] } }
    const { responder } = runPair({ random, initiator: silent, responder: away })
    expect(responder).toEqual({ refused: 'certificate-invalid', isByPeer: false })
  })

  test('is not overwhelmed: too many facts are no handshake', () => {
    const { away, member } = chained()
    const some = Array.from({ length: 65 }, () => random.bytes(300))
    const flooding = { ...member, membership: { ...member.membership, foundations: () => some } }
    const { responder } = runPair({ random, initiator: flooding, responder: away })
    expect(responder).toEqual({ refused: 'malformed', isByPeer: false })
  })
})
