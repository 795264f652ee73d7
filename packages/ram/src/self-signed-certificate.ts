import { createHash, generateKeyPairSync, randomBytes, sign, X509Certificate } from 'node:crypto'

/** What a node shows to its peers, and the key that proves it is its own. */
export interface NodeCertificate {
  /** PEM. Public. */
  readonly certificate: string
  /** PEM, PKCS #8. Secret. */
  readonly privateKey: string
  /** SHA-256 of the public key: what peers pin. 64 hexadecimal digits. */
  readonly fingerprint: string
}

const SEQUENCE = 0x30
const SET = 0x31
const INTEGER = 0x02
const BIT_STRING = 0x03
const UTF8_STRING = 0x0c
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
/** `[0]` around the version. */
const CONTEXT_0 = 0xa0
const SERIAL_BYTES = 16
const COMMON_NAME_BYTES_MAX = 64

/** AlgorithmIdentifier of Ed25519 (RFC 8410, section 3): OID 1.3.101.112 without parameters. */
const ED25519 = Buffer.from('300506032b6570', 'hex')
/** OID 2.5.4.3, commonName. */
const COMMON_NAME = Buffer.from('0603550403', 'hex')

/**
 * A new Ed25519 key with a certificate of its own, without end and without extensions (RFC 5280):
 * peers pin the key, so nothing in the certificate is believed.
 *
 * @throws {RangeError} `name` has not 1 to 64 bytes
 */
export function createNodeCertificate(name: string): NodeCertificate {
  const nameBytes = Buffer.byteLength(name)
  if (nameBytes < 1 || nameBytes > COMMON_NAME_BYTES_MAX) {
    throw new RangeError(`name must have 1..${COMMON_NAME_BYTES_MAX} bytes, got ${nameBytes}`)
  }
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const distinguishedName = der(
    SEQUENCE,
    der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, Buffer.from(name)))),
  )
  const serial = randomBytes(SERIAL_BYTES)
  serial.writeUInt8((serial.readUInt8(0) & 0x3f) | 0x40, 0) // positive and of full length
  const body = der(
    SEQUENCE,
    der(CONTEXT_0, der(INTEGER, Buffer.of(2))),
    der(INTEGER, serial),
    ED25519,
    distinguishedName,
    // Section 4.1.2.5: the last value means that there is no end. No clock is needed.
    der(
      SEQUENCE,
      der(UTC_TIME, Buffer.from('000101000000Z')),
      der(GENERALIZED_TIME, Buffer.from('99991231235959Z')),
    ),
    distinguishedName,
    spki,
  )
  const signature = der(BIT_STRING, Buffer.of(0), sign(null, body, privateKey))
  const certificate = pem('CERTIFICATE', der(SEQUENCE, body, ED25519, signature))
  return {
    certificate,
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    fingerprint: fingerprintOf(new X509Certificate(certificate)),
  }
}

/** SHA-256 of the public key (SubjectPublicKeyInfo, DER), so that a new certificate may keep it. */
export function fingerprintOf(certificate: X509Certificate): string {
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(spki).digest('hex')
}

/** One DER element (X.690): tag, length, content. */
function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  const { byteLength } = content
  if (byteLength < 0x80) return Buffer.concat([Buffer.of(tag, byteLength), content])
  const hex = byteLength.toString(16)
  const length = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  return Buffer.concat([Buffer.of(tag, 0x80 | length.byteLength), length, content])
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n')
}
