import type { NodeId, Random } from '@mycelium/interface'
import {
  ADMISSION_THRESHOLD,
  CERTIFICATE_LIFETIME_S,
  ENVELOPE_BYTES_MAX,
  GENESIS_BYTES_MAX,
  GENESIS_NODES_MAX,
  KEY_BYTES,
  ROTATION_OVERLAP_S,
  SERIAL_BYTES,
} from './constants.ts'
import { decodeCertificate, encodeCertificate } from './core/certificate.ts'
import { addSignatures, decodeEnvelope, encodeEnvelope, signEnvelope } from './core/envelope.ts'
import { readDocument, sortedBytes } from './core/fields.ts'
import { decodeGenesis, encodeGenesis, verifyGenesis } from './core/genesis.ts'
import { networkIdOf, publicKeyOf } from './core/ids.ts'
import type { Crypto, NetworkId, Signer, UnixSeconds } from './core/model.ts'
import { createSigner } from './crypto.ts'
import { DocumentError } from './errors.ts'
import type { CreateNetworkInit } from './membership.ts'
import type { NetworkRecords } from './network-records.ts'
import { areEqual, encodeCanonical } from './wire.ts'

const ROTATION_DAYS = 90
const PROPOSAL_BYTES_MAX: number = GENESIS_BYTES_MAX + GENESIS_NODES_MAX * ENVELOPE_BYTES_MAX

export interface FoundingDeps {
  readonly records: NetworkRecords
  readonly crypto: Crypto
  readonly random: Random
}

interface Proposal {
  readonly genesis: Uint8Array
  /** One for each founder. */
  readonly certificates: readonly Uint8Array[]
}

/** How a network begins: its genesis, signed by every founder, and the first certificate. */
export class Founding {
  readonly #deps: FoundingDeps
  /** Signed by all founders: with a threshold above 1 nobody could certify the second one alone. */
  #certificates: readonly Uint8Array[] = []

  constructor(deps: FoundingDeps) {
    this.#deps = deps
  }

  /** Keeps the keys of the network to be; nothing else of it is kept before it is founded. */
  async propose(
    init: CreateNetworkInit & { readonly compatibility: number },
    founders: readonly NodeId[],
    now: UnixSeconds,
  ): Promise<Uint8Array> {
    const { records, crypto, random } = this.#deps
    const { signer } = records
    const nodes = sortedBytes([signer.publicKey, ...founders.map(publicKeyOf)])
    const { authorityThreshold = 1 } = init
    if (nodes.length > GENESIS_NODES_MAX) {
      throw new RangeError(`founders: at most ${GENESIS_NODES_MAX - 1} (got ${founders.length})`)
    }
    if (authorityThreshold < 1 || authorityThreshold > nodes.length) {
      const what = `must be 1..${nodes.length}, the number of founders`
      throw new RangeError(`authorityThreshold: ${what} (got ${authorityThreshold})`)
    }
    const seed = random.bytes(KEY_BYTES)
    const isolationKey = random.bytes(KEY_BYTES)
    const network = createSigner(seed)
    const body = encodeGenesis({
      name: init.name,
      networkKey: network.publicKey,
      createdAt: now,
      genesisNodes: nodes,
      compatibility: init.compatibility,
      isolationHash: crypto.sha256(isolationKey),
      rotation: {
        everyDays: init.rotationDays ?? ROTATION_DAYS,
        overlapHours: ROTATION_OVERLAP_S / 3600,
      },
      quorum: { authorityThreshold },
      trust: { admissionThreshold: init.admissionThreshold ?? ADMISSION_THRESHOLD },
    })
    const genesis = encodeEnvelope(
      signEnvelope({ kind: 'genesis', body, signers: [network, signer] }),
    )
    const id = networkIdOf(crypto, network.publicKey)
    const certificates = nodes.map((node) => this.#certificate(node, { init, network: id, now }))
    await records.writeKey('network-key', seed)
    await records.addIsolationKey(isolationKey)
    return encodeProposal({ genesis, certificates })
  }

  /** Adds the signature of this founder. */
  sign(proposal: Uint8Array): Uint8Array {
    const { signer } = this.#deps.records
    const { genesis, certificates } = decodeProposal(proposal)
    const opened = decodeEnvelope(genesis, GENESIS_BYTES_MAX)
    const { genesisNodes } = decodeGenesis(opened.body)
    if (!genesisNodes.some((key) => areEqual(key, signer.publicKey))) {
      throw new DocumentError('proposal: this node is none of the founders')
    }
    const signers: readonly Signer[] = [signer]
    return encodeProposal({
      genesis: encodeEnvelope(addSignatures('genesis', opened, signers)),
      certificates: certificates.map((certificate) =>
        encodeEnvelope(addSignatures('certificate', decodeEnvelope(certificate), signers)),
      ),
    })
  }

  /** Makes this node the first member, if all founders have signed. */
  async found(proposal: Uint8Array): Promise<NetworkId> {
    const { records, crypto } = this.#deps
    const { genesis, certificates } = decodeProposal(proposal)
    const verified = verifyGenesis(crypto, genesis)
    const isolationKey = records.isolationKeyOf(verified.genesis.isolationHash)
    if (isolationKey === undefined) {
      throw new DocumentError('proposal: another node made it, and has the keys of the network')
    }
    this.#certificates = certificates
    const certificate = this.certificateOf(records.signer.publicKey)
    if (certificate === undefined) throw new DocumentError('proposal: no certificate for this node')
    await records.begin({
      genesis,
      certificate,
      isolationKeys: [isolationKey],
      facts: [],
      peers: [],
    })
    return verified.network
  }

  /** Of a founder, until this process ends: others join before that. */
  certificateOf(publicKey: Uint8Array): Uint8Array | undefined {
    return this.#certificates.find((envelope) =>
      areEqual(decodeCertificate(decodeEnvelope(envelope).body).subject, publicKey),
    )
  }

  #certificate(
    subject: Uint8Array,
    init: {
      readonly init: CreateNetworkInit
      readonly network: NetworkId
      readonly now: UnixSeconds
    },
  ): Uint8Array {
    const { records, random } = this.#deps
    const body = encodeCertificate({
      network: init.network,
      subject,
      nodeType: init.init.nodeType ?? 'sclerotium-dedicated',
      roles: (init.init.roles ?? []).toSorted(),
      capabilities: [],
      notBefore: init.now,
      notAfter: init.now + CERTIFICATE_LIFETIME_S,
      serial: random.bytes(SERIAL_BYTES),
      epoch: 0,
    })
    const { signer } = records
    return encodeEnvelope(signEnvelope({ kind: 'certificate', body, signers: [signer] }))
  }
}

function encodeProposal({ genesis, certificates }: Proposal): Uint8Array {
  return encodeCanonical({ genesis, certificates })
}

function decodeProposal(bytes: Uint8Array): Proposal {
  return readDocument('proposal', { bytes, bytesMax: PROPOSAL_BYTES_MAX }, (fields) => ({
    genesis: fields.bytes('genesis', { min: 1, max: GENESIS_BYTES_MAX }),
    certificates: fields.list('certificates', { min: 1, max: GENESIS_NODES_MAX }).map((one) => {
      if (one instanceof Uint8Array && one.byteLength <= ENVELOPE_BYTES_MAX) return one
      throw new DocumentError('proposal: a certificate is none')
    }),
  }))
}
