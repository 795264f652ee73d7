import { type ChildProcess, spawn } from 'node:child_process'

/** Bytes kept of what a child writes on standard error: the end says why it died. */
const ERROR_BYTES_MAX = 4096

/** How children are started: Node's own arguments, and the program's file. */
export interface Program {
  readonly path: string
  readonly nodeArguments: readonly string[]
}

/** How long a child may take to end in order, in milliseconds; then it is killed. */
export const STOP_MS_MAX = 5_000

/** A child process of this program, in one of the internal roles, and all that it said so far. */
export class Child<Command extends object, Event extends { readonly type: string }> {
  readonly #process: ChildProcess
  #errors = ''
  /** Settles when the process is gone. */
  readonly exited: Promise<void>

  constructor(args: readonly string[], listener: (event: Event) => void, program?: Program) {
    // `process.argv[1]` is the bundle, or the source where that is run: the child is what we are.
    const { path, nodeArguments } = program ?? {
      path: process.argv[1] ?? '',
      nodeArguments: process.execArgv,
    }
    this.#process = spawn(process.execPath, [...nodeArguments, path, 'internal', ...args], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'advanced',
      // A group of its own: Ctrl-C reaches us, and we end the children in order.
      detached: true,
    })
    this.#process.on('message', (event) => {
      listener(event as Event)
    })
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = `${this.#errors}${text}`.slice(-ERROR_BYTES_MAX)
    })
    this.exited = new Promise((resolve) => {
      this.#process.once('exit', () => {
        resolve()
      })
      this.#process.once('error', () => {
        resolve()
      })
    })
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** The last thing that it complained of. */
  get complaint(): string {
    return this.#errors.trim().split('\n').at(-1) ?? ''
  }

  tell(command: Command): void {
    // One that is dying says so by `exited`.
    if (this.#process.connected) this.#process.send(command, () => {})
  }

  kill(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  /** Asks it to end by closing the channel, and waits; kills it if it does not. Idempotent. */
  async stop(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect()
    const timer = setTimeout(() => {
      this.kill('SIGKILL')
    }, STOP_MS_MAX)
    await this.exited
    clearTimeout(timer)
  }
}
