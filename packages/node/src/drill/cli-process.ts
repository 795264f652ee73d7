import { type ChildProcess, spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

/** Bytes kept of what a child writes on standard error: the end says why it died. */
const ERROR_BYTES_MAX = 16_384

/** How long a child may take to end in order, in milliseconds; then it is killed. */
const STOP_MS_MAX = 5_000

export interface CliProcessInit {
  /** A program, with its arguments, that becomes the one whose command line follows. */
  readonly prefix: readonly string[]
  /** Of `mycelium`. */
  readonly args: readonly string[]
  /** What it reads; nothing by default. */
  readonly input?: string
}

/** This program again, as a person would start it: the same Node, the same bundle or source. */
export class CliProcess {
  readonly #process: ChildProcess
  #errors = ''
  /** All of standard output, when it is closed. */
  readonly #output: Promise<string>
  /** Exit code or signal. */
  readonly exited: Promise<number | string>

  constructor({ prefix, args, input }: CliProcessInit) {
    const own = [process.execPath, ...process.execArgv, process.argv[1] ?? '']
    const [program = '', ...programArgs] = [...prefix, ...own, ...args]
    this.#process = spawn(program, programArgs, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: environment(),
      // A group of its own: Ctrl-C reaches us, and we end the children in order.
      detached: true,
    })
    const { stdin, stdout, stderr } = this.#process
    stdin?.on('error', () => {}) // it ended without reading: its exit code says so
    stdin?.end(input ?? '')
    stderr?.setEncoding('utf8').on('data', (part: string) => {
      this.#errors = `${this.#errors}${part}`.slice(-ERROR_BYTES_MAX)
    })
    this.#output = stdout ? text(stdout) : Promise.resolve('')
    this.exited = new Promise((resolve) => {
      this.#process.once('exit', (code, signal) => {
        resolve(code ?? signal ?? 'unknown')
      })
      this.#process.once('error', ({ message }) => {
        this.#errors = message
        resolve('not started')
      })
    })
  }

  /** The last thing that it complained of. */
  get complaint(): string {
    return this.#errors.trim().split('\n').at(-1) ?? ''
  }

  /** Waits for its end. Rejects unless the exit code is 0; a signal that aborts kills it. */
  async result(signal: AbortSignal): Promise<string> {
    const onAbort = (): void => {
      this.kill()
    }
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    try {
      const ended = await this.exited
      signal.throwIfAborted()
      const output = await this.#output
      if (ended !== 0) throw new Error(`it ended with ${ended}: ${this.complaint}`)
      return output
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }

  /** Asks it to end, waits, and kills it if it does not. Idempotent. */
  async stop(): Promise<void> {
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => {
      this.kill()
    }, STOP_MS_MAX)
    await this.exited
    clearTimeout(timer)
  }
}

/** What configures a node of this machine must not configure ours. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('MYCELIUM_')),
  )
}
