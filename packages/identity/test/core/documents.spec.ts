/** Bounds of each document, and what is refused although it can be read. */
import { describe, expect, it } from 'vitest'
import {
  decodeCertificate,
  encodeCertificate,
  renewalDueAt,
  validityOf,
} from '../../src/core/certificate.ts'
import {
  addSignatures,
  decodeEnvelope,
  encodeEnvelope,
  signedBytes,
  signEnvelope,
  verifyEnvelope,
} from '../../src/core/envelope.ts'
import { decodeFact, encodeFact } from '../../src/core/facts.ts'
import { decodeGenesis, encodeGenesis, verifyGenesis } from '../../src/core/genesis.ts'
import { networkIdOf, nodeIdOf, parseNetworkId, publicKeyOf } from '../../src/core/ids.ts'
import { encodeKeyRotation } from '../../src/core/key-chain.ts'
import type { Certificate, DocumentKind, Fact, Genesis } from '../../src/core/model.ts'
import { DocumentError, NodeIdError, SignatureError } from '../../src/errors.ts'
import { encodeCanonical, type CborMap, type CborValue } from '../../src/wire.ts'
import {
  bytesOf,
  certificateOf,
  crypto,
  DAY,
  NOW,
  paperNetwork,
  sealed,
  signerOf,
} from '../kit/documents.ts'

const paper = paperNetwork({ nodes: [signerOf(1), signerOf(2)], threshold: 2 })
const message = 'ERR_IDENTITY_DOCUMENT'
const codeOf = (run: () => unknown): string | undefined => {
  try {
    run()
  } catch (error) {
    return error instanceof DocumentError ? error.code : String(error)
  }
  return undefined
}

describe('ids', () => {
  const { publicKey } = signerOf(1)

  it('of nodes are what libp2p calls them', async () => {
    const { publicKeyFromRaw } = await import('@libp2p/crypto/keys')
    const { peerIdFromPublicKey } = await import('@libp2p/peer-id')
    const peer = peerIdFromPublicKey(publicKeyFromRaw(publicKey))
    expect(nodeIdOf(publicKey)).toBe(peer.toString())
    expect(publicKeyOf(peer.toString())).toEqual(publicKey)
  })

  it('of networks are the hash of a key', () => {
    const id = networkIdOf(crypto, publicKey)
    expect(id).toMatch(/^Qm[1-9A-HJ-NP-Za-km-z]{44}$/)
    expect(parseNetworkId(id)).toBe(id)
  })

  it('are no other texts', () => {
    const node = nodeIdOf(publicKey)
    const network = networkIdOf(crypto, publicKey)
    const others = ['', node.slice(1), `${node} `, `1${node}`, network, 'x'.repeat(100_000)]
    for (const text of others) expect(() => publicKeyOf(text)).toThrow(NodeIdError)
    for (const text of ['', node, network.slice(1)]) {
      expect(() => parseNetworkId(text)).toThrow(DocumentError)
    }
    for (const length of [0, 31, 33]) {
      expect(() => nodeIdOf(new Uint8Array(length))).toThrow(RangeError)
      expect(() => networkIdOf(crypto, new Uint8Array(length))).toThrow(RangeError)
    }
  })
})

describe('an envelope', () => {
  const body = Uint8Array.of(0xa0)
  const [one, two] = [signerOf(1), signerOf(2)]

  it('is signed under its kind: no document passes for another', () => {
    const kinds: readonly DocumentKind[] = [
      'genesis',
      'certificate',
      'fact',
      'key-rotation',
      'handshake',
      'audit',
    ]
    for (const kind of kinds) {
      const envelope = signEnvelope({ kind, body, signers: [one] })
      for (const other of kinds) {
        const signers = verifyEnvelope(crypto, other, envelope)
        expect(signers).toEqual(kind === other ? [one.publicKey] : undefined)
      }
    }
    expect(Buffer.from(signedBytes('fact', body)).toString('latin1')).toBe(
      'mycelium/fact/1\0\u00a0',
    )
  })

  it('is right as a whole: one bad signature spoils it', () => {
    const { signatures } = signEnvelope({ kind: 'fact', body, signers: [one, two] })
    const [first] = signatures
    if (first === undefined) throw new Error('no signature')
    const bad = signatures.map((pair, index) =>
      index === 1 ? { ...pair, signature: first.signature } : pair,
    )
    expect(verifyEnvelope(crypto, 'fact', { body, signatures })).toHaveLength(2)
    expect(verifyEnvelope(crypto, 'fact', { body, signatures: bad })).toBeUndefined()
    expect(verifyEnvelope(crypto, 'fact', { body, signatures: [] })).toBeUndefined()
    expect(verifyEnvelope(crypto, 'fact', { body: bytesOf(1, 1), signatures })).toBeUndefined()
  })

  it('can be co-signed, in any order, once by each', () => {
    const both = signEnvelope({ kind: 'fact', body, signers: [one, two] })
    for (const [first, second] of [
      [one, two],
      [two, one],
    ] as const) {
      const envelope = signEnvelope({ kind: 'fact', body, signers: [first] })
      expect(addSignatures('fact', envelope, [second])).toEqual(both)
      expect(addSignatures('fact', both, [second])).toEqual(both)
    }
    expect(() => signEnvelope({ kind: 'fact', body, signers: [one, one] })).toThrow(RangeError)
    expect(() => signEnvelope({ kind: 'fact', body, signers: [] })).toThrow(RangeError)
  })

  it('has at most 32 signatures', () => {
    const signers = Array.from({ length: 33 }, (_, index) => signerOf(index))
    const most = signEnvelope({ kind: 'fact', body, signers: signers.slice(1) })
    expect(decodeEnvelope(encodeEnvelope(most)).signatures).toHaveLength(32)
    expect(() => signEnvelope({ kind: 'fact', body, signers })).toThrow(RangeError)
    expect(() => addSignatures('fact', most, signers.slice(0, 1))).toThrow(RangeError)
  })

  it.each([
    ['no map', []],
    ['no signatures', { body, signatures: [] }],
    ['an empty body', { body: bytesOf(0, 0), signatures: [[bytesOf(32, 1), bytesOf(64, 1)]] }],
    ['a short key', { body, signatures: [[bytesOf(31, 1), bytesOf(64, 1)]] }],
    ['a short signature', { body, signatures: [[bytesOf(32, 1), bytesOf(63, 1)]] }],
    ['three parts', { body, signatures: [[bytesOf(32, 1), bytesOf(64, 1), 1]] }],
    [
      'a key twice',
      { body, signatures: [1, 1].map((fill) => [bytesOf(32, fill), bytesOf(64, 1)]) },
    ],
    [
      'keys in another order',
      { body, signatures: [2, 1].map((fill) => [bytesOf(32, fill), bytesOf(64, 1)]) },
    ],
    [
      '33 signatures',
      {
        body,
        signatures: Array.from({ length: 33 }, (_, fill) => [bytesOf(32, fill), bytesOf(64, 1)]),
      },
    ],
    ['a field too many', { body, signatures: [[bytesOf(32, 1), bytesOf(64, 1)]], more: 1 }],
  ] satisfies readonly (readonly [string, CborValue])[])('is not one with %s', (_, value) => {
    expect(codeOf(() => decodeEnvelope(encodeCanonical(value)))).toBe(message)
  })
})

describe('a genesis', () => {
  const { genesis } = paper

  it('holds when signed by the network key and by all genesis nodes', () => {
    const { id, envelope } = paper
    const hash = crypto.sha256(encodeGenesis(genesis))
    expect(verifyGenesis(crypto, envelope)).toEqual({ genesis, network: id, hash })
  })

  it('does not hold with a signature too few, too many or wrong', () => {
    const body = encodeGenesis(genesis)
    const { networkSigner, nodes } = paper
    const [n1 = signerOf(1), n2 = signerOf(2)] = nodes
    const wrong = [
      sealed('genesis', body, [networkSigner, n1]),
      sealed('genesis', body, [n1, n2]),
      ...[3, 4, 5, 6, 7, 8].map((n) =>
        sealed('genesis', body, [networkSigner, n1, n2, signerOf(n)]),
      ),
      sealed('genesis', body, [networkSigner, n1, signerOf(3)]),
      sealed('fact', body, [networkSigner, n1, n2]),
    ]
    for (const envelope of wrong) {
      expect(() => verifyGenesis(crypto, envelope)).toThrow(SignatureError)
    }
  })

  it.each([
    ['no name', { name: '' }],
    ['a long name', { name: 'x'.repeat(65) }],
    ['a name that clears a terminal', { name: 'a\u001b[2J' }],
    ['no nodes', { genesisNodes: [] }],
    ['17 nodes', { genesisNodes: Array.from({ length: 17 }, (_, fill) => bytesOf(32, fill)) }],
    ['nodes in another order', { genesisNodes: [bytesOf(32, 2), bytesOf(32, 1)] }],
    ['a node twice', { genesisNodes: [bytesOf(32, 1), bytesOf(32, 1)] }],
    ['a short key', { networkKey: bytesOf(31, 1) }],
    ['a version beyond 32 bits', { compatibility: 2 ** 32 }],
    ['a negative time', { createdAt: -1 }],
    ['more authorities needed than there are', { quorum: { authorityThreshold: 3 } }],
    ['no authority needed', { quorum: { authorityThreshold: 0 } }],
    ['a threshold that nobody exceeds', { trust: { admissionThreshold: 1_000 } }],
    ['no days between rotations', { rotation: { everyDays: 0, overlapHours: 1 } }],
    ['an overlap too long', { rotation: { everyDays: 1, overlapHours: 721 } }],
  ] satisfies readonly (readonly [string, Partial<Genesis>])[])(
    'is not one with %s',
    (_, changes) => {
      const changed = { ...genesis, ...changes }
      expect(codeOf(() => encodeGenesis(changed))).toBe(message)
      const bytes = encodeCanonical(changed as unknown as CborMap)
      expect(codeOf(() => decodeGenesis(bytes))).toBe(message)
    },
  )
})

describe('a certificate', () => {
  const certificate = certificateOf(paper.id, bytesOf(32, 9))

  it.each([
    ['another type', { nodeType: 'tree' as 'hypha' }],
    ['17 roles', { roles: Array.from({ length: 17 }, (_, n) => `r${n}`).toSorted() }],
    ['a role twice', { roles: ['a', 'a'] }],
    ['roles in another order', { roles: ['b', 'a'] }],
    ['an empty role', { roles: [''] }],
    ['a long role', { roles: ['x'.repeat(65)] }],
    ['a role with a space', { capabilities: ['a b'] }],
    ['no time', { notAfter: NOW }],
    ['times in another order', { notAfter: NOW - 1 }],
    ['a life too long', { notAfter: NOW + 30 * DAY + 1 }],
    ['a short serial', { serial: bytesOf(15, 1) }],
    ['no network', { network: 'meadow' as Certificate['network'] }],
  ] satisfies readonly (readonly [string, Partial<Certificate>])[])(
    'is not one with %s',
    (_, changes) => {
      const changed = { ...certificate, ...changes }
      expect(codeOf(() => encodeCertificate(changed))).toBe(message)
      const bytes = encodeCanonical(changed as unknown as CborMap)
      expect(codeOf(() => decodeCertificate(bytes))).toBe(message)
    },
  )

  it('lacks no field, and has no other', () => {
    const all = certificate as unknown as CborMap
    for (const key of Object.keys(all)) {
      const rest = Object.fromEntries(Object.entries(all).filter(([name]) => name !== key))
      expect(codeOf(() => decodeCertificate(encodeCanonical(rest)))).toBe(message)
    }
    expect(codeOf(() => decodeCertificate(encodeCanonical({ ...all, x: 1 })))).toBe(message)
    expect(codeOf(() => decodeCertificate(encodeCanonical(all)))).toBeUndefined()
  })

  it('lives for 30 days at most', () => {
    const longest = { ...certificate, notAfter: NOW + 30 * DAY }
    expect(decodeCertificate(encodeCertificate(longest))).toEqual(longest)
  })

  it('is renewed from a third of its life on', () => {
    expect(renewalDueAt({ notBefore: 0, notAfter: 7 * DAY })).toBe(201_600)
    expect(renewalDueAt({ notBefore: 10, notAfter: 11 })).toBe(11)
  })

  it('counts 120 s longer at both ends', () => {
    const times = { notBefore: 1_000, notAfter: 2_000 }
    const verdicts = [879, 880, 2_120, 2_121].map((now) => validityOf(times, now))
    expect(verdicts).toEqual(['not-yet-valid', 'valid', 'valid', 'expired'])
  })
})

describe('a fact', () => {
  const base: Fact = {
    network: paper.id,
    issuer: bytesOf(32, 1),
    number: 1,
    at: NOW,
    statement: { kind: 'token-revoked', tokenId: bytesOf(16, 1) },
  }
  const node = bytesOf(32, 2)

  it.each([
    ['number 0', { number: 0 }],
    ['a short issuer', { issuer: bytesOf(31, 1) }],
    ['an unknown statement', { statement: { kind: 'node-praised', node } as never }],
    ['an unknown reason', { statement: { kind: 'node-revoked', node, reason: 'x' } as never }],
    ['a field too many', { statement: { kind: 'authority-added', node, reason: 1 } as never }],
    [
      'an end of what does not end',
      {
        expiresAt: NOW,
        statement: { kind: 'node-revoked', node, reason: 'left' },
      },
    ],
    [
      'an overlap before its time',
      {
        statement: { kind: 'isolation-rotated', isolationHash: node, overlapUntil: NOW - 1 },
      },
    ],
    [
      'an overlap too long',
      {
        statement: {
          kind: 'isolation-rotated',
          isolationHash: node,
          overlapUntil: NOW + 30 * DAY + 1,
        },
      },
    ],
  ] satisfies readonly (readonly [string, Partial<Fact>])[])('is not one with %s', (_, changes) => {
    const bytes = encodeCanonical({ ...base, ...changes } as unknown as CborMap)
    expect(codeOf(() => decodeFact(bytes))).toBe(message)
  })

  it('may expire if it is about what ends', () => {
    const passing = { ...base, expiresAt: NOW + 1 }
    expect(decodeFact(encodeFact(passing))).toEqual(passing)
  })
})

describe('a key rotation', () => {
  const rotation = {
    network: paper.id,
    number: 1,
    oldKey: bytesOf(32, 1),
    newKey: bytesOf(32, 2),
    at: NOW,
    overlapUntil: NOW,
    cause: 'scheduled' as const,
  }

  it.each([
    ['number 0', { number: 0 }],
    ['number 1025', { number: 1_025 }],
    ['the old key as new one', { newKey: bytesOf(32, 1) }],
    ['an overlap before its time', { overlapUntil: NOW - 1 }],
    ['an overlap too long', { overlapUntil: NOW + 30 * DAY + 1 }],
  ])('is not one with %s', (_, changes) => {
    expect(codeOf(() => encodeKeyRotation({ ...rotation, ...changes }))).toBe(message)
  })
})
