import { inspect } from 'node:util'
import type { Logger } from '@mycelium/interface'

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Text that is never shown: not in a log, an error, JSON or a debugger's print. */
export class Secret {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  reveal(): string {
    return this.#text
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return '[secret]'
  }
}

export interface LeveledLogger extends Logger {
  level: LogLevel
  /** The newest lines, oldest first: at most {@link LOG_LINES_KEPT}. */
  readonly recent: readonly string[]
}

export interface LoggerInit {
  readonly level: LogLevel
  /** `json`: one object a line; `text`: for people. */
  readonly form: 'json' | 'text'
  readonly write: (line: string) => void
  readonly unixMs: () => number
}

/** Longest text of one field; the rest is cut off. */
const FIELD_CHARACTERS_MAX = 2_048

/** For whoever asks later: some 300 bytes each. More costs memory of every node, all the time. */
export const LOG_LINES_KEPT = 500

export function createLogger({ level, form, write, unixMs }: LoggerInit): LeveledLogger {
  const recent: string[] = []
  const logger: LeveledLogger = {
    level,
    recent,
    log: (at, event, fields = {}) => {
      if (LOG_LEVELS.indexOf(at) < LOG_LEVELS.indexOf(logger.level)) return
      const time = new Date(unixMs()).toISOString()
      const shown = Object.fromEntries(
        Object.entries(fields).map(([name, value]) => [name, plain(value)]),
      )
      const line =
        form === 'json'
          ? JSON.stringify({ time, level: at, event, ...shown })
          : `${time} ${at.padEnd(5)} ${event}${textOf(shown)}`
      if (recent.push(line) > LOG_LINES_KEPT) recent.shift()
      write(line)
    },
  }
  return logger
}

/** What JSON can hold and one line can show. */
function plain(value: unknown): unknown {
  if (value instanceof Error) return plain(value.message)
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'string') return cut(value)
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return value
  return cut(JSON.stringify(value) ?? '')
}

function cut(text: string): string {
  const isLong = text.length > FIELD_CHARACTERS_MAX
  return isLong ? `${text.slice(0, FIELD_CHARACTERS_MAX)}...` : text
}

function textOf(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => {
      const text = String(value)
      return ` ${name}=${/^[\w./:@-]+$/.test(text) ? text : JSON.stringify(text)}`
    })
    .join('')
}
