import type { Action, AddCommand } from '../context.ts'
import { runHost } from '../internal/host.ts'
import { runLeaseServer } from '../internal/lease-server.ts'

/**
 * Adds `mycelium internal ...`: the roles of child processes that commands start. Hidden, because
 * nobody types them and their options may change at any time.
 */
export const addInternal: AddCommand = (program, act) => {
  const internal = program.command('internal', { hidden: true }).exitOverride()
  internal
    .command('host')
    .exitOverride()
    .action(act(asChild((_options: object, { signal }) => runHost(signal))))
  internal
    .command('lease-server')
    .exitOverride()
    .requiredOption('--folder <path>')
    .action(
      act(
        asChild(({ folder }: { readonly folder: string }, { signal }) =>
          runLeaseServer(folder, signal),
        ),
      ),
    )
}

/** However the role ends: the channel to the parent would keep the process alive. */
function asChild<Options>(action: Action<Options>): Action<Options> {
  return async (options, context) => {
    try {
      return await action(options, context)
    } finally {
      if (process.connected) process.disconnect()
    }
  }
}
