import type { Action, AddCommand } from '../context.ts'

/**
 * Adds `mycelium internal ...`: the roles of child processes that commands start. Hidden, because
 * nobody types them and their options may change at any time.
 */
export const addInternal: AddCommand = (program, act) => {
  const internal = program.command('internal', { hidden: true }).exitOverride()
  internal
    .command('host')
    .exitOverride()
    .action(
      act(
        asChild(async (_options: object, { signal }) => {
          const { runHost } = await import('../internal/host.ts')
          return await runHost(signal)
        }),
      ),
    )
  internal
    .command('lease-server')
    .exitOverride()
    .requiredOption('--folder <path>')
    .action(
      act(
        asChild(async ({ folder }: { readonly folder: string }, { signal }) => {
          const { runLeaseServer } = await import('../internal/lease-server.ts')
          return await runLeaseServer(folder, signal)
        }),
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
