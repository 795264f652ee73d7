import { createSeededRandom } from '@mycelium/simulator'
import { describe, expect, test } from 'vitest'
import { decodeMessage, encodeMessage } from '../../src/core/messages.ts'
import { runPair } from '../kit/handshake-pair.ts'
import type { PairInit } from '../kit/handshake-pair.ts'
import { change, kindsOf, refusal } from '../kit/handshake-words.ts'
import { createTestMember, createTestNetwork, NOW, WEEK_S } from '../kit/network.ts'
import type { TestMember, TestNetwork } from '../kit/network.ts'

const random = createSeededRandom(3, 'handshake')
const network = createTestNetwork(random.fork('network'))
const foreign = createTestNetwork(random.fork('foreign'))

function pairOf(changes: Partial<PairInit> = {}): PairInit {
  const initiator = createTestMember(network)
  const responder = createTestMember(network)
  return { random: random.fork('nonces'), initiator, responder, ...changes }
}

describe('two members', () => {
  test('prove to each other who they are, in 3 round trips', () => {
    const init = pairOf()
    const { initiator, responder, frames } = runPair(init)
    if (initiator === undefined || !('proven' in initiator)) throw new Error('not proven')
    if (responder === undefined || !('proven' in responder)) throw new Error('not proven')
    expect(initiator.proven.publicKey).toEqual(init.responder.signer.publicKey)
    expect(responder.proven.publicKey).toEqual(init.initiator.signer.publicKey)
    expect(initiator.proven.session).toEqual(responder.proven.session)
    expect(initiator.proven.score).toBe(850)
    expect(initiator.proven.isDegraded).toBe(false)
    expect(frames.map(({ from }, index) => `${from}: ${kindsOf(frames)[index]}`)).toEqual([
      'initiator: hello',
      'responder: welcome-hello',
      'initiator: proof',
      'responder: proof',
      'initiator: claim',
      'responder: claim',
      'responder: accept',
      'initiator: accept',
    ])
  })

  test('name each session differently', () => {
    const init = pairOf()
    const sessions = [runPair(init), runPair(init)].map(({ initiator }) =>
      initiator !== undefined && 'proven' in initiator ? initiator.proven.session : undefined,
    )
    expect(sessions[0]).toBeDefined()
    expect(sessions[0]).not.toEqual(sessions[1])
  })

  test('speak the highest version that both know', () => {
    const init = pairOf()
    const { initiator } = runPair({
      ...init,
      initiator: { ...init.initiator, versions: { min: 1, max: 4 } },
      responder: { ...init.responder, versions: { min: 2, max: 3 } },
    })
    expect(initiator).toMatchObject({ proven: { version: 3 } })
  })

  test('meet while one of them knows only the isolation key before the newest', () => {
    const init = pairOf()
    const newest = random.bytes(32)
    const { membership } = init.responder
    if (membership === undefined) throw new Error('a member')
    const rotated = { ...membership, isolationKeys: () => [newest, network.isolationKey] }
    const { initiator, responder } = runPair({
      ...init,
      responder: { ...init.responder, membership: rotated },
    })
    expect(
      [initiator, responder].map((outcome) => outcome !== undefined && 'proven' in outcome),
    ).toEqual([true, true])
  })
})

describe('who is refused', () => {
  test('a node of another network learns `refused` and no more, and so does a stranger', () => {
    const init = pairOf({ initiator: createTestMember(foreign) })
    const { initiator, responder, frames } = runPair(init)
    expect(refusal(responder)).toBe('by self: wrong-network')
    expect(refusal(initiator)).toBe('by peer: wrong-network') // its reading of no reason
    const toStranger = frames.filter(({ from }) => from === 'responder')
    expect(toStranger.map(({ frame }) => decodeMessage(frame))).toEqual([
      { kind: 'welcome-hello', min: 1, max: 1, version: 1, nonce: expect.any(Uint8Array) },
      { kind: 'refused' },
    ])
  })

  test('nobody says to a responder of another network what network this is', () => {
    const { initiator, frames } = runPair(pairOf({ responder: createTestMember(foreign) }))
    expect(refusal(initiator)).toBe('by peer: wrong-network')
    expect(kindsOf(frames)).toEqual(['hello', 'welcome-hello', 'proof', 'refused'])
  })

  test('a responder that lacks the isolation key and says that it has it', () => {
    const init = pairOf()
    const liar = { ...init.responder.membership!, isolationKeys: () => [random.bytes(32)] }
    const { initiator } = runPair({
      ...init,
      responder: { ...init.responder, membership: liar },
      tamper: (frame, from) => {
        const isRefusal = from === 'responder' && decodeMessage(frame)?.kind === 'refused'
        return [isRefusal ? encodeMessage({ kind: 'proof', macs: [random.bytes(32)] }) : frame]
      },
    })
    expect(refusal(initiator)).toBe('by self: wrong-network')
  })

  test('a responder that sends the initiator its own proof back', () => {
    const sent: Uint8Array[] = []
    const init = pairOf({
      responder: { signer: network.newSigner() },
      tamper: (frame, from) => {
        if (from === 'initiator') sent.push(frame)
        const isRefusal = from === 'responder' && decodeMessage(frame)?.kind === 'refused'
        return [isRefusal ? sent[1]! : frame]
      },
    })
    expect(refusal(runPair(init).initiator)).toBe('by self: wrong-network')
  })

  test('a node that is of no network, without its saying so', () => {
    const { initiator, frames } = runPair(pairOf({ responder: { signer: network.newSigner() } }))
    expect(refusal(initiator)).toBe('by peer: wrong-network')
    expect(kindsOf(frames)).toEqual(['hello', 'welcome-hello', 'proof', 'refused'])
  })

  const certificates: readonly (readonly [string, () => PairInit['initiator'], string])[] = [
    [
      'an expired certificate',
      () => createTestMember(network, { notBefore: NOW - WEEK_S, notAfter: NOW - 121 }),
      'certificate-expired',
    ],
    [
      'a certificate of tomorrow',
      () => createTestMember(network, { notBefore: NOW + 121, notAfter: NOW + WEEK_S }),
      'certificate-not-yet-valid',
    ],
    ['no certificate', () => withCertificate(new Uint8Array(0)), 'certificate-missing'],
    [
      'the certificate of another node',
      () => withCertificate(network.certify(network.newSigner().publicKey)),
      'certificate-of-another',
    ],
    [
      'a certificate that nobody in authority signed',
      () => {
        const signer = network.newSigner()
        return withCertificate(
          foreign.certify(signer.publicKey, { network: network.network }),
          signer,
        )
      },
      'certificate-invalid',
    ],
    [
      'a certificate of another network, with this isolation key',
      () => {
        const signer = network.newSigner()
        return withCertificate(foreign.certify(signer.publicKey), signer)
      },
      'wrong-network',
    ],
  ]

  function withCertificate(
    certificate: Uint8Array,
    signer = network.newSigner(),
  ): PairInit['initiator'] {
    const member = createTestMember(network, {}, signer)
    return { ...member, membership: { ...member.membership, certificate } }
  }

  test.each(certificates)('%s, by name, as initiator', (_, member, reason) => {
    const { initiator, responder } = runPair(pairOf({ initiator: member() }))
    expect(refusal(responder)).toBe(`by self: ${reason}`)
    expect(refusal(initiator)).toBe(`by peer: ${reason}`)
  })

  test.each(certificates)('%s, by name, as responder', (_, member, reason) => {
    const { initiator, responder } = runPair(pairOf({ responder: member() }))
    expect(refusal(initiator)).toBe(`by self: ${reason}`)
    expect(refusal(responder)).toBe(`by peer: ${reason}`)
  })

  test('a stolen certificate without its key', () => {
    const victim = createTestMember(network)
    const thief = network.newSigner()
    // Over an encryption that proves nothing: it says that the thief is the victim.
    const stolen = {
      ...victim,
      signer: { ...thief, publicKey: victim.signer.publicKey, sign: thief.sign.bind(thief) },
    }
    expect(refusal(runPair(pairOf({ initiator: stolen })).responder)).toBe('by self: no-possession')
    expect(refusal(runPair(pairOf({ responder: stolen })).initiator)).toBe('by self: no-possession')
    // Over one that proves the key of the thief.
    const honest = { ...victim, signer: thief }
    expect(refusal(runPair(pairOf({ initiator: honest })).responder)).toBe(
      'by self: certificate-of-another',
    )
  })

  test('a revoked certificate, and a revoked node with any certificate', () => {
    const ours = createTestNetwork(random.fork('revoking'))
    const serial = random.bytes(16)
    const node = createTestMember(ours)
    const holder = createTestMember(ours, { serial })
    ours.issueFact({ kind: 'certificate-revoked', serial, reason: 'removed' })
    ours.issueFact({ kind: 'node-revoked', node: node.signer.publicKey, reason: 'compromised' })
    const responder = createTestMember(ours)
    for (const initiator of [node, holder]) {
      const result = runPair(pairOf({ initiator, responder }))
      expect(refusal(result.responder)).toBe('by self: revoked')
      expect(refusal(result.initiator)).toBe('by peer: revoked')
    }
  })

  test('a node whose behaviour was bad, by who knows it', () => {
    const withHistory = (history: number): PairInit => {
      const init = pairOf()
      const trust = { historyOf: () => history, consensusOf: () => undefined }
      return { ...init, responder: { ...init.responder, trust } }
    }
    const { initiator, responder } = runPair(withHistory(0))
    expect(refusal(responder)).toBe('by self: distrusted')
    expect(refusal(initiator)).toBe('by peer: distrusted')
    expect(runPair(withHistory(1)).responder).toMatchObject({ proven: { score: 775 } })
  })
})

describe('networks that differ only a little', () => {
  test('by another genesis under the same keys', () => {
    const seeds = (): TestNetwork[] =>
      ['a', 'b'].map((name) => createTestNetwork(createSeededRandom(8, 'twins'), { name }))
    const [one, other] = seeds()
    expect(one!.network).toBe(other!.network)
    const { responder } = runPair(
      pairOf({ initiator: createTestMember(one!), responder: createTestMember(other!) }),
    )
    expect(refusal(responder)).toBe('by self: wrong-network')
  })

  test('by another rotation of the network key; who knows fewer is let in', () => {
    const twins = [1, 2, 3].map(() => createTestNetwork(createSeededRandom(9, 'twins')))
    const [one, other, behind] = twins.map((twin, index) => {
      if (index < 2) twin.rotate()
      return createTestMember(twin)
    })
    const pair = (initiator: TestMember, responder: TestMember): string =>
      refusal(runPair(pairOf({ initiator, responder })).responder)
    // Each took the next random key of its own.
    expect(one!.membership.state.rotations).toHaveLength(1)
    expect(pair(one!, one!)).toBe('not refused')
    expect(pair(one!, other!)).toBe('by self: stale-key-chain')
    expect(pair(behind!, one!)).toBe('not refused')
    expect(pair(one!, behind!)).toBe('not refused')
  })
})

describe('clocks', () => {
  test('that differ by 120 s at either end do no harm, and by 121 s do', () => {
    const ends = NOW + 1000
    const begins = NOW - 1000
    const member = createTestMember(network, { notBefore: begins, notAfter: ends })
    const at = (skewS: number): string => {
      const responder = { ...createTestMember(network), skewS }
      const outcome = runPair(pairOf({ initiator: member, responder })).responder
      return refusal(outcome)
    }
    expect(at(1000 + 120)).toBe('not refused')
    expect(at(1000 + 121)).toBe('by self: certificate-expired')
    expect(at(-1000 - 120)).toBe('not refused')
    expect(at(-1000 - 121)).toBe('by self: certificate-not-yet-valid')
  })
})

describe('versions', () => {
  test('that do not meet are refused by name, without a hang', () => {
    const init = pairOf()
    const { initiator, responder, frames } = runPair({
      ...init,
      initiator: { ...init.initiator, versions: { min: 1, max: 1 } },
      responder: { ...init.responder, versions: { min: 2, max: 3 } },
    })
    expect(refusal(responder)).toBe('by self: incompatible')
    expect(refusal(initiator)).toBe('by peer: incompatible')
    expect(kindsOf(frames)).toEqual(['hello', 'refused'])
  })

  const downgrades: readonly (readonly [string, NonNullable<PairInit['tamper']>, string])[] = [
    ['the initiator speaks', change('hello', (hello) => ({ ...hello, max: 1 })), 'incompatible'],
    [
      'the responder chose',
      change('welcome-hello', (hello) => ({ ...hello, version: 1 })),
      'incompatible',
    ],
    [
      'the responder speaks, and its choice',
      change('welcome-hello', (hello) => ({ ...hello, version: 1, max: 1 })),
      // It looks right to the initiator: the proofs show that both saw different hellos.
      'wrong-network',
    ],
  ]
  test.each(downgrades)('lowered on the way (what %s) are found', (_, tamper, reason) => {
    const init = pairOf({ tamper })
    const { initiator, responder } = runPair({
      ...init,
      initiator: { ...init.initiator, versions: { min: 1, max: 2 } },
      responder: { ...init.responder, versions: { min: 1, max: 2 } },
    })
    for (const outcome of [initiator, responder]) {
      expect(outcome).toBeDefined()
      expect(outcome).not.toHaveProperty('proven')
    }
    expect([refusal(initiator), refusal(responder)].join()).toContain(reason)
  })
})
