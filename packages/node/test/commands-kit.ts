/** The command line, run in this process, and nodes for it to talk to. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { run } from '../src/cli.ts'
import { configOf, pathsOf } from '../src/commands/node-options.ts'
import { type Daemon, startDaemon } from '../src/daemon.ts'
import { createLogger } from '../src/logger.ts'

export interface Outcome {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs one command line to its end. */
export async function mycelium(...args: string[]): Promise<Outcome> {
  const written = { stdout: '', stderr: '' }
  const exitCode = await run(args, {
    stdout: { write: (text) => (written.stdout += text) },
    stderr: { write: (text) => (written.stderr += text) },
  })
  return { exitCode, ...written }
}

/** As {@link mycelium}. @returns what it printed @throws it failed */
export async function must(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await mycelium(...args)
  if (exitCode !== 0) throw new Error(`mycelium ${args.join(' ')}: ${exitCode}, ${stderr}`)
  return stdout
}

/** A folder in which nothing of this machine's configuration counts. */
export class Place implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'mycelium-test-'))
  readonly #daemons: Daemon[] = []

  constructor() {
    process.env['MYCELIUM_CONFIG_DIR'] = this.path('etc')
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  /** Writes a file. @returns its path */
  put(name: string, content: string | Uint8Array): string {
    const path = this.path(name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
    return path
  }

  /** Starts the node of a data folder, on a free port of the loopback. */
  async start(name: string): Promise<Daemon> {
    const paths = pathsOf({ dataDir: this.path(name) })
    const listen = ['/ip4/127.0.0.1/tcp/0']
    const effective = await configOf(paths, [{ name: 'test', values: { listen } }])
    const logger = createLogger({
      level: 'error',
      form: 'json',
      write: () => {},
      unixMs: Date.now,
    })
    const daemon = await startDaemon({ logger }, { paths, effective, version: '0.0.0' })
    this.#daemons.push(daemon)
    return daemon
  }

  async [Symbol.asyncDispose](): Promise<void> {
    delete process.env['MYCELIUM_CONFIG_DIR']
    for (const daemon of this.#daemons.splice(0).reverse()) await daemon[Symbol.asyncDispose]()
    rmSync(this.folder, { recursive: true })
  }
}
