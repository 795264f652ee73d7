import { Argument, type Command } from 'commander'
import { EXIT_OK } from '../constants.ts'
import type { AddCommand } from '../context.ts'
import { type CommandTree, renderCompletion, type Shell } from '../core/completion.ts'

const NAMES = ['mycelium', 'myc']

/** Adds `mycelium completion SHELL`. */
export const addCompletion: AddCommand = (program, act) => {
  const command = program
    .command('completion')
    .description('Prints a script by which a shell completes commands and options.')
    .addArgument(new Argument('<shell>', 'which').choices(['bash', 'zsh', 'fish']))
  command.action(
    act((_options: object, { print }) => {
      const [shell = 'bash'] = command.args
      // SAFETY: commander took one of the choices.
      print(renderCompletion(shell as Shell, treeOf(program), NAMES).trimEnd())
      return Promise.resolve(EXIT_OK)
    }),
  )
}

function treeOf(command: Command): CommandTree {
  const help = command.createHelp()
  return {
    name: command.name(),
    summary: command.description(),
    options: help.visibleOptions(command).flatMap(({ long }) => (long == null ? [] : [long])),
    commands: help
      .visibleCommands(command)
      .filter((one) => one.name() !== 'help')
      .map(treeOf),
  }
}
