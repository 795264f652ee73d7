import type { Command } from 'commander'

/** What `--output` can be. */
export type OutputFormat = 'table' | 'json' | 'yaml'

/** What the command line needs of its process; `process` fits. */
export interface Streams {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
}

/** What each command gets beside its own options. */
export interface CommandContext {
  /** Aborts when the program is to end: see `untilEnd`. */
  readonly signal: AbortSignal
  /** Is somebody looking, so that lines may be redrawn? False without a terminal. */
  readonly isLive: boolean
  /** A line of the result, on standard output. */
  print(line: string): void
  /**
   * What the command found, at its end: as `--output` says, the object for programs (`schema` names
   * its shape and version) or the lines of `table` for people.
   */
  result(schema: string, value: object, table: () => readonly string[]): void
  /** A line about the way there: on standard output, on standard error if a program reads that. */
  progress(line: string): void
}

/** Carries a command out. Resolves to its exit code; rejects with what one line can say. */
export type Action<Options> = (options: Options, context: CommandContext) => Promise<number>

/** Makes what commander calls out of what a command does with its options. */
export type Act = <Options>(
  action: Action<Options>,
) => (...given: readonly unknown[]) => Promise<void>

/** Adds a command to `program`. */
export type AddCommand = (program: Command, act: Act) => void
