import type { AddCommand } from '../context.ts'

/**
 * Adds `mycelium internal ...`: the roles of child processes that commands start. Hidden, because
 * nobody types them and their options may change at any time.
 */
export const addInternal: AddCommand = (program, act) => {
  const internal = program.command('internal', { hidden: true }).exitOverride()
  void internal
  void act
}
