import { setTimeout } from 'node:timers/promises'
import { carryOut } from '../carry-out.ts'
import type { MemberStatus, NodeStatus } from '../command.ts'
import { EXIT_NOT_READY, EXIT_OK } from '../constants.ts'
import type { AddCommand, CommandContext } from '../context.ts'
import { exitCodeOf } from '../exit-codes.ts'
import { renderDuration, renderTable } from '../table.ts'
import { integer } from './integer.ts'
import { addNodeOptions, type NodeOptions, pathsOf } from './node-options.ts'

/** Between two looks of `--wait`. */
const LOOK_MS = 200

interface StatusOptions extends NodeOptions {
  readonly wait?: true
  /** Seconds. */
  readonly timeout: number
}

/** Adds `mycelium status` and `mycelium nodes`. */
export const addStatus: AddCommand = (program, act) => {
  addNodeOptions(
    program
      .command('status')
      .description('Tells on one screen how this node and its network are.')
      .option('--wait', 'until the node is ready')
      .option('--timeout <seconds>', 'how long --wait waits', integer(1, 86_400), 60),
  ).action(act(showStatus))
  addNodeOptions(
    program.command('nodes').description('Lists the members of the network that this node knows.'),
  ).action(act(showNodes))
}

async function showStatus(options: StatusOptions, context: CommandContext): Promise<number> {
  const status = await (options.wait ? untilReady(options, context) : look(options, context))
  context.result('mycelium.status/1', status, () => renderStatus(status))
  return status.isReady ? EXIT_OK : EXIT_NOT_READY
}

async function look(options: NodeOptions, { signal }: CommandContext): Promise<NodeStatus> {
  return await carryOut('status', {}, { paths: pathsOf(options), signal })
}

/** Also while no daemon runs yet, or starts. The last answer, or rejection, at the end. */
async function untilReady(options: StatusOptions, context: CommandContext): Promise<NodeStatus> {
  const endMs = performance.now() + options.timeout * 1_000
  for (;;) {
    const isLast = performance.now() >= endMs
    try {
      const status = await look(options, context)
      if (status.isReady || isLast) return status
    } catch (error) {
      context.signal.throwIfAborted()
      if (isLast || exitCodeOf(error) !== EXIT_NOT_READY) throw error
    }
    await setTimeout(LOOK_MS, undefined, { signal: context.signal })
  }
}

function renderStatus(status: NodeStatus): readonly string[] {
  const { networkName, network, node, phase, uptimeMs, rssBytes, listening, members } = status
  const mebibytes = Math.round(rssBytes / 2 ** 20)
  const connected = members.filter(({ isSelf, state }) => !isSelf && state !== 'away').length
  return [
    `network  ${networkName} (${network})`,
    `node     ${node}, ${phase}, up ${renderDuration(uptimeMs)}, ${mebibytes} MiB`,
    `listens  ${listening.join(', ') || 'nowhere'}`,
    `members  ${connected} connected of ${members.length - 1} others`,
    `status   ${status.message}`,
    '',
    ...renderMembers(members),
  ]
}

async function showNodes(options: NodeOptions, context: CommandContext): Promise<number> {
  const { signal } = context
  const { members } = await carryOut('nodes', {}, { paths: pathsOf(options), signal })
  context.result('mycelium.nodes/1', { members }, () => renderMembers(members))
  return EXIT_OK
}

function renderMembers(members: readonly MemberStatus[]): readonly string[] {
  const rows = members.map(({ node, nodeType, isSelf, isAuthority, state, rttMs, message }) => [
    `${node}${isSelf ? ' *' : ''}`,
    nodeType ?? '',
    isAuthority ? 'yes' : '',
    state,
    rttMs === undefined ? '' : `${rttMs.toFixed(1)} ms`,
    message,
  ])
  return renderTable(['NODE', 'TYPE', 'AUTHORITY', 'STATE', 'RTT', 'MESSAGE'], rows)
}
