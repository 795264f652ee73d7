/** The document by which a network begins. */
import {
  AUTHORITY_THRESHOLD_MAX,
  GENESIS_BYTES_MAX,
  GENESIS_NODES_MAX,
  KEY_BYTES,
  NAME_CHARS_MAX,
  ROTATION_DAYS_MAX,
  ROTATION_OVERLAP_S_MAX,
  SCORE_WHOLE,
} from '../constants.ts'
import { DocumentError, SignatureError } from '../errors.ts'
import { areEqual, encodeCanonical } from '../wire.ts'
import { decodeEnvelope, verifyEnvelope } from './envelope.ts'
import { readDocument, sortedBytes } from './fields.ts'
import { networkIdOf } from './ids.ts'
import type { Crypto, Genesis, NetworkId } from './model.ts'

/** Control characters would let a name write over a terminal. */
const CONTROL_CHARACTER = /\p{Cc}/u

/**
 * The body of a genesis.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`: a field is out of its bounds
 */
export function encodeGenesis(genesis: Genesis): Uint8Array {
  const body = encodeCanonical({
    name: genesis.name,
    networkKey: genesis.networkKey,
    createdAt: genesis.createdAt,
    genesisNodes: genesis.genesisNodes,
    compatibility: genesis.compatibility,
    isolationHash: genesis.isolationHash,
    rotation: {
      everyDays: genesis.rotation.everyDays,
      overlapHours: genesis.rotation.overlapHours,
    },
    quorum: { authorityThreshold: genesis.quorum.authorityThreshold },
    trust: { admissionThreshold: genesis.trust.admissionThreshold },
  })
  decodeGenesis(body)
  return body
}

/**
 * Reads the body of a genesis.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`
 */
export function decodeGenesis(body: Uint8Array): Genesis {
  const bounds = { bytes: body, bytesMax: GENESIS_BYTES_MAX }
  const genesis = readDocument('genesis', bounds, (fields) => ({
    name: fields.text('name', { min: 1, max: NAME_CHARS_MAX }),
    networkKey: fields.bytes('networkKey', KEY_BYTES),
    createdAt: fields.integer('createdAt', { max: Number.MAX_SAFE_INTEGER }),
    genesisNodes: fields.byteStrings('genesisNodes', { min: 1, max: GENESIS_NODES_MAX }, KEY_BYTES),
    compatibility: fields.integer('compatibility', { max: 0xffff_ffff }),
    isolationHash: fields.bytes('isolationHash', KEY_BYTES),
    rotation: fields.map('rotation', (rotation) => ({
      everyDays: rotation.integer('everyDays', { min: 1, max: ROTATION_DAYS_MAX }),
      overlapHours: rotation.integer('overlapHours', { max: ROTATION_OVERLAP_S_MAX / 3600 }),
    })),
    quorum: fields.map('quorum', (quorum) => ({
      authorityThreshold: quorum.integer('authorityThreshold', {
        min: 1,
        max: AUTHORITY_THRESHOLD_MAX,
      }),
    })),
    trust: fields.map('trust', (trust) => ({
      admissionThreshold: trust.integer('admissionThreshold', { max: SCORE_WHOLE - 1 }),
    })),
  }))
  if (CONTROL_CHARACTER.test(genesis.name)) {
    throw new DocumentError('genesis: "name" has control characters')
  }
  const { authorityThreshold } = genesis.quorum
  if (authorityThreshold > genesis.genesisNodes.length) {
    // Nobody could ever issue a certificate.
    throw new DocumentError(
      `genesis: needs ${authorityThreshold} authorities and has ${genesis.genesisNodes.length}`,
    )
  }
  return genesis
}

/** A genesis that holds. */
export interface VerifiedGenesis {
  readonly genesis: Genesis
  readonly network: NetworkId
  /** SHA-256 of the envelope's body. */
  readonly hash: Uint8Array
}

/**
 * Reads the envelope of a genesis and makes sure that the network key and every genesis node, and
 * nobody else, have signed it.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`
 * @throws {SignatureError} `ERR_IDENTITY_SIGNATURE`
 */
export function verifyGenesis(crypto: Crypto, envelope: Uint8Array): VerifiedGenesis {
  const opened = decodeEnvelope(envelope, GENESIS_BYTES_MAX)
  const genesis = decodeGenesis(opened.body)
  const signers = verifyEnvelope(crypto, 'genesis', opened)
  if (signers === undefined) throw new SignatureError('genesis: a signature is not valid')
  const expected = sortedBytes([genesis.networkKey, ...genesis.genesisNodes])
  const isComplete =
    signers.length === expected.length &&
    expected.every((key, index) => areEqual(key, signers[index] ?? new Uint8Array()))
  if (!isComplete) {
    throw new SignatureError('genesis: not signed by the network key and all genesis nodes alone')
  }
  return {
    genesis,
    network: networkIdOf(crypto, genesis.networkKey),
    hash: crypto.sha256(opened.body),
  }
}
