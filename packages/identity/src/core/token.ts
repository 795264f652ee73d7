/** Join tokens: what `mycelium token create` prints, and a new node shows once to get in. */
import type { NodeId } from '@mycelium/interface'
import {
  ADDRESS_CHARS_MAX,
  ISSUER_ADDRESSES_MAX,
  LABEL_CHARS_MAX,
  SERIAL_BYTES,
  TOKEN_CHARS_MAX,
  TOKEN_ISSUERS_MAX,
  TOKEN_SECRET_BYTES,
} from '../constants.ts'
import { DocumentError, NodeIdError, TokenError } from '../errors.ts'
import { bytesOfText, encodeCanonical, textOf } from '../wire.ts'
import { readDocument, readFields, type Fields } from './fields.ts'
import { parseNetworkId, publicKeyOf } from './ids.ts'
import type { Crypto, JoinToken, UnixSeconds } from './model.ts'

/** Version 1. The text is safe in a URL and in a shell. */
const PREFIX = 'myc1_'
const ALPHABET = /^[A-Za-z0-9_-]*$/

/**
 * The text of a token.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`: a field is out of its bounds
 * @throws {RangeError} `token` has so many addresses that its text would be too long
 */
export function encodeToken(token: JoinToken): string {
  const body = encodeCanonical({
    network: token.network,
    tokenId: token.tokenId,
    secret: token.secret,
    expiresAt: token.expiresAt,
    issuers: token.issuers.map(({ node, addresses }) => ({ node, addresses })),
  })
  const text = PREFIX + textOf(body, 'base64url')
  if (text.length > TOKEN_CHARS_MAX) {
    throw new RangeError(`token: ${text.length} characters, ${TOKEN_CHARS_MAX} are allowed`)
  }
  readToken(body)
  return text
}

/**
 * Reads the text of a token; white space around it, and line breaks inside that a mail or a
 * terminal put there, do not matter. Whether it has expired, or is of this network: the caller's.
 *
 * @throws {TokenError} `ERR_IDENTITY_TOKEN`. The message never holds any of the text.
 */
export function decodeToken(text: string): JoinToken {
  if (text.length > 2 * TOKEN_CHARS_MAX) throw new TokenError('the token is too long')
  const compact = text.replaceAll(/\s/g, '')
  if (compact === '') throw new TokenError('there is no token')
  if (!compact.startsWith(PREFIX)) {
    throw new TokenError(`the token does not begin with ${PREFIX}: it is something else, or cut`)
  }
  if (compact.length > TOKEN_CHARS_MAX) throw new TokenError('the token is too long')
  const code = compact.slice(PREFIX.length)
  if (!ALPHABET.test(code)) {
    throw new TokenError('the token has characters that no token has: it was damaged')
  }
  const body = bytesOfText(code, 'base64url', TOKEN_CHARS_MAX)
  try {
    if (body !== undefined) return readToken(body)
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error
  }
  // No cause: it may quote what is secret.
  throw new TokenError('the token is truncated or damaged: copy all of it')
}

function readToken(body: Uint8Array): JoinToken {
  return readDocument('token', { bytes: body, bytesMax: TOKEN_CHARS_MAX }, (fields) => ({
    network: parseNetworkId(fields.text('network', { max: LABEL_CHARS_MAX })),
    tokenId: fields.bytes('tokenId', SERIAL_BYTES),
    secret: fields.bytes('secret', TOKEN_SECRET_BYTES),
    expiresAt: fields.integer('expiresAt', { max: Number.MAX_SAFE_INTEGER }),
    issuers: fields
      .list('issuers', { min: 1, max: TOKEN_ISSUERS_MAX })
      .map((issuer) => readFields('token, issuers', issuer, readIssuer)),
  }))
}

function readIssuer(fields: Fields): JoinToken['issuers'][number] {
  const node = fields.text('node', { max: LABEL_CHARS_MAX })
  try {
    publicKeyOf(node)
  } catch (error) {
    if (!(error instanceof NodeIdError)) throw error
    throw new DocumentError(`token, issuers: ${error.message}`)
  }
  const addresses = fields.list('addresses', { max: ISSUER_ADDRESSES_MAX }).map((address) => {
    if (typeof address === 'string' && address !== '' && address.length <= ADDRESS_CHARS_MAX) {
      return address
    }
    throw new DocumentError('token, issuers: an address is not a short text')
  })
  return { node: node as NodeId, addresses }
}

/** Whether a token can still be used. Its issuer's clock decides in the end. */
export const isTokenExpired = (
  { expiresAt }: Pick<JoinToken, 'expiresAt'>,
  now: UnixSeconds,
): boolean => now >= expiresAt

/** SHA-256 of `mycelium/token/1` and the secret: all that an issuer keeps of it, and the key of the
 * joiner's proof. */
export function tokenKeyOf(crypto: Pick<Crypto, 'sha256'>, secret: Uint8Array): Uint8Array {
  const prefix = new TextEncoder().encode('mycelium/token/1')
  const bytes = new Uint8Array(prefix.byteLength + secret.byteLength)
  bytes.set(prefix)
  bytes.set(secret, prefix.byteLength)
  return crypto.sha256(bytes)
}
