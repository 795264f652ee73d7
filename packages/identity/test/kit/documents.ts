/** Signers, and networks in paper: every kind of document with signatures of one's choice. */
import { encodeCertificate } from '../../src/core/certificate.ts'
import { encodeEnvelope, signEnvelope } from '../../src/core/envelope.ts'
import { encodeFact } from '../../src/core/facts.ts'
import { sortedBytes } from '../../src/core/fields.ts'
import { encodeGenesis } from '../../src/core/genesis.ts'
import { networkIdOf } from '../../src/core/ids.ts'
import { encodeKeyRotation } from '../../src/core/key-chain.ts'
import type {
  Certificate,
  Crypto,
  DocumentKind,
  Genesis,
  KeyRotation,
  NetworkId,
  Signer,
  Statement,
} from '../../src/core/model.ts'
import { createCrypto, createSigner } from '../../src/crypto.ts'

export const crypto: Crypto = createCrypto()
export const NOW = 1_800_000_000
export const DAY = 86_400

/** The n-th signer: the same one in each run. */
export const signerOf = (n: number): Signer =>
  createSigner(crypto.sha256(new TextEncoder().encode(`signer ${n}`)))

export const bytesOf = (length: number, fill: number): Uint8Array =>
  new Uint8Array(length).fill(fill)

export const sealed = (
  kind: DocumentKind,
  body: Uint8Array,
  signers: readonly Signer[],
): Uint8Array => encodeEnvelope(signEnvelope({ kind, body, signers }))

/** A network whose genesis nodes are the signers 1, 2, ... and whose key is signer 0. */
export interface PaperNetwork {
  readonly id: NetworkId
  readonly genesis: Genesis
  readonly envelope: Uint8Array
  readonly networkSigner: Signer
  readonly nodes: readonly Signer[]
}

export interface PaperInit {
  readonly nodes?: readonly Signer[]
  readonly threshold?: number
  readonly networkSigner?: Signer
  readonly changes?: Partial<Genesis>
}

export function paperNetwork(init: PaperInit = {}): PaperNetwork {
  const { nodes = [signerOf(1)], threshold = 1, networkSigner = signerOf(0) } = init
  const genesis: Genesis = {
    name: 'meadow',
    networkKey: networkSigner.publicKey,
    createdAt: NOW,
    genesisNodes: sortedBytes(nodes.map(({ publicKey }) => publicKey)),
    compatibility: 1,
    isolationHash: crypto.sha256(bytesOf(32, 1)),
    rotation: { everyDays: 90, overlapHours: 24 },
    quorum: { authorityThreshold: threshold },
    trust: { admissionThreshold: 700 },
    ...init.changes,
  }
  return {
    id: networkIdOf(crypto, networkSigner.publicKey),
    genesis,
    envelope: sealed('genesis', encodeGenesis(genesis), [networkSigner, ...nodes]),
    networkSigner,
    nodes,
  }
}

export const certificateOf = (
  network: NetworkId,
  subject: Uint8Array,
  changes: Partial<Certificate> = {},
): Certificate => ({
  network,
  subject,
  nodeType: 'sclerotium-dynamic',
  roles: ['member'],
  capabilities: [],
  notBefore: NOW,
  notAfter: NOW + 7 * DAY,
  serial: bytesOf(16, 5),
  epoch: 0,
  ...changes,
})

export const sealedCertificate = (
  certificate: Certificate,
  signers: readonly Signer[],
): Uint8Array => sealed('certificate', encodeCertificate(certificate), signers)

export interface FactInit {
  readonly issuer: Signer
  readonly number: number
  readonly statement: Statement
  readonly at?: number
  readonly expiresAt?: number
  /** Besides the issuer. */
  readonly coSigners?: readonly Signer[]
}

export function sealedFact(network: NetworkId, init: FactInit): Uint8Array {
  const { issuer, number, statement, at = NOW, expiresAt, coSigners = [] } = init
  const body = encodeFact({
    network,
    issuer: issuer.publicKey,
    number,
    at,
    ...(expiresAt !== undefined && { expiresAt }),
    statement,
  })
  return sealed('fact', body, [issuer, ...coSigners])
}

export const sealedRotation = (rotation: KeyRotation, signers: readonly Signer[]): Uint8Array =>
  sealed('key-rotation', encodeKeyRotation(rotation), signers)
