/** The form of facts. What they do together: `network-state.ts`. */
import {
  ENVELOPE_BYTES_MAX,
  KEY_BYTES,
  LABEL_CHARS_MAX,
  ROTATION_OVERLAP_S_MAX,
  SERIAL_BYTES,
} from '../constants.ts'
import { DocumentError } from '../errors.ts'
import { encodeCanonical, type CborMap } from '../wire.ts'
import { readDocument, type Fields } from './fields.ts'
import { parseNetworkId } from './ids.ts'
import type { Fact, RevocationReason, Statement } from './model.ts'

type StatementKind = Statement['kind']

const KINDS = [
  'certificate-revoked',
  'node-revoked',
  'authority-added',
  'authority-removed',
  'token-used',
  'token-revoked',
  'key-rotated',
  'isolation-rotated',
] as const satisfies readonly StatementKind[]

const REVOCATION_REASONS: readonly RevocationReason[] = ['left', 'removed', 'compromised']

/** About something that ends by itself: only these may expire. */
const MAY_EXPIRE: readonly StatementKind[] = ['certificate-revoked', 'token-used', 'token-revoked']

/** These need as many authorities as a certificate. */
const CO_SIGNED: readonly StatementKind[] = ['authority-added', 'authority-removed']

export const isCoSigned = ({ kind }: Statement): boolean => CO_SIGNED.includes(kind)

/**
 * The body of a fact.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`: a field is out of its bounds
 */
export function encodeFact(fact: Fact): Uint8Array {
  const body = encodeCanonical({
    network: fact.network,
    issuer: fact.issuer,
    number: fact.number,
    at: fact.at,
    ...(fact.expiresAt !== undefined && { expiresAt: fact.expiresAt }),
    statement: mapOf(fact.statement),
  })
  decodeFact(body)
  return body
}

function mapOf(statement: Statement): CborMap {
  const { kind } = statement
  switch (kind) {
    case 'certificate-revoked':
      return { kind, serial: statement.serial, reason: statement.reason }
    case 'node-revoked':
      return { kind, node: statement.node, reason: statement.reason }
    case 'authority-added':
      return { kind, node: statement.node }
    case 'authority-removed':
      return { kind, node: statement.node, lastNumber: statement.lastNumber }
    case 'token-used':
      return { kind, tokenId: statement.tokenId, node: statement.node }
    case 'token-revoked':
      return { kind, tokenId: statement.tokenId }
    case 'key-rotated':
      return { kind, rotation: statement.rotation }
    case 'isolation-rotated':
      return {
        kind,
        isolationHash: statement.isolationHash,
        overlapUntil: statement.overlapUntil,
      }
  }
}

/**
 * Reads the body of a fact.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`
 */
export function decodeFact(body: Uint8Array): Fact {
  const max = Number.MAX_SAFE_INTEGER
  const bounds = { bytes: body, bytesMax: ENVELOPE_BYTES_MAX }
  const fact = readDocument('fact', bounds, (fields) => ({
    network: parseNetworkId(fields.text('network', { max: LABEL_CHARS_MAX })),
    issuer: fields.bytes('issuer', KEY_BYTES),
    number: fields.integer('number', { min: 1, max }),
    at: fields.integer('at', { max }),
    ...(fields.has('expiresAt') && { expiresAt: fields.integer('expiresAt', { max }) }),
    statement: fields.map('statement', readStatement),
  }))
  const { kind } = fact.statement
  if (fact.expiresAt !== undefined && !MAY_EXPIRE.includes(kind)) {
    throw new DocumentError(`fact: "${kind}" cannot expire`)
  }
  if (fact.statement.kind === 'isolation-rotated') {
    const overlap = fact.statement.overlapUntil - fact.at
    if (overlap < 0 || overlap > ROTATION_OVERLAP_S_MAX) {
      throw new DocumentError(
        `fact: an overlap of ${overlap} s, not 0 to ${ROTATION_OVERLAP_S_MAX}`,
      )
    }
  }
  return fact
}

function readStatement(fields: Fields): Statement {
  const kind = fields.oneOf('kind', KINDS)
  const node = (): Uint8Array => fields.bytes('node', KEY_BYTES)
  const reason = (): RevocationReason => fields.oneOf('reason', REVOCATION_REASONS)
  const tokenId = (): Uint8Array => fields.bytes('tokenId', SERIAL_BYTES)
  const max = Number.MAX_SAFE_INTEGER
  switch (kind) {
    case 'certificate-revoked':
      return { kind, serial: fields.bytes('serial', SERIAL_BYTES), reason: reason() }
    case 'node-revoked':
      return { kind, node: node(), reason: reason() }
    case 'authority-added':
      return { kind, node: node() }
    case 'authority-removed':
      return { kind, node: node(), lastNumber: fields.integer('lastNumber', { max }) }
    case 'token-used':
      return { kind, tokenId: tokenId(), node: node() }
    case 'token-revoked':
      return { kind, tokenId: tokenId() }
    case 'key-rotated':
      return { kind, rotation: fields.bytes('rotation', { min: 1, max: ENVELOPE_BYTES_MAX }) }
    case 'isolation-rotated':
      return {
        kind,
        isolationHash: fields.bytes('isolationHash', KEY_BYTES),
        overlapUntil: fields.integer('overlapUntil', { max }),
      }
  }
}
