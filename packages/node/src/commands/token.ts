import { Option } from 'commander'
import { checkAddress } from '../addresses.ts'
import { carryOut } from '../carry-out.ts'
import { EXIT_OK } from '../constants.ts'
import type { AddCommand, CommandContext } from '../context.ts'
import { NODE_TYPES, type NodeTypeName } from '../command.ts'
import { renderTable } from '../table.ts'
import { duration } from './integer.ts'
import { addNodeOptions, type NodeOptions, pathsOf } from './node-options.ts'

/** Of a token: who needs longer makes another one. */
export const TTL_SECONDS_MAX = 2_592_000
const HOUR_SECONDS = 3_600

interface CreateOptions extends NodeOptions {
  readonly ttl: number
  readonly type: NodeTypeName
  readonly role: string[]
  readonly address: string[]
}

const collect = (text: string, before: string[]): string[] => [...before, text]

/** Adds `mycelium token create|list|revoke`. */
export const addToken: AddCommand = (program, act) => {
  const token = program.command('token').description('Tokens with which nodes join.')
  addNodeOptions(
    token
      .command('create')
      .description('Prints a token with which one node may join, once.')
      .option(
        '--ttl <time>',
        'how long it may be used, as 30m or 2d',
        duration(TTL_SECONDS_MAX),
        HOUR_SECONDS,
      )
      .addOption(
        new Option('--type <type>', 'of the node that joins')
          .choices(NODE_TYPES)
          .default('sclerotium-dedicated'),
      )
      .option('--role <role>', 'that it gets; may be given several times', collect, [])
      .option(
        '--address <multiaddr>',
        'where it finds this node; may be given several times (default: where this node listens)',
        collect,
        [],
      ),
  ).action(act(create))
  addNodeOptions(
    token.command('list').description('Lists the tokens of this node, without their secrets.'),
  ).action(act(list))
  const revoke = addNodeOptions(
    token
      .command('revoke')
      .description('Takes back a token that was not used.')
      .argument('<id>', 'as token list shows it'),
  )
  revoke.action(
    act(async (options: NodeOptions, context) => {
      const [tokenId = ''] = revoke.args
      const { signal } = context
      await carryOut('token.revoke', { tokenId }, { paths: pathsOf(options), signal })
      context.result('mycelium.token.revoke/1', { tokenId }, () => [`token ${tokenId} is revoked`])
      return EXIT_OK
    }),
  )
}

/** The token alone on standard output: it goes into a file or a pipe. */
async function create(options: CreateOptions, context: CommandContext): Promise<number> {
  const { ttl: ttlSeconds, type: nodeType, role: roles, address: addresses } = options
  const { signal } = context
  for (const address of addresses) checkAddress(address, '--address')
  const input = { ttlSeconds, nodeType, roles, addresses }
  const result = await carryOut('token.create', input, { paths: pathsOf(options), signal })
  context.result('mycelium.token.create/1', result, () => [result.token])
  return EXIT_OK
}

async function list(options: NodeOptions, context: CommandContext): Promise<number> {
  const { signal } = context
  const { tokens } = await carryOut('token.list', {}, { paths: pathsOf(options), signal })
  context.result('mycelium.token.list/1', { tokens }, () =>
    renderTable(
      ['ID', 'TYPE', 'ROLES', 'EXPIRES', 'STATE'],
      tokens.map(({ tokenId, nodeType, roles, expiresAt, state }) => [
        tokenId,
        nodeType,
        roles.join(','),
        new Date(expiresAt * 1_000).toISOString(),
        state,
      ]),
    ),
  )
  return EXIT_OK
}
