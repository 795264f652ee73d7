import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import { tls } from '@libp2p/tls'
import { multiaddr } from '@multiformats/multiaddr'
import { createFabric, createSystemClock, createSystemRandom } from '@mycelium/fabric'
import { createFileStore, unpackIdentity } from '@mycelium/identity'
import type { AbortOptions, Logger } from '@mycelium/interface'
import {
  type Command,
  type CommandInput,
  type CommandName,
  type CommandOptions,
  type CommandResult,
  COMMANDS,
  complaintOf,
} from './command.ts'
import { configOf } from './commands/node-options.ts'
import { UsageError } from './errors.ts'
import { execute } from './execute.ts'
import { createLogger } from './logger.ts'
import { type NodeParts, openNodeParts } from './node-parts.ts'
import type { Paths } from './paths.ts'

const SILENT: Logger = { log: () => {} }

/** Carries out one command without a daemon, in this process. */
export async function executeOffline<Name extends CommandName>(
  name: Name,
  options: CommandOptions<Name>,
  init: { readonly paths: Paths } & AbortOptions,
): Promise<CommandResult<Name>> {
  const { paths, signal } = init
  const { data: input, error } = COMMANDS[name].input.safeParse(options)
  if (error) throw new UsageError(complaintOf(error))
  signal?.throwIfAborted()
  const effective = await configOf(paths)
  if (name === 'identity.restore') {
    await restore(paths, input as CommandInput<'identity.restore'>, signal && { signal })
    // SAFETY: both tell who the node is.
    return (await executeOffline('identity.show', {}, init)) as CommandResult<Name>
  }
  await using parts = await openNodeParts({ logger: SILENT }, { paths, effective })
  const logger = createLogger({ level: 'error', form: 'text', write: () => {}, unixMs: Date.now })
  const executor = {
    parts,
    logger,
    join: (token: string) => joinNetwork(parts, token, signal && { signal }),
    tokenAddresses: () => effective.config.announce,
  }
  // SAFETY: `input` is what the schema of `name` gave.
  return await execute(executor, { name, input } as Extract<Command, { readonly name: Name }>)
}

/** Before anything else is opened, which would make a new identity. */
async function restore(
  { dataFolder }: Paths,
  { backup, passphrase }: CommandInput<'identity.restore'>,
  options: AbortOptions = {},
): Promise<void> {
  await using store = await createFileStore({ folder: join(dataFolder, 'identity') })
  const packed = Uint8Array.from(Buffer.from(backup, 'base64'))
  await unpackIdentity({ store }, { backup: packed, passphrase }, options)
  // What this machine logged as somebody else, under another key, begins no log of this node.
  const audit = join(dataFolder, 'audit')
  await rename(audit, `${audit}-${Date.now()}`).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}

/** With a fabric of its own, which ends when the node is a member. */
async function joinNetwork(
  { membership }: NodeParts,
  token: string,
  options: AbortOptions = {},
): Promise<void> {
  const deps = { clock: createSystemClock(), random: createSystemRandom() }
  await using fabric = createFabric(deps, {
    privateKey: privateKeyFromRaw(membership.nodePrivateKey()),
    connectionEncrypters: [membership.secure(tls())],
    services: { membership: membership.service },
    listen: [],
  })
  await fabric.start(options)
  await membership.join(token, {
    ...options,
    dial: async (address, { signal }) => {
      await fabric.libp2p.dial(multiaddr(address), signal && { signal })
    },
  })
}
