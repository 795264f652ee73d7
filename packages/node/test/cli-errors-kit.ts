/** Tables of errors that people can cause, and what they run against. */
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { expect, it } from 'vitest'
import { EXIT_USAGE } from '../src/constants.ts'
import { must, mycelium, Place } from './commands-kit.ts'

export const STRANGER = '12D3KooWCw3DKrJ24qA1mK5CzNvu9eRiGyddxiS338uTArUcM9Fs'
export const OFFLINE: readonly string[] = ['--address', '/ip4/127.0.0.1/tcp/1']

export interface Case {
  readonly name: string
  readonly args: () => string[] | Promise<string[]>
  readonly exitCode: number
  readonly code: string
  /** The whole message, or what it has in it. */
  readonly message: string | RegExp
}

type Row = readonly [Case['name'], Case['args'], Case['message']]

export function table(exitCode: number, code: string, rows: readonly Row[]): Case[] {
  return rows.map(([name, args, message]) => ({ name, args, exitCode, code, message }))
}

export const usage = (...rows: Row[]): Case[] => table(EXIT_USAGE, 'ERR_NODE_USAGE', rows)

/**
 * `up`: a member whose daemon runs; `down`: a member whose daemon does not; `other`: of another
 * network; `hypha`: a member that is no authority, with a daemon; `damaged`: to be damaged.
 */
export class Nodes extends Place {
  readonly #tokens: string[] = []
  readonly #inUse: Server = createServer()

  async begin(): Promise<void> {
    for (const name of ['up', 'down', 'other', 'damaged']) {
      await must('init', '--name', name, ...this.at(name))
    }
    await this.start('up')
    const token = await this.token('up', '--type', 'hypha')
    await must('join', ...this.at('hypha'), ...this.tokenFrom(token))
    await this.start('hypha')
    this.#inUse.listen(0, '127.0.0.1')
    await new Promise((resolve) => this.#inUse.once('listening', resolve))
  }

  /** Somebody else listens there, on the loopback. */
  get portInUse(): number {
    return (this.#inUse.address() as { readonly port: number }).port
  }

  at(name: string): string[] {
    return ['--data-dir', this.path(name)]
  }

  tokenFrom(text: string): string[] {
    return ['--token-file', this.put('token', text)]
  }

  passphrase(text = 'long enough'): string[] {
    return ['--passphrase-file', this.put('passphrase', text)]
  }

  /** A new token of a node, which no output may have in it from now on. */
  async token(name: string, ...options: readonly string[]): Promise<string> {
    const text = (await must('token', 'create', ...this.at(name), ...options)).trim()
    this.#tokens.push(text)
    return text
  }

  async idOf(name: string): Promise<string> {
    const text = await must('identity', 'show', ...this.at(name), '-o', 'json')
    return (JSON.parse(text) as { readonly node: string }).node
  }

  /** Runs it with `-o json`: the line for people and the object for programs say the same. */
  async check({ args, exitCode, code, message }: Omit<Case, 'name'>): Promise<void> {
    const outcome = await mycelium('-o', 'json', ...(await args()))
    for (const secret of this.#tokens) {
      expect(`${outcome.stdout}${outcome.stderr}`.includes(secret)).toBe(false)
    }
    const said = /^mycelium: (.*)\n$/.exec(outcome.stderr)?.[1]
    expect(said, outcome.stderr).toMatch(message)
    if (typeof message === 'string') expect(said).toBe(message)
    expect(outcome.exitCode).toBe(exitCode)
    expect(JSON.parse(outcome.stdout)).toEqual({
      schema: 'mycelium.error/1',
      ok: false,
      error: { code, message: said },
    })
  }

  run(cases: readonly Case[]): void {
    it.each(cases)('$name', (one) => this.check(one))
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.#inUse.close()
    await super[Symbol.asyncDispose]()
  }
}

/** Flips a bit in the middle of a file; again: back. */
export function damaged(path: string): Uint8Array {
  const bytes = readFileSync(path)
  const middle = bytes.length >> 1
  bytes.writeUInt8(bytes.readUInt8(middle) ^ 1, middle)
  return bytes
}
