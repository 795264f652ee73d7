import { join } from 'node:path'
import { command } from '../admin/client.ts'
import type { CommandName, CommandOptions, CommandResult, NodeStatus } from '../command.ts'
import { CliProcess } from './cli-process.ts'
import { BrokenPromiseError } from './until.ts'
import type { Place } from './wire.ts'

/** Entries of an audit log that are looked at. */
const AUDIT_ENTRIES = 1_000

export interface DrillNodeInit {
  /** For people. */
  readonly name: string
  readonly place: Place
  /** Where the drill keeps everything. */
  readonly folder: string
  readonly signal: AbortSignal
}

/** One machine of a drill: its state on disk, and its daemon while that runs. */
export class DrillNode implements AsyncDisposable {
  readonly name: string
  readonly #init: DrillNodeInit
  readonly #dataFolder: string
  #daemon: CliProcess | undefined
  /** Multiaddr: a machine that comes back has the address that it had. */
  #listen: string
  /** Known once it has an identity. */
  id = ''

  constructor(init: DrillNodeInit) {
    this.name = init.name
    this.#init = init
    this.#dataFolder = join(init.folder, init.name)
    this.#listen = init.place.listen
  }

  async found(network: string): Promise<void> {
    this.#take(await this.#run(['init', '--name', network, '-o', 'json']))
  }

  async join(token: string): Promise<void> {
    this.#take(await this.#run(['join', '--token-file', '-', '-o', 'json'], token))
  }

  /** Comes with a token that must not let it in. Resolves when it was turned away. */
  async mustNotJoin(token: string): Promise<void> {
    try {
      await this.join(token)
    } catch (error) {
      this.#init.signal.throwIfAborted()
      if (error instanceof BrokenPromiseError) return
      throw error
    }
    throw new BrokenPromiseError(`${this.name} was let in`)
  }

  /** Tells who it is, also where no daemon runs and no network took it in. */
  async identify(): Promise<void> {
    this.#take(await this.#run(['identity', 'show', '-o', 'json']))
  }

  /** Starts the daemon, and does not wait for it. */
  up(...peers: readonly string[]): void {
    const args = ['up', '--listen', this.#listen, ...peers.flatMap((peer) => ['--peer', peer])]
    this.#daemon = this.#start(args)
  }

  /** As a power cut: at once, and nothing is put in order. */
  async killDaemon(): Promise<void> {
    this.#daemon?.kill()
    await this.#daemon?.exited
    this.#daemon = undefined
  }

  async command<Name extends CommandName>(
    name: Name,
    input: CommandOptions<Name>,
  ): Promise<CommandResult<Name>> {
    const { signal } = this.#init
    try {
      return await command(join(this.#dataFolder, 'mycelium.sock'), name, input, { signal })
    } catch (error) {
      signal.throwIfAborted()
      throw new BrokenPromiseError(`${this.name}: ${(error as Error).message}`, { cause: error })
    }
  }

  /** The newest entries of its audit log, oldest first. */
  async audit(): Promise<CommandResult<'audit.show'>['entries']> {
    if (this.#daemon) return (await this.command('audit.show', { last: AUDIT_ENTRIES })).entries
    const output = await this.#run(['audit', 'show', '--last', `${AUDIT_ENTRIES}`, '-o', 'json'])
    return (JSON.parse(output) as CommandResult<'audit.show'>).entries
  }

  /** Undefined while the daemon does not answer. Rejects if it has ended. */
  async look(): Promise<NodeStatus | undefined> {
    const daemon = this.#daemon
    if (!daemon) return undefined
    const ended = await Promise.race([daemon.exited, Promise.resolve(undefined)])
    if (ended !== undefined) {
      throw new BrokenPromiseError(`${this.name} ended with ${ended}: ${daemon.complaint}`)
    }
    try {
      const status = await this.command('status', {})
      const [address] = status.listening
      if (address !== undefined) this.#listen = address.replace(/\/p2p\/.*$/, '')
      return status
    } catch (error) {
      if (error instanceof BrokenPromiseError) return undefined
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.stop()
  }

  async #run(args: readonly string[], input?: string): Promise<string> {
    const process = this.#start(args, input)
    try {
      return await process.result(this.#init.signal)
    } catch (error) {
      this.#init.signal.throwIfAborted()
      const [name] = args
      throw new BrokenPromiseError(`${this.name}: ${name}: ${(error as Error).message}`, {
        cause: error,
      })
    }
  }

  #start(args: readonly string[], input?: string): CliProcess {
    const { place, folder } = this.#init
    // Files of this machine's own node must not configure ours: that folder is never there.
    const places = ['--data-dir', this.#dataFolder, '--config-dir', join(folder, 'no-config')]
    return new CliProcess({
      prefix: place.prefix,
      args: [...args, ...places],
      ...(input !== undefined && { input }),
    })
  }

  #take(output: string): void {
    const { node } = JSON.parse(output) as { readonly node: string }
    this.id = node
  }
}
