import { Option } from 'commander'
import { checkConfigAddresses } from '../addresses.ts'
import { carryOut } from '../carry-out.ts'
import { EXIT_OK } from '../constants.ts'
import type { AddCommand } from '../context.ts'
import { LOG_LEVELS, type LogLevel } from '../logger.ts'
import { renderTable } from '../table.ts'
import { addNodeOptions, configOf, type NodeOptions, pathsOf } from './node-options.ts'

interface ShowOptions extends NodeOptions {
  readonly effective?: true
}

interface LogOptions extends NodeOptions {
  readonly level?: LogLevel
}

/** Adds `mycelium config show|validate` and `mycelium log`. */
export const addConfig: AddCommand = (program, act) => {
  const config = program.command('config').description('How this node is configured.')
  addNodeOptions(
    config
      .command('show')
      .description('Tells what files, environment and defaults say.')
      .option('--effective', 'what the running daemon goes by, with its flags'),
  ).action(
    act(async ({ effective, ...options }: ShowOptions, { signal, result }) => {
      const paths = pathsOf(options)
      const values = effective
        ? (await carryOut('config.show', {}, { paths, signal })).values
        : await valuesOf(options)
      result('mycelium.config.show/1', { values }, () =>
        renderTable(
          ['KEY', 'VALUE', 'SOURCE'],
          values.map(({ key, value, source }) => [key, JSON.stringify(value) ?? '', source]),
        ),
      )
      return EXIT_OK
    }),
  )
  addNodeOptions(
    config.command('validate').description('Checks the configuration; prints what is wrong.'),
  ).action(
    act(async (options: NodeOptions, { result }) => {
      const { configFolder } = pathsOf(options)
      checkConfigAddresses(await configOf(pathsOf(options)))
      result('mycelium.config.validate/1', { ok: true, folder: configFolder }, () => [
        `the configuration in ${configFolder} is valid`,
      ])
      return EXIT_OK
    }),
  )
  addNodeOptions(
    program
      .command('log')
      .description('Tells or changes what the running daemon logs.')
      .addOption(new Option('--level <level>', 'from now on').choices(LOG_LEVELS)),
  ).action(
    act(async ({ level, ...options }: LogOptions, { signal, result }) => {
      const input = level === undefined ? {} : { level }
      const now = await carryOut('log.level', input, { paths: pathsOf(options), signal })
      result('mycelium.log/1', now, () => [`the daemon logs from level ${now.level} on`])
      return EXIT_OK
    }),
  )
}

async function valuesOf(options: NodeOptions) {
  const { config, sources } = await configOf(pathsOf(options))
  return Object.entries(config).map(([key, value]) => ({
    key,
    value,
    source: sources[key as keyof typeof sources],
  }))
}
