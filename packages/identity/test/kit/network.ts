/** A small network made of real documents, for tests of cores: no I/O, seeded chance. */
import { randomBytes } from 'node:crypto'
import type { Random } from '@mycelium/interface'
import { encodeCertificate } from '../../src/core/certificate.ts'
import { encodeEnvelope, signEnvelope } from '../../src/core/envelope.ts'
import { encodeFact } from '../../src/core/facts.ts'
import { createNetworkState } from '../../src/core/facts-state.ts'
import { sortedBytes } from '../../src/core/fields.ts'
import { encodeGenesis } from '../../src/core/genesis.ts'
import { encodeKeyRotation } from '../../src/core/key-chain.ts'
import type { OwnMembership } from '../../src/core/handshake.ts'
import { networkIdOf } from '../../src/core/ids.ts'
import type { Certificate, NetworkId, Signer, Statement } from '../../src/core/model.ts'
import type { NetworkState } from '../../src/core/network-state.ts'
import { createCrypto, createSigner } from '../../src/crypto.ts'

export const crypto = createCrypto()

/** November 2023, in seconds. */
export const NOW = 1_700_000_000
export const WEEK_S: number = 7 * 24 * 3600

export interface TestNetwork {
  readonly network: NetworkId
  readonly genesis: Uint8Array
  readonly isolationKey: Uint8Array
  /** The genesis node. */
  readonly authority: Signer
  /** Facts so far. */
  readonly facts: readonly Uint8Array[]
  newSigner(): Signer
  /** Signed by the genesis node, or by another. */
  certify(subject: Uint8Array, changes?: Partial<Certificate>, by?: Signer): Uint8Array
  /** Of the genesis node, or of another; kept for states that are made later. */
  issueFact(statement: Statement, init?: { readonly by?: Signer }): Uint8Array
  /** Rotates the network key to a new one. */
  rotate(): void
  newState(): NetworkState
}

export function createTestNetwork(
  random: Random,
  { name = 'test' }: { readonly name?: string } = {},
): TestNetwork {
  const newSigner = (): Signer => createSigner(random.bytes(32))
  const networkSigner = newSigner()
  const authority = newSigner()
  const isolationKey = random.bytes(32)
  const network = networkIdOf(crypto, networkSigner.publicKey)
  const genesisBody = encodeGenesis({
    name,
    networkKey: networkSigner.publicKey,
    createdAt: NOW - WEEK_S,
    genesisNodes: sortedBytes([authority.publicKey]),
    compatibility: 1,
    isolationHash: crypto.sha256(isolationKey),
    rotation: { everyDays: 90, overlapHours: 24 },
    quorum: { authorityThreshold: 1 },
    trust: { admissionThreshold: 700 },
  })
  const genesis = encodeEnvelope(
    signEnvelope({ kind: 'genesis', body: genesisBody, signers: [networkSigner, authority] }),
  )
  const facts: Uint8Array[] = []
  const issueFact: TestNetwork['issueFact'] = (statement, { by = authority } = {}) => {
    const issuer = by.publicKey
    const number = facts.length + 1
    const body = encodeFact({ network, issuer, number, at: NOW, statement })
    const envelope = encodeEnvelope(signEnvelope({ kind: 'fact', body, signers: [by] }))
    facts.push(envelope)
    return envelope
  }
  return {
    network,
    genesis,
    isolationKey,
    authority,
    facts,
    newSigner,
    certify(subject, changes = {}, by = authority) {
      const body = encodeCertificate({
        network,
        subject,
        nodeType: 'rhizomorph',
        roles: [],
        capabilities: [],
        notBefore: NOW - 3600,
        notAfter: NOW - 3600 + WEEK_S,
        serial: random.bytes(16),
        epoch: 0,
        ...changes,
      })
      return encodeEnvelope(signEnvelope({ kind: 'certificate', body, signers: [by] }))
    },
    issueFact,
    rotate() {
      const rotation = newRotation(network, networkSigner)
      issueFact({ kind: 'key-rotated', rotation })
    },
    newState: () => createNetworkState({ crypto }, { genesis, facts }),
  }
}

/** To a key that is not of the seeded stream: twins differ by it. */
function newRotation(network: NetworkId, old: Signer): Uint8Array {
  const next = createSigner(randomBytes(32))
  const body = encodeKeyRotation({
    network,
    number: 1,
    oldKey: old.publicKey,
    newKey: next.publicKey,
    at: NOW,
    overlapUntil: NOW + 3600,
    cause: 'scheduled',
  })
  return encodeEnvelope(signEnvelope({ kind: 'key-rotation', body, signers: [old, next] }))
}

export interface TestMember {
  readonly signer: Signer
  readonly membership: OwnMembership
}

export function createTestMember(
  network: TestNetwork,
  changes: Partial<Certificate> = {},
  signer: Signer = network.newSigner(),
): TestMember {
  return {
    signer,
    membership: {
      state: network.newState(),
      isolationKeys: () => [network.isolationKey],
      foundations: () => [],
      certificate: network.certify(signer.publicKey, changes),
    },
  }
}
