import { createSeededRandom } from '@mycelium/simulator'
import { describe, expect, test } from 'vitest'
import type { KeptToken } from '../../src/core/handshake.ts'
import { nodeIdOf } from '../../src/core/ids.ts'
import { decodeMessage, encodeMessage } from '../../src/core/messages.ts'
import type { JoinToken, RefusalReason, Signer } from '../../src/core/model.ts'
import { tokenKeyOf } from '../../src/core/token.ts'
import { encodeWelcome } from '../../src/core/welcome.ts'
import type { Welcome } from '../../src/core/welcome.ts'
import { runPair } from '../kit/handshake-pair.ts'
import type { Outcome, PairInit, PairResult } from '../kit/handshake-pair.ts'
import { createTestMember, createTestNetwork, crypto, NOW } from '../kit/network.ts'
import type { TestMember, TestNetwork } from '../kit/network.ts'

const random = createSeededRandom(4, 'join')
const network = createTestNetwork(random.fork('network'))
const foreign = createTestNetwork(random.fork('foreign'))
const issuer = createTestMember(network)

interface Join {
  readonly joiner: Signer
  readonly token: JoinToken
  readonly init: PairInit
}

function joinOf(
  changes: { kept?: Partial<KeptToken>; token?: Partial<JoinToken> } & Partial<PairInit> = {},
  joiner = network.newSigner(),
): Join {
  const secret = random.bytes(32)
  const token: JoinToken = {
    network: network.network,
    tokenId: random.bytes(16),
    secret,
    expiresAt: NOW + 3600,
    issuers: [{ node: nodeIdOf(issuer.signer.publicKey), addresses: [] }],
    ...changes.token,
  }
  const kept: KeptToken = {
    key: tokenKeyOf(crypto, secret),
    expiresAt: NOW + 3600,
    ...changes.kept,
  }
  const init: PairInit = {
    random,
    initiator: { signer: joiner, token },
    responder: {
      ...issuer,
      tokenOf: (id) => (crypto.equal(id, token.tokenId) ? kept : undefined),
      admit: () => welcomeOf(network, issuer, joiner),
    },
    ...changes,
  }
  return { joiner, token, init }
}

function welcomeOf(of: TestNetwork, by: TestMember, joiner: Signer): Welcome {
  return {
    certificate: of.certify(joiner.publicKey),
    network: {
      genesis: of.genesis,
      isolationKeys: [of.isolationKey],
      facts: of.facts,
      issuerCertificate: by.membership.certificate,
      peers: [{ node: nodeIdOf(by.signer.publicKey), addresses: ['/ip4/192.0.2.1/tcp/4001'] }],
    },
  }
}

const reasonOf = (outcome: Outcome): RefusalReason | undefined =>
  outcome !== undefined && 'refused' in outcome ? outcome.refused : undefined

const said = ({ frames }: PairResult, from: 'initiator' | 'responder'): readonly string[] =>
  frames
    .filter((one) => one.from === from)
    .map(({ frame }) => {
      const message = decodeMessage(frame)
      return message?.kind === 'refused' ? `refused ${message.reason ?? ''}`.trim() : message!.kind
    })

describe('a node with a token', () => {
  test('becomes a member: what it got is stored before it says so', () => {
    const { init, joiner } = joinOf()
    const result = runPair(init)
    expect(result.initiator).toMatchObject({
      proven: { publicKey: issuer.signer.publicKey, mode: 'join' },
    })
    expect(result.responder).toMatchObject({
      proven: { publicKey: joiner.publicKey, mode: 'join' },
    })
    expect(result.stored[0]?.network?.isolationKeys).toEqual([network.isolationKey])
    const { order } = result
    // The proof that names nothing goes first; the welcome only after the use was made durable.
    expect(order).toEqual([
      'initiator send', // hello
      'responder send', // hello
      'initiator send', // proof
      'responder send', // proof
      'responder admit',
      'responder send', // welcome
      'initiator store',
      'initiator send', // accept
      'initiator proven',
      'responder proven',
    ])
  })

  test('may come again with it if its connection ended before the welcome', () => {
    const joiner = network.newSigner()
    const { init } = joinOf({ kept: { usedBy: joiner.publicKey } }, joiner)
    expect(runPair(init).initiator).toHaveProperty('proven')
  })

  test('gets a welcome of many frames whole, and none of one part changed', () => {
    const { init, joiner } = joinOf()
    const welcome = welcomeOf(network, issuer, joiner)
    const peers = Array.from({ length: 32 }, () => ({
      node: nodeIdOf(network.newSigner().publicKey),
      addresses: Array.from({ length: 16 }, (_, index) => `/dns4/${'x'.repeat(200)}/tcp/${index}`),
    }))
    const big = { ...welcome, network: { ...welcome.network!, peers } }
    expect(encodeWelcome(big).length).toBeGreaterThan(5)
    const admitting = { ...init, responder: { ...init.responder, admit: () => big } }
    expect(runPair(admitting).stored[0]?.network?.peers).toEqual(peers)
    const twice = runPair({
      ...admitting,
      tamper: (frame) => {
        const message = decodeMessage(frame)
        return message?.kind === 'welcome' && message.index === 2 ? [frame, frame] : [frame]
      },
    })
    expect(reasonOf(twice.initiator)).toBe('malformed')
  })
})

describe('a token', () => {
  const refused: readonly (readonly [string, Join, RefusalReason])[] = [
    ['that was used by another', joinOf({ kept: { usedBy: random.bytes(32) } }), 'token-used'],
    ['that has expired', joinOf({ kept: { expiresAt: NOW } }), 'token-expired'],
    ['that was revoked', joinOf({ kept: { isRevoked: true } }), 'token-unknown'],
  ]
  test.each(refused)('%s: its holder learns why', (_, { init }, reason) => {
    const result = runPair(init)
    expect(reasonOf(result.responder)).toBe(reason)
    expect(result.initiator).toEqual({ refused: reason, isByPeer: true })
    expect(result.order).not.toContain('responder admit')
  })

  test('unknown, used or expired looks the same to who lacks its secret', () => {
    const guesses = [{}, { usedBy: random.bytes(32) }, { expiresAt: NOW }, { isRevoked: true }]
    const answers = guesses.map((kept) => {
      const { init, token } = joinOf({ kept })
      const guess = { ...token, secret: random.bytes(32) }
      const result = runPair({ ...init, initiator: { ...init.initiator, token: guess } })
      expect(reasonOf(result.responder)).toBe('token-proof')
      return said(result, 'responder')
    })
    const { init, token } = joinOf()
    const unknown = runPair({
      ...init,
      initiator: { ...init.initiator, token: { ...token, tokenId: random.bytes(16) } },
    })
    expect(reasonOf(unknown.responder)).toBe('token-unknown')
    for (const answer of [...answers, said(unknown, 'responder')]) {
      expect(answer).toEqual(['welcome-hello', 'refused'])
    }
  })

  test('of another network proves nothing here, even with the right secret', () => {
    const { init, token } = joinOf()
    const moved = { ...token, network: foreign.network }
    const result = runPair({ ...init, initiator: { ...init.initiator, token: moved } })
    expect(reasonOf(result.responder)).toBe('token-proof')
    expect(said(result, 'responder')).toEqual(['welcome-hello', 'refused'])
  })

  test('is of no use to somebody in the middle of the connection', () => {
    const middle = network.newSigner().publicKey
    const { init } = joinOf()
    const result = runPair({
      ...init,
      initiator: { ...init.initiator, sees: middle },
      responder: { ...init.responder, sees: middle },
    })
    expect(reasonOf(result.responder)).toBe('token-proof')
  })

  test('is not given up to a node that says it is the issuer', () => {
    const { init } = joinOf()
    const impostor = { ...init.responder, tokenOf: () => undefined }
    const result = runPair({
      ...init,
      responder: impostor,
      tamper: (frame, from) => {
        const isRefusal = from === 'responder' && decodeMessage(frame)?.kind === 'refused'
        return [isRefusal ? encodeMessage({ kind: 'proof', macs: [random.bytes(32)] }) : frame]
      },
    })
    expect(reasonOf(result.initiator)).toBe('token-proof')
    expect(result.stored).toEqual([])
  })
})

describe('a welcome', () => {
  const other = createTestMember(foreign)
  const bad: readonly (readonly [string, (joiner: Signer) => Welcome, RefusalReason])[] = [
    ['into another network', (joiner) => welcomeOf(foreign, other, joiner), 'wrong-network'],
    [
      'with a certificate of another node',
      () => welcomeOf(network, issuer, network.newSigner()),
      'certificate-of-another',
    ],
    [
      'with an isolation key that is not the network’s',
      (joiner) => {
        const welcome = welcomeOf(network, issuer, joiner)
        return { ...welcome, network: { ...welcome.network!, isolationKeys: [random.bytes(32)] } }
      },
      'wrong-network',
    ],
    [
      'by a node that is no member',
      (joiner) => {
        const welcome = welcomeOf(network, issuer, joiner)
        const { certificate } = other.membership
        return { ...welcome, network: { ...welcome.network!, issuerCertificate: certificate } }
      },
      'wrong-network',
    ],
    [
      'without a genesis',
      (joiner) => ({ certificate: network.certify(joiner.publicKey) }),
      'malformed',
    ],
  ]
  test.each(bad)('%s is not stored', (_, make, reason) => {
    const { init, joiner } = joinOf()
    const right = welcomeOf(network, issuer, joiner)
    // An issuer that lies: its own check passes, something else goes out.
    const wrong = encodeWelcome(make(joiner)).map((part) => encodeMessage(part))
    const result = runPair({
      ...init,
      responder: { ...init.responder, admit: () => right },
      tamper: (frame) => (decodeMessage(frame)?.kind === 'welcome' ? wrong : [frame]),
    })
    expect(reasonOf(result.initiator)).toBe(reason)
    expect(result.stored).toEqual([])
  })

  test('is not sent to a revoked node, nor while the disk did not take the token’s use', () => {
    const { init } = joinOf()
    for (const reason of ['revoked', 'busy'] as const) {
      const result = runPair({ ...init, responder: { ...init.responder, admit: () => reason } })
      expect(reasonOf(result.responder)).toBe(reason)
      expect(said(result, 'responder')).toEqual(['welcome-hello', 'proof', `refused ${reason}`])
    }
  })
})
