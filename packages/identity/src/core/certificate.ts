/** Certificates of membership: their form and their times. Who may sign: `network-state.ts`. */
import {
  CERTIFICATE_LIFETIME_S_MAX,
  CLOCK_SKEW_S,
  ENVELOPE_BYTES_MAX,
  KEY_BYTES,
  LABEL_CHARS_MAX,
  LABELS_MAX,
  RENEWAL_DIVISOR,
  ROTATIONS_MAX,
  SERIAL_BYTES,
} from '../constants.ts'
import { DocumentError } from '../errors.ts'
import { encodeCanonical } from '../wire.ts'
import { readDocument, type Fields } from './fields.ts'
import { parseNetworkId } from './ids.ts'
import type { Certificate, NodeType, UnixSeconds } from './model.ts'

export const NODE_TYPES: readonly NodeType[] = [
  'sclerotium-dedicated',
  'sclerotium-dynamic',
  'rhizomorph',
  'hypha',
]

/** Letters, digits and `._:/-`: names that need no quotes anywhere. */
const LABEL = /^[A-Za-z0-9._:/-]+$/

/**
 * The body of a certificate.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`: a field is out of its bounds
 */
export function encodeCertificate(certificate: Certificate): Uint8Array {
  const body = encodeCanonical({
    network: certificate.network,
    subject: certificate.subject,
    nodeType: certificate.nodeType,
    roles: certificate.roles,
    capabilities: certificate.capabilities,
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    serial: certificate.serial,
    epoch: certificate.epoch,
  })
  decodeCertificate(body)
  return body
}

/**
 * Reads the body of a certificate.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`
 */
export function decodeCertificate(body: Uint8Array): Certificate {
  const bounds = { bytes: body, bytesMax: ENVELOPE_BYTES_MAX }
  const certificate = readDocument('certificate', bounds, (fields) => ({
    network: parseNetworkId(fields.text('network', { max: LABEL_CHARS_MAX })),
    subject: fields.bytes('subject', KEY_BYTES),
    nodeType: fields.oneOf('nodeType', NODE_TYPES),
    roles: readLabels(fields, 'roles'),
    capabilities: readLabels(fields, 'capabilities'),
    notBefore: fields.integer('notBefore', { max: Number.MAX_SAFE_INTEGER }),
    notAfter: fields.integer('notAfter', { max: Number.MAX_SAFE_INTEGER }),
    serial: fields.bytes('serial', SERIAL_BYTES),
    epoch: fields.integer('epoch', { max: ROTATIONS_MAX }),
  }))
  const lifetime = certificate.notAfter - certificate.notBefore
  if (lifetime <= 0 || lifetime > CERTIFICATE_LIFETIME_S_MAX) {
    throw new DocumentError(
      `certificate: a lifetime of ${lifetime} s, not 1 to ${CERTIFICATE_LIFETIME_S_MAX}`,
    )
  }
  return certificate
}

function readLabels(fields: Fields, key: string): readonly string[] {
  const labels = fields.texts(key, { max: LABELS_MAX }, { min: 1, max: LABEL_CHARS_MAX })
  const bad = labels.find((label) => !LABEL.test(label))
  if (bad !== undefined) {
    throw new DocumentError(`certificate: ${JSON.stringify(bad)} in "${key}" is no name`)
  }
  return labels
}

/** Whether a certificate counts at a time, with tolerance for clocks that differ. */
export function validityOf(
  { notBefore, notAfter }: Pick<Certificate, 'notBefore' | 'notAfter'>,
  now: UnixSeconds,
): 'valid' | 'expired' | 'not-yet-valid' {
  if (now < notBefore - CLOCK_SKEW_S) return 'not-yet-valid'
  return now > notAfter + CLOCK_SKEW_S ? 'expired' : 'valid'
}

/** When its holder should ask for the next one: a third of its lifetime has passed. */
export function renewalDueAt({
  notBefore,
  notAfter,
}: Pick<Certificate, 'notBefore' | 'notAfter'>): UnixSeconds {
  return notBefore + Math.ceil((notAfter - notBefore) / RENEWAL_DIVISOR)
}
