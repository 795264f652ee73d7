import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger, NodeId } from '@mycelium/interface'
import {
  type AuditEntry,
  type AuditLog,
  type AuditSink,
  createAuditLog,
  createFileStore,
  createMembership,
  createSecurityMonitor,
  createSigner,
  type IdentityStore,
  type Membership,
  openKeyFile,
  type SecurityMonitor,
  type Signer,
} from '@mycelium/identity'
import { createSystemClock, createSystemRandom } from '@mycelium/fabric'
import type { EffectiveConfig } from './config.ts'
import type { Paths } from './paths.ts'
import { readSecret } from './secret-source.ts'
import { readStateFile, writeStateFile } from './state-file.ts'

/** The first half of a private key in the form that libp2p takes; the rest is public. */
const SEED_BYTES = 32

/** File of the node key before the last rotation, until the audit log knows of it. */
const FORMER_KEY = 'former-node.key'

/** What a node is made of while no network is near: its identity and its audit log. */
export interface NodeParts extends AsyncDisposable {
  readonly paths: Paths
  readonly effective: EffectiveConfig
  readonly store: IdentityStore
  readonly membership: Membership
  readonly audit: AuditLog
  readonly monitor: SecurityMonitor
  readonly auditFolder: string
}

/**
 * Opens, or makes, the identity in the data folder. One process at a time. Rejects
 * `ERR_IDENTITY_LOCKED` while another has it, and as the store and the audit log do.
 */
export async function openNodeParts(
  deps: { readonly logger: Logger },
  { paths, effective }: { readonly paths: Paths; readonly effective: EffectiveConfig },
): Promise<NodeParts> {
  const { logger } = deps
  const auditFolder = join(paths.dataFolder, 'audit')
  const clock = createSystemClock()
  const random = createSystemRandom()
  await using opened = new AsyncDisposableStack()
  const store = opened.use(await createFileStore({ folder: join(paths.dataFolder, 'identity') }))
  const early = new EarlyAudit()
  const passphrase = await passphraseIn(effective.config.keyPassphraseFile)
  const membership = opened.use(
    await createMembership(
      { store, clock, random, logger, audit: early },
      passphrase === undefined ? {} : { passphrase },
    ),
  )
  const signer = createSigner(membership.nodePrivateKey().subarray(0, SEED_BYTES))
  const bytesMax = effective.config.auditMebibytes * 2 ** 20
  const former = join(paths.dataFolder, FORMER_KEY)
  const formerSigner = await formerSignerIn(former, passphrase)
  const audit = opened.use(
    await createAuditLog(
      { clock, random, signer, logger, ...(formerSigner && { formerSigner }) },
      { folder: auditFolder, bytesMax },
    ),
  )
  if (formerSigner) await rm(former)
  const monitor = createSecurityMonitor({ clock, audit })
  early.openedAs(monitor)
  const ends = opened.move()
  return {
    paths,
    effective,
    store,
    membership,
    audit,
    monitor,
    auditFolder,
    [Symbol.asyncDispose]: async () => {
      monitor.stop()
      await ends.disposeAsync()
    },
  }
}

/**
 * Gives the node a new key, from the next opening on. The old one stays beside the identity until
 * then: the audit log is handed on by the key that has signed it so far.
 */
export async function rotateNodeKey({ paths, store, membership }: NodeParts): Promise<NodeId> {
  const key = await store.read('node-key')
  if (key) await writeStateFile(join(paths.dataFolder, FORMER_KEY), key)
  return await membership.rotateNodeKey()
}

async function formerSignerIn(
  path: string,
  passphrase: string | undefined,
): Promise<Signer | undefined> {
  const bytes = await readStateFile(path)
  if (bytes === undefined) return undefined
  const { seed } = await openKeyFile(bytes, { kind: 'node-key', passphrase })
  return createSigner(seed)
}

async function passphraseIn(file: string): Promise<string | undefined> {
  if (file === '') return undefined
  const init = { what: 'passphrase of the keys', flag: 'keyPassphraseFile', file, variable: '' }
  return (await readSecret(init, {})).reveal()
}

/** Takes entries until the log is open, which needs the key of the membership. */
class EarlyAudit implements AuditSink {
  #sink: AuditSink | undefined
  #waiting: AuditEntry[] = []

  append(entry: AuditEntry): void {
    if (this.#sink) this.#sink.append(entry)
    else this.#waiting.push(entry)
  }

  openedAs(sink: AuditSink): void {
    this.#sink = sink
    for (const entry of this.#waiting.splice(0)) sink.append(entry)
  }
}
