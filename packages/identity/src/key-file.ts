/**
 * The file of a private key: "MYCELKEY", 32 bytes of SHA-256 over the rest, canonical CBOR.
 *
 * Plain: `{version, kind, publicKey, seed}`. With a passphrase: `{version, kind, publicKey,
 * costLog2, salt, nonce, sealed}`, where `sealed` is AES-256-GCM of the seed with its tag, under
 * scrypt (RFC 7914; r = 8, p = 1) of the passphrase; all other fields are authenticated with it.
 * The checksum tells damage from a wrong passphrase; it proves nothing against who can write there.
 */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto'
import type { AbortOptions, Random } from '@mycelium/interface'
import { KEY_BYTES } from './constants.ts'
import { Fields } from './core/fields.ts'
import {
  KeyFileDamagedError,
  KeyFileForeignError,
  PassphraseMissingError,
  PassphraseWrongError,
} from './disk-errors.ts'
import { createSigner } from './ed25519.ts'
import { DocumentError } from './errors.ts'
import { COST_LOG2, COST_LOG2_MAX, COST_LOG2_MIN, deriveKey } from './passphrase.ts'
import { areEqual, decodeCanonical, encodeCanonical } from './wire.ts'

const MAGIC = Buffer.from('MYCELKEY')
const HEAD_BYTES = MAGIC.length + 32
const VERSION = 1
/** A key file has 150 to 300 bytes. */
const KEY_FILE_BYTES_MAX = 1024
const SALT_BYTES = 16
const NONCE_BYTES = 12
const TAG_BYTES = 16

export type KeyKind = 'node-key' | 'network-key'
const KINDS: readonly KeyKind[] = ['node-key', 'network-key']

export interface SealKeyInit {
  readonly kind: KeyKind
  /** 32 bytes (RFC 8032). */
  readonly seed: Uint8Array
  /** 1..1,024 bytes of UTF-8 after NFKC, so that every keyboard types the same. */
  readonly passphrase?: string | undefined
  /**
   * Logarithm of scrypt's N, 14..20. One more doubles time and memory, of opening as of guessing.
   *
   * @default 17
   */
  readonly costLog2?: number
}

export interface KeyFileInfo {
  readonly kind: KeyKind
  readonly publicKey: Uint8Array
  /** Its passphrase is needed. */
  readonly isSealed: boolean
}

export interface OpenedKey extends KeyFileInfo {
  /** 32 bytes; the caller's. */
  readonly seed: Uint8Array
}

/**
 * @returns the bytes of the file; with a passphrase, only its holder reads the seed
 * @throws {RangeError} a length or cost out of bounds
 */
export async function sealKeyFile(
  { random }: { readonly random: Random },
  { kind, seed, passphrase, costLog2 = COST_LOG2 }: SealKeyInit,
  options: AbortOptions = {},
): Promise<Uint8Array> {
  const { publicKey } = createSigner(seed)
  if (passphrase === undefined) return sealFile({ version: VERSION, kind, publicKey, seed })
  if (!isCost(costLog2)) {
    throw new RangeError(`costLog2: must be ${COST_LOG2_MIN}..${COST_LOG2_MAX} (got ${costLog2})`)
  }
  const salt = random.bytes(SALT_BYTES)
  const nonce = random.bytes(NONCE_BYTES)
  const open = { version: VERSION, kind, publicKey, costLog2, salt, nonce }
  const key = await deriveKey(passphrase, { salt, costLog2 }, options)
  try {
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    cipher.setAAD(encodeCanonical(open))
    const sealed = Buffer.concat([cipher.update(seed), cipher.final(), cipher.getAuthTag()])
    return sealFile({ ...open, sealed: Uint8Array.from(sealed) })
  } finally {
    key.fill(0)
  }
}

/**
 * What a key file says without its passphrase.
 *
 * @throws {KeyFileForeignError}
 * @throws {KeyFileDamagedError}
 */
export function describeKeyFile(bytes: Uint8Array): KeyFileInfo {
  const { kind, publicKey, secret } = readFile(bytes)
  return { kind, publicKey, isSealed: 'sealed' in secret }
}

/**
 * @param init - `passphrase` is not looked at if the file is not encrypted: see `isSealed`
 * @throws {KeyFileForeignError} no key file, one of another kind, or of a newer version
 * @throws {KeyFileDamagedError}
 * @throws {PassphraseMissingError}
 * @throws {PassphraseWrongError}
 */
export async function openKeyFile(
  bytes: Uint8Array,
  init: { readonly kind: KeyKind; readonly passphrase?: string | undefined },
  options: AbortOptions = {},
): Promise<OpenedKey> {
  const { kind, publicKey, secret } = readFile(bytes)
  if (kind !== init.kind) throw new KeyFileForeignError(`a ${kind}, not a ${init.kind}`)
  const isSealed = 'sealed' in secret
  const seed = isSealed ? await unseal(secret, init.passphrase, options) : secret.seed
  if (!areEqual(createSigner(seed).publicKey, publicKey)) {
    throw new KeyFileDamagedError('its public key is not that of its private key')
  }
  return { kind, publicKey, isSealed, seed }
}

interface Sealed {
  readonly costLog2: number
  readonly salt: Uint8Array
  readonly nonce: Uint8Array
  readonly sealed: Uint8Array
  /** What is authenticated besides. */
  readonly open: Uint8Array
}

interface KeyFile {
  readonly kind: KeyKind
  readonly publicKey: Uint8Array
  readonly secret: { readonly seed: Uint8Array } | Sealed
}

async function unseal(
  { costLog2, salt, nonce, sealed, open }: Sealed,
  passphrase: string | undefined,
  options: AbortOptions,
): Promise<Uint8Array> {
  if (passphrase === undefined) throw new PassphraseMissingError()
  const key = await deriveKey(passphrase, { salt, costLog2 }, options)
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(open)
  decipher.setAuthTag(sealed.subarray(KEY_BYTES))
  try {
    const start = decipher.update(sealed.subarray(0, KEY_BYTES))
    return Uint8Array.from(Buffer.concat([start, decipher.final()]))
  } catch (cause) {
    throw new PassphraseWrongError({ cause })
  } finally {
    key.fill(0)
  }
}

function readFile(bytes: Uint8Array): KeyFile {
  const file = Buffer.from(bytes)
  if (file.length < HEAD_BYTES || !file.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new KeyFileForeignError('no key file of Mycelium')
  }
  const body = file.subarray(HEAD_BYTES)
  if (!digest(body).equals(file.subarray(MAGIC.length, HEAD_BYTES))) {
    throw new KeyFileDamagedError('its checksum is wrong')
  }
  try {
    const value = decodeCanonical(Uint8Array.from(body), { bytesMax: KEY_FILE_BYTES_MAX })
    return readBody(new Fields('key file', value))
  } catch (cause) {
    if (!(cause instanceof DocumentError)) throw cause
    throw new KeyFileForeignError(cause.message, { cause })
  }
}

function readBody(fields: Fields): KeyFile {
  const version = fields.integer('version', { max: 2 ** 32 })
  if (version !== VERSION) {
    throw new KeyFileForeignError(`a key file of version ${version}, this is for ${VERSION}`)
  }
  const kind = fields.oneOf('kind', KINDS)
  const publicKey = fields.bytes('publicKey', KEY_BYTES)
  if (fields.has('seed')) {
    const seed = fields.bytes('seed', KEY_BYTES)
    fields.end()
    return { kind, publicKey, secret: { seed } }
  }
  const costLog2 = fields.integer('costLog2', { min: COST_LOG2_MIN, max: COST_LOG2_MAX })
  const salt = fields.bytes('salt', SALT_BYTES)
  const nonce = fields.bytes('nonce', NONCE_BYTES)
  const sealed = fields.bytes('sealed', KEY_BYTES + TAG_BYTES)
  fields.end()
  const open = encodeCanonical({ version, kind, publicKey, costLog2, salt, nonce })
  return { kind, publicKey, secret: { costLog2, salt, nonce, sealed, open } }
}

function sealFile(fields: Parameters<typeof encodeCanonical>[0]): Uint8Array {
  const body = encodeCanonical(fields)
  return Uint8Array.from(Buffer.concat([MAGIC, digest(body), body]))
}

function digest(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest()
}

function isCost(costLog2: number): boolean {
  return Number.isInteger(costLog2) && costLog2 >= COST_LOG2_MIN && costLog2 <= COST_LOG2_MAX
}
