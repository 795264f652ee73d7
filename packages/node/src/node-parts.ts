import { join } from 'node:path'
import type { Logger } from '@mycelium/interface'
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
  type SecurityMonitor,
} from '@mycelium/identity'
import { createSystemClock, createSystemRandom } from '@mycelium/fabric'
import type { EffectiveConfig } from './config.ts'
import type { Paths } from './paths.ts'
import { readSecret } from './secret-source.ts'

/** The first half of a private key in the form that libp2p takes; the rest is public. */
const SEED_BYTES = 32

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
  const audit = opened.use(
    await createAuditLog({ clock, random, signer, logger }, { folder: auditFolder, bytesMax }),
  )
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
