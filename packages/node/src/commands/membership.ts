import { readFile } from 'node:fs/promises'
import { Option } from 'commander'
import { carryOut } from '../carry-out.ts'
import { type CommandResult, NODE_TYPES, type NodeTypeName } from '../command.ts'
import { EXIT_OK } from '../constants.ts'
import type { AddCommand, CommandContext } from '../context.ts'
import { UsageError } from '../errors.ts'
import { writeNewFile } from '../new-file.ts'
import { readSecret, type SecretInit } from '../secret-source.ts'
import { integer } from './integer.ts'
import { addNodeOptions, type NodeOptions, pathsOf } from './node-options.ts'

interface InitOptions extends NodeOptions {
  readonly name: string
  readonly type: NodeTypeName
  readonly authorityThreshold: number
}

interface JoinOptions extends NodeOptions {
  readonly tokenFile?: string
}

interface RevokeOptions extends NodeOptions {
  readonly reason: 'left' | 'removed' | 'compromised'
}

interface BackupOptions extends NodeOptions {
  readonly passphraseFile?: string
}

interface RotateOptions extends NodeOptions {
  readonly what: 'certificate' | 'node-key' | 'network-key' | 'isolation-key'
}

/** Adds `mycelium init`, `join`, `leave`, `revoke` and `identity`. */
export const addMembership: AddCommand = (program, act) => {
  addNodeOptions(
    program
      .command('init')
      .description('Creates a network with this node as its first member.')
      .requiredOption('--name <name>', 'of the network, for people')
      .addOption(
        new Option('--type <type>', 'of this node')
          .choices(NODE_TYPES)
          .default('sclerotium-dedicated'),
      )
      .option(
        '--authority-threshold <count>',
        'how many authorities must sign what admits a node',
        integer(1, 16),
        1,
      ),
  ).action(act(init))
  const join = addNodeOptions(
    program
      .command('join')
      .description('Makes this node a member of the network that issued a token.')
      .option('--token-file <file>', 'where the token stands; - for standard input')
      .argument('[token]'),
  )
  join.action(
    act(async (options: JoinOptions, context) => {
      if (join.args.length > 0) {
        throw new UsageError(
          'a token must not be an argument, which everybody on this machine can read: give ' +
            '--token-file FILE, or --token-file - for standard input',
        )
      }
      return await joinNetwork(options, context)
    }),
  )
  addNodeOptions(program.command('leave').description('Ends the membership of this node.')).action(
    act(leave),
  )
  addRevoke(program, act)
  addIdentity(program, act)
}

const addRevoke: AddCommand = (program, act) => {
  const command = addNodeOptions(
    program
      .command('revoke')
      .description('Ends the membership of a node, everywhere.')
      .argument('<node>', 'its id, as nodes shows it')
      .addOption(
        new Option('--reason <reason>', 'compromised also changes the isolation key')
          .choices(['left', 'removed', 'compromised'])
          .default('removed'),
      ),
  )
  command.action(
    act(async (options: RevokeOptions, context) => {
      const [node = ''] = command.args
      const { signal } = context
      const input = { node, reason: options.reason }
      const init = { paths: pathsOf(options), signal }
      const { members } = await carryOut('nodes', {}, init)
      await carryOut('revoke', input, init)
      // Not refused: a node may be revoked that this one has not met.
      const wasKnown = members.some((member) => member.node === node)
      context.result('mycelium.revoke/1', { ...input, wasKnown }, () => [
        wasKnown
          ? `${node} is a member no more`
          : `${node} will be let in nowhere; no such member was known here: look at its id again`,
      ])
      return EXIT_OK
    }),
  )
}

const addIdentity: AddCommand = (program, act) => {
  const identity = program.command('identity').description('Who this node is.')
  addNodeOptions(identity.command('show').description('Tells who this node is.')).action(
    act(async (options: NodeOptions, context) => {
      const { signal } = context
      return show(await carryOut('identity.show', {}, { paths: pathsOf(options), signal }), context)
    }),
  )
  addNodeOptions(
    identity
      .command('rotate')
      .description('Gives this node a new certificate or key, or the network a new key.')
      .addOption(
        new Option('--what <key>', 'which')
          .choices(['certificate', 'node-key', 'network-key', 'isolation-key'])
          .default('certificate'),
      ),
  ).action(
    act(async ({ what, ...options }: RotateOptions, context) => {
      const { signal } = context
      const paths = pathsOf(options)
      return show(await carryOut('identity.rotate', { what }, { paths, signal }), context)
    }),
  )
  addBackup(identity, act)
}

const addBackup: AddCommand = (identity, act) => {
  const backup = addNodeOptions(
    identity
      .command('backup')
      .description('Writes the identity of this node to a file, encrypted with a passphrase.')
      .option('--passphrase-file <file>', 'where the passphrase stands; - for standard input')
      .argument('<file>', 'must not exist yet'),
  )
  backup.action(
    act(async (options: BackupOptions, context) => {
      const [file = ''] = backup.args
      const { signal } = context
      const passphrase = (await readSecret(passphraseOf(options), context)).reveal()
      const paths = pathsOf(options)
      await writeNewFile(file, async () => {
        const result = await carryOut('identity.backup', { passphrase }, { paths, signal })
        return Buffer.from(result.backup, 'base64')
      })
      context.result('mycelium.identity.backup/1', { file }, () => [`${file} is written`])
      return EXIT_OK
    }),
  )
  const restore = addNodeOptions(
    identity
      .command('restore')
      .description('Makes this node who a backup says.')
      .option('--passphrase-file <file>', 'where the passphrase stands; - for standard input')
      .argument('<file>', 'of identity backup'),
  )
  restore.action(
    act(async (options: BackupOptions, context) => {
      const [file = ''] = restore.args
      const { signal } = context
      const packed = await readFile(file, 'base64').catch((cause: unknown) => {
        throw new UsageError(`the backup cannot be read: ${(cause as Error).message}`, { cause })
      })
      const passphrase = (await readSecret(passphraseOf(options), context)).reveal()
      const input = { passphrase, backup: packed }
      const paths = pathsOf(options)
      return show(await carryOut('identity.restore', input, { paths, signal }), context)
    }),
  )
}

function passphraseOf({ passphraseFile: file }: BackupOptions): SecretInit {
  return {
    what: 'passphrase',
    flag: '--passphrase-file',
    file,
    variable: 'MYCELIUM_PASSPHRASE_FILE',
  }
}

async function init(options: InitOptions, context: CommandContext): Promise<number> {
  const { name, type: nodeType, authorityThreshold } = options
  const { signal } = context
  if (authorityThreshold > 1) {
    throw new UsageError(
      `--authority-threshold ${authorityThreshold} needs as many founders, and init has one: ` +
        'nobody could ever be admitted',
    )
  }
  const input = { name, nodeType, authorityThreshold }
  return show(await carryOut('init', input, { paths: pathsOf(options), signal }), context)
}

async function joinNetwork(options: JoinOptions, context: CommandContext): Promise<number> {
  const { signal } = context
  const token = await readSecret(
    {
      what: 'token',
      flag: '--token-file',
      file: options.tokenFile,
      variable: 'MYCELIUM_TOKEN_FILE',
    },
    context,
  )
  const paths = pathsOf(options)
  return show(await carryOut('join', { token: token.reveal() }, { paths, signal }), context)
}

async function leave(options: NodeOptions, context: CommandContext): Promise<number> {
  const { signal } = context
  await carryOut('leave', {}, { paths: pathsOf(options), signal })
  context.result('mycelium.leave/1', {}, () => ['this node is a member no more'])
  return EXIT_OK
}

type Identity = CommandResult<'identity.rotate'>

function show(identity: Identity, context: CommandContext): number {
  context.result('mycelium.identity/1', identity, () => renderIdentity(identity))
  return EXIT_OK
}

function renderIdentity(identity: Identity): readonly string[] {
  const { node, network, networkName, nodeType, roles = [], certificateUntil } = identity
  if (network === undefined) return [`node     ${node}`, 'network  none: mycelium init, or join']
  const until =
    certificateUntil === undefined ? '' : new Date(certificateUntil * 1_000).toISOString()
  return [
    `node     ${node}${identity.isAuthority ? ', an authority' : ''}`,
    `network  ${networkName ?? ''} (${network})`,
    `type     ${nodeType ?? ''}${roles.length > 0 ? `, ${roles.join(', ')}` : ''}`,
    `member   until ${until}, then renewed`,
    ...(identity.nextNode === undefined
      ? []
      : [`next     ${identity.nextNode}: from the next start of the node on`]),
  ]
}
