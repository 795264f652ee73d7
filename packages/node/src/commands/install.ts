import { mkdir, rename, writeFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EXIT_OK } from '../constants.ts'
import type { AddCommand, CommandContext } from '../context.ts'
import { renderUnit } from '../core/systemd-unit.ts'
import { NotReadyError, UsageError } from '../errors.ts'
import { addNodeOptions, type NodeOptions, pathsOf } from './node-options.ts'

const UNIT_PATH = '/etc/systemd/system/mycelium.service'

interface InstallOptions extends NodeOptions {
  readonly systemd?: true
  readonly print?: true
}

/** Adds `mycelium install --systemd`. */
export const addInstall: AddCommand = (program, act) => {
  addNodeOptions(
    program
      .command('install')
      .description('Makes the node start with the machine.')
      .option('--systemd', 'as a unit of systemd')
      .option('--print', 'print the unit instead of writing it'),
  ).action(act(install))
}

async function install(options: InstallOptions, context: CommandContext): Promise<number> {
  if (options.systemd !== true)
    throw new UsageError('install needs --systemd: there is no other way')
  const { dataFolder } = pathsOf(options)
  const unit = renderUnit({ command: commandOf(options), dataFolder })
  if (options.print === true) {
    context.print(unit.trimEnd())
    return EXIT_OK
  }
  await write(UNIT_PATH, unit)
  const next = 'systemctl daemon-reload && systemctl enable --now mycelium'
  context.result('mycelium.install/1', { unit: UNIT_PATH, next }, () => [
    `${UNIT_PATH} is written. To start it: ${next}`,
  ])
  return EXIT_OK
}

/** This program as it runs now. */
function commandOf({ dataDir, configDir }: NodeOptions): readonly string[] {
  const program = fileURLToPath(new URL('bin.js', import.meta.url))
  return [
    process.execPath,
    program,
    'up',
    ...(dataDir === undefined ? [] : ['--data-dir', resolve(dataDir)]),
    ...(configDir === undefined ? [] : ['--config-dir', resolve(configDir)]),
  ]
}

async function write(path: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(`${path}.new`, text, { mode: 0o644 })
    await rename(`${path}.new`, path)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code !== 'EACCES' && code !== 'EROFS') throw cause
    throw new NotReadyError(message, { cause, fix: 'run it as root, or give --print' })
  }
}
