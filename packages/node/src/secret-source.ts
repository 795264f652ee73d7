import { open } from 'node:fs/promises'
import type { AbortOptions } from '@mycelium/interface'
import { UsageError } from './errors.ts'
import { Secret } from './logger.ts'

/** Longest token or passphrase; both are far shorter. */
const SECRET_BYTES_MAX = 8_192

export interface SecretInit {
  /** For messages: `token`, `passphrase`. */
  readonly what: string
  /** Of the option that names a file; `-`: standard input. */
  readonly flag: string
  readonly file: string | undefined
  readonly variable: string
}

/**
 * Reads a secret from a file, standard input, or the terminal without showing it. Never from an
 * argument, which everybody on the machine can read.
 *
 * Rejects `ERR_NODE_USAGE` if there is none.
 */
export async function readSecret(init: SecretInit, { signal }: AbortOptions): Promise<Secret> {
  const { what, flag, variable } = init
  const file = init.file ?? process.env[variable]
  if (file === undefined && !process.stdin.isTTY) {
    throw new UsageError(
      `the ${what} is missing: give ${flag} FILE, or ${flag} - for standard input`,
    )
  }
  let text: string
  if (file === undefined) text = await promptFor(what, signal)
  else if (file === '-') text = await readInput(signal)
  else text = await readSecretFile(what, file)
  if (text === '') throw new UsageError(`the ${what} is empty`)
  if (Buffer.byteLength(text) > SECRET_BYTES_MAX) {
    throw new UsageError(`the ${what} is longer than ${SECRET_BYTES_MAX} bytes`)
  }
  return new Secret(text)
}

async function readSecretFile(what: string, path: string): Promise<string> {
  try {
    // A little more than the bound, whatever lies there: a device has no end.
    await using file = await open(path, 'r')
    const buffer = Buffer.alloc(SECRET_BYTES_MAX + 1)
    let length = 0
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null)
      length += bytesRead
      if (bytesRead === 0 || length === buffer.length) break
    }
    return buffer.toString('utf8', 0, length).trim()
  } catch (cause) {
    const { message } = cause as Error
    throw new UsageError(`the ${what} cannot be read: ${message}`, { cause })
  }
}

async function readInput(signal: AbortSignal | undefined): Promise<string> {
  let text = ''
  const abort = (): void => void process.stdin.destroy()
  signal?.addEventListener('abort', abort)
  try {
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
      text += chunk.toString('utf8')
      if (text.length > SECRET_BYTES_MAX) break
    }
  } catch (error) {
    if (signal?.aborted !== true) throw error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
  signal?.throwIfAborted()
  return text.trim()
}

const CONTROL_C = '\u0003'
const BACKSPACES: readonly string[] = ['\u007f', '\b']

/** One line from the terminal, which shows nothing of it. */
async function promptFor(what: string, signal: AbortSignal | undefined): Promise<string> {
  const { stdin, stderr } = process
  stderr.write(`${what}: `)
  stdin.setRawMode(true)
  stdin.setEncoding('utf8')
  try {
    return await new Promise((resolve, reject) => {
      let text = ''
      signal?.addEventListener('abort', () => {
        reject(signal.reason as Error)
      })
      stdin.on('data', (typed: string) => {
        for (const character of typed) {
          if (character === '\r' || character === '\n') return resolve(text.trim())
          if (character === CONTROL_C) return process.kill(process.pid, 'SIGINT')
          text = BACKSPACES.includes(character) ? text.slice(0, -1) : text + character
        }
      })
      stdin.on('end', () => {
        resolve(text.trim())
      })
    })
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    stderr.write('\n')
  }
}
