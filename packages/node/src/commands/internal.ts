import type { AddCommand } from '../context.ts'
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
    .action(act((_options: object, { signal }) => runHost(signal)))
  internal
    .command('lease-server')
    .exitOverride()
    .requiredOption('--folder <path>')
    .action(
      act(({ folder }: { readonly folder: string }, { signal }) => runLeaseServer(folder, signal)),
    )
}
