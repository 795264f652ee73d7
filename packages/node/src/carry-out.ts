import type { AbortOptions } from '@mycelium/interface'
import { command } from './admin/client.ts'
import { COMMANDS, type CommandName, type CommandOptions, type CommandResult } from './command.ts'
import { AlreadyRunningError } from './errors.ts'
import type { Paths } from './paths.ts'

/**
 * Has a command carried out: by the daemon if one runs, or by this process if that may be. Rejects
 * as the command does, `ERR_NODE_NOT_RUNNING` if it needs a daemon, `ERR_NODE_ALREADY_RUNNING` if
 * there must be none.
 */
export async function carryOut<Name extends CommandName>(
  name: Name,
  input: CommandOptions<Name>,
  init: { readonly paths: Paths } & AbortOptions,
): Promise<CommandResult<Name>> {
  const { paths, signal } = init
  const { where } = COMMANDS[name]
  const options = signal && { signal }
  if (where === 'daemon') return await command(paths.socket, name, input, options)
  if (where === 'either') {
    try {
      return await command(paths.socket, name, input, options)
    } catch (error) {
      if (!isNotRunning(error)) throw error
    }
  } else if (await isRunning(paths.socket, options)) {
    throw new AlreadyRunningError(paths.socket)
  }
  // Libp2p and what else a node is made of: not for who only asks a daemon.
  const { executeOffline } = await import('./offline.ts')
  return await executeOffline(name, input, init)
}

async function isRunning(socket: string, options: AbortOptions | undefined): Promise<boolean> {
  try {
    await command(socket, 'log.level', {}, options)
    return true
  } catch (error) {
    return !isNotRunning(error)
  }
}

function isNotRunning(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_NODE_NOT_RUNNING'
}
