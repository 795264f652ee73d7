/**
 * Everything that a node keeps of its identity in one file: "MYCELBAK", then canonical CBOR
 * `{version, costLog2, salt, nonce, sealed}`, where `sealed` is AES-256-GCM of records and facts
 * with its tag, under scrypt (RFC 7914; r = 8, p = 1) of the passphrase; all other fields are
 * authenticated with it.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { AbortOptions, Random } from '@mycelium/interface'
import { FACTS_MAX } from './constants.ts'
import { Fields } from './core/fields.ts'
import { BackupForeignError, BackupNotEmptyError, PassphraseWrongError } from './disk-errors.ts'
import { DocumentError } from './errors.ts'
import { COST_LOG2, COST_LOG2_MAX, COST_LOG2_MIN, deriveKey } from './passphrase.ts'
import {
  FACT_BYTES_MAX,
  type IdentityStore,
  RECORD_BYTES_MAX,
  RECORD_NAMES,
  type RecordName,
} from './store.ts'
import { decodeCanonical, encodeCanonical } from './wire.ts'

const MAGIC = Buffer.from('MYCELBAK')
const VERSION = 1
const SALT_BYTES = 16
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Records of at most 1 MiB each, and facts: a network of thousands of nodes has some MiB. */
const BACKUP_BYTES_MAX: number = 2 ** 27

/**
 * Packs what `store` holds. Whoever has the result and the passphrase is this node.
 *
 * @param passphrase - 1..1,024 bytes of UTF-8 after NFKC
 */
export async function packIdentity(
  { store, random }: { readonly store: IdentityStore; readonly random: Random },
  { passphrase }: { readonly passphrase: string },
  options: AbortOptions = {},
): Promise<Uint8Array> {
  const records: Record<string, Uint8Array> = {}
  for (const name of RECORD_NAMES) {
    const bytes = await store.read(name, options)
    if (bytes !== undefined) records[name] = bytes
  }
  const plain = encodeCanonical({ records, facts: await store.facts(options) })
  const salt = random.bytes(SALT_BYTES)
  const nonce = random.bytes(NONCE_BYTES)
  const open = { version: VERSION, costLog2: COST_LOG2, salt, nonce }
  const key = await deriveKey(passphrase, { salt, costLog2: COST_LOG2 }, options)
  try {
    const cipher = createCipheriv('aes-256-gcm', key, nonce)
    cipher.setAAD(encodeCanonical(open))
    const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
    const body = encodeCanonical({ ...open, sealed: Uint8Array.from(sealed) })
    return Uint8Array.from(Buffer.concat([MAGIC, body]))
  } finally {
    key.fill(0)
  }
}

/**
 * Puts what {@link packIdentity} packed into `store`, which must hold no member of a network.
 *
 * @throws {BackupForeignError} no backup, a damaged one, or one of a newer version
 * @throws {PassphraseWrongError} or somebody changed the backup
 * @throws {BackupNotEmptyError} nothing was changed
 */
export async function unpackIdentity(
  { store }: { readonly store: IdentityStore },
  { backup, passphrase }: { readonly backup: Uint8Array; readonly passphrase: string },
  options: AbortOptions = {},
): Promise<void> {
  const { records, facts } = readPlain(await unseal(backup, passphrase, options))
  if ((await store.read('certificate', options)) !== undefined) throw new BackupNotEmptyError()
  await store.replaceFacts(facts, options)
  // The certificate comes last: with it the node is a member.
  const names = RECORD_NAMES.filter((name) => name !== 'certificate')
  for (const name of [...names, 'certificate' as const]) {
    const bytes = records.get(name)
    if (bytes === undefined) await store.remove(name, options)
    else await store.write(name, bytes, options)
  }
}

async function unseal(
  backup: Uint8Array,
  passphrase: string,
  options: AbortOptions,
): Promise<Uint8Array> {
  const file = Buffer.from(backup)
  if (!file.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new BackupForeignError('it does not begin as one')
  }
  const { open, salt, nonce, costLog2, sealed } = readBody(
    Uint8Array.from(file.subarray(MAGIC.length)),
  )
  const key = await deriveKey(passphrase, { salt, costLog2 }, options)
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  const end = sealed.length - TAG_BYTES
  decipher.setAAD(open)
  decipher.setAuthTag(sealed.subarray(end))
  try {
    const start = decipher.update(sealed.subarray(0, end))
    return Uint8Array.from(Buffer.concat([start, decipher.final()]))
  } catch (cause) {
    throw new PassphraseWrongError({ cause })
  } finally {
    key.fill(0)
  }
}

interface Sealed {
  readonly costLog2: number
  readonly salt: Uint8Array
  readonly nonce: Uint8Array
  readonly sealed: Uint8Array
  /** What is authenticated besides. */
  readonly open: Uint8Array
}

function readBody(bytes: Uint8Array): Sealed {
  return asBackup(() => {
    const fields = new Fields('backup', decodeCanonical(bytes, { bytesMax: BACKUP_BYTES_MAX }))
    const version = fields.integer('version', { max: 2 ** 32 })
    if (version !== VERSION) {
      throw new BackupForeignError(`it is of version ${version}, this is for ${VERSION}`)
    }
    const costLog2 = fields.integer('costLog2', { min: COST_LOG2_MIN, max: COST_LOG2_MAX })
    const salt = fields.bytes('salt', SALT_BYTES)
    const nonce = fields.bytes('nonce', NONCE_BYTES)
    const sealed = fields.bytes('sealed', { min: TAG_BYTES, max: BACKUP_BYTES_MAX })
    fields.end()
    const open = encodeCanonical({ version, costLog2, salt, nonce })
    return { open, costLog2, salt, nonce, sealed }
  })
}

interface Plain {
  readonly records: ReadonlyMap<RecordName, Uint8Array>
  readonly facts: readonly Uint8Array[]
}

function readPlain(bytes: Uint8Array): Plain {
  return asBackup(() => {
    const fields = new Fields('backup', decodeCanonical(bytes, { bytesMax: BACKUP_BYTES_MAX }))
    const records = new Map<RecordName, Uint8Array>()
    fields.map('records', (inner) => {
      for (const name of RECORD_NAMES) {
        if (inner.has(name)) records.set(name, inner.bytes(name, { max: RECORD_BYTES_MAX }))
      }
    })
    const facts = fields.list('facts', { max: FACTS_MAX }).map((fact) => {
      if (fact instanceof Uint8Array && fact.length <= FACT_BYTES_MAX) return fact
      throw new BackupForeignError('a fact is none')
    })
    fields.end()
    return { records, facts }
  })
}

function asBackup<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (!(cause instanceof DocumentError)) throw cause
    throw new BackupForeignError(cause.message, { cause })
  }
}
