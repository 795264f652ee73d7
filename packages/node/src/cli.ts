import { setImmediate } from 'node:timers/promises'
import { Command, CommanderError, Option } from 'commander'
import { stringify } from 'yaml'
import { addAudit } from './commands/audit.ts'
import { addCompletion } from './commands/completion.ts'
import { addConfig } from './commands/config.ts'
import { addDemo } from './commands/demo.ts'
import { addDoctor } from './commands/doctor.ts'
import { addDrill } from './commands/drill.ts'
import { addInstall } from './commands/install.ts'
import { addInternal } from './commands/internal.ts'
import { addMembership } from './commands/membership.ts'
import { addStatus } from './commands/status.ts'
import { addSupportBundle } from './commands/support-bundle.ts'
import { addToken } from './commands/token.ts'
import { addUp } from './commands/up.ts'
import { EXIT_FAILED, EXIT_OK, EXIT_SIGNAL_BASE } from './constants.ts'
import type { Act, Action, AddCommand, CommandContext, OutputFormat, Streams } from './context.ts'
import { EndedError, UsageError, type EndCause } from './errors.ts'
import { codeOf, exitCodeOf } from './exit-codes.ts'
import { isServedToItsEnd, untilEnd } from './lifetime.ts'
import { withoutTokens } from './redact.ts'
import { version } from './version.ts'

const COMMANDS: readonly AddCommand[] = [
  addMembership,
  addToken,
  addUp,
  addStatus,
  addAudit,
  addConfig,
  addDoctor,
  addDemo,
  addDrill,
  addSupportBundle,
  addInstall,
  addCompletion,
  addInternal,
]

/** As a shell reports what a signal ended; a reader that left sends SIGPIPE to most programs. */
const EXIT_CODES_ENDED: Readonly<Record<EndCause, number>> = {
  SIGHUP: EXIT_SIGNAL_BASE + 1,
  SIGINT: EXIT_SIGNAL_BASE + 2,
  SIGTERM: EXIT_SIGNAL_BASE + 15,
  'output closed': EXIT_SIGNAL_BASE + 13,
  'output failed': EXIT_FAILED,
  'parent gone': EXIT_FAILED,
}

interface GlobalOptions {
  readonly output: OutputFormat
  readonly verbose?: boolean
}

/**
 * Runs one command line to its end. An error becomes one line on standard error.
 *
 * @param args - without the program's name
 * @returns the exit code: see constants.ts
 */
export async function run(args: readonly string[], streams: Streams): Promise<number> {
  const program = createProgram(streams)
  let exitCode = EXIT_OK
  const act: Act =
    <Options>(action: Action<Options>) =>
    async (...given: readonly unknown[]) => {
      // Commander gives arguments, then options, then the command.
      const options = given.at(-2) as Options
      exitCode = await action(options, createContext(program, streams))
    }
  for (const add of COMMANDS) add(program, act)
  try {
    await program.parseAsync(args, { from: 'user' }).catch((error: unknown) => {
      if (!(error instanceof CommanderError)) throw error
      if (error.exitCode === 0) return // help, version
      // Commander shows its help where a command is missing.
      throw error.code === 'commander.help'
        ? new UsageError('a command is missing; mycelium --help lists them')
        : new UsageError(oneLine(error), { cause: error })
    })
    // What was written last fails a moment later.
    await setImmediate()
    const ended = untilEnd()
    if (ended.aborted && !isServedToItsEnd()) throw ended.reason
    return exitCode
  } catch (error) {
    return report(error, program, streams)
  }
}

function createProgram(streams: Streams): Command {
  return new Command('mycelium')
    .description('Services and virtual machines that survive the death of their host.')
    .version(version())
    .addOption(
      new Option('-o, --output <format>', 'form of the result')
        .choices(['table', 'json', 'yaml'])
        .default('table'),
    )
    .option('--verbose', 'show where an error came from')
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => {
        untilEnd() // notices whether it could be written
        streams.stdout.write(text)
      },
      // The help that is shown in place of an error, and the error: `report` says it in one line.
      writeErr: () => {},
      outputError: () => {},
    })
}

function createContext(program: Command, streams: Streams): CommandContext {
  const { output: format } = program.opts<GlobalOptions>()
  const print = (line: string): void => {
    streams.stdout.write(`${line}\n`)
  }
  const note = (line: string): void => {
    streams.stderr.write(`${line}\n`)
  }
  return {
    result: (schema, value, table) => {
      if (format === 'table') for (const line of table()) print(line)
      else streams.stdout.write(render(format, { schema, ...value }))
    },
    signal: untilEnd(),
    isLive: format === 'table' && process.stdout.isTTY,
    print,
    progress: format === 'table' ? print : note,
  }
}

function render(format: 'json' | 'yaml', value: object): string {
  return format === 'json' ? `${JSON.stringify(value)}\n` : stringify(value)
}

/** A line for people, and under `-o json` an object for programs; the exit code. */
function report(error: unknown, program: Command, streams: Streams): number {
  const { verbose = false, output } = program.opts<Partial<GlobalOptions>>()
  const code = codeOf(error)
  const line = lineOf(error, verbose)
  if (line !== '') streams.stderr.write(`mycelium: ${line}\n`)
  if (output === 'json' || output === 'yaml') {
    const failure = { code, message: oneLine(error) }
    streams.stdout.write(render(output, { schema: 'mycelium.error/1', ok: false, error: failure }))
  }
  if (error instanceof EndedError) return EXIT_CODES_ENDED[error.endedBy]
  return exitCodeOf(error)
}

/** Whoever ended the program knows it. */
function lineOf(error: unknown, verbose: boolean): string {
  if (!(error instanceof EndedError)) return verbose ? trace(error) : oneLine(error)
  return error.endedBy === 'output failed' ? 'cannot write the result' : ''
}

function oneLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return withoutTokens(message)
    .replace(/^error: /, '')
    .replaceAll(/\s*\n\s*/g, ' ')
    .trim()
}

/** With the causes: that is what the option is for. */
function trace(error: unknown): string {
  if (!(error instanceof Error)) return withoutTokens(String(error))
  const cause = error.cause === undefined ? '' : `\ncaused by: ${trace(error.cause)}`
  return `${withoutTokens(error.stack ?? error.message)}${cause}`
}
