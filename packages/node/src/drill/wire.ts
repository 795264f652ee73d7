import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

/** Where one node of a drill runs. */
export interface Place {
  /** A program, with its arguments, that runs a command there. */
  readonly prefix: readonly string[]
  /** Multiaddr to listen on. */
  readonly listen: string
}

/** What the nodes of a drill are connected by. Disposing ends it; none must run there any more. */
export interface Wire extends AsyncDisposable {
  /** In words. */
  readonly description: string
  readonly places: readonly Place[]
}

/** How long the programs of the operating system may take, in milliseconds. */
const TOOL_MS_MAX = 10_000

const PORT = 7_946

/** Daemons live on when their parent dies: not these, also where nobody can end them in order. */
const LEASH = ['setpriv', '--pdeathsig', 'KILL', '--']

/**
 * Makes `count` places with addresses of their own: each in a network namespace of its own, all on
 * one bridge in yet another, so that the machine's own network is not touched. Where that may not
 * be, on loopback addresses; the description says why.
 *
 * The namespaces have no names: they are gone when the last process in them is.
 *
 * @param count - at most 250: a /24 holds them all
 */
export async function createWire(count: number, signal: AbortSignal): Promise<Wire> {
  const wire = await createBareWire(count, signal)
  const { status } = spawnSync(LEASH[0] ?? '', [...LEASH.slice(1), 'true'], { stdio: 'ignore' })
  if (status !== 0) return wire // an old system: only SIGKILL for us leaves them behind
  const places = wire.places.map(({ prefix, listen }) => ({
    prefix: [...prefix, ...LEASH],
    listen,
  }))
  return { ...wire, places }
}

async function createBareWire(count: number, signal: AbortSignal): Promise<Wire> {
  if (process.platform === 'linux' && process.geteuid?.() === 0) {
    try {
      return await createNamespaces(count, signal)
    } catch (error) {
      signal.throwIfAborted()
      return loopback(count, error instanceof Error ? error.message : String(error))
    }
  }
  return loopback(count, 'network namespaces need root')
}

function loopback(count: number, why: string): Wire {
  return {
    description: `on loopback addresses (${why})`,
    places: Array.from({ length: count }, (_, index) => ({
      prefix: [],
      listen: `/ip4/127.0.0.${index + 2}/tcp/0`,
    })),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

async function createNamespaces(count: number, signal: AbortSignal): Promise<Wire> {
  await using made = new AsyncDisposableStack()
  const hub = made.use(await Namespace.create(signal))
  await hub.ip(['link set lo up', 'link add wire type bridge', 'link set wire up'], signal)
  const places: Place[] = []
  for (let index = 0; index < count; index++) {
    const namespace = made.use(await Namespace.create(signal))
    const port = `port${index}`
    const address = `10.203.0.${index + 1}`
    await hub.ip(
      [
        `link add ${port} type veth peer name eth0 netns ${namespace.pid}`,
        `link set ${port} master wire`,
        `link set ${port} up`,
      ],
      signal,
    )
    await namespace.ip(
      [`address add ${address}/24 dev eth0`, 'link set eth0 up', 'link set lo up'],
      signal,
    )
    places.push({ prefix: namespace.prefix, listen: `/ip4/${address}/tcp/${PORT}` })
  }
  const ends = made.move()
  return {
    description: 'each in a network namespace of its own, on one bridge',
    places,
    [Symbol.asyncDispose]: () => ends.disposeAsync(),
  }
}

/** A network namespace, which lives as long as a process that only waits for us to end. */
class Namespace implements AsyncDisposable {
  readonly #holder: ChildProcess

  private constructor(holder: ChildProcess) {
    this.#holder = holder
  }

  static async create(signal: AbortSignal): Promise<Namespace> {
    // Its input is closed with our death too, whatever that is.
    const holder = spawn('unshare', ['--net', '--', 'cat'], {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true, // Ctrl-C is for us
    })
    const namespace = new Namespace(holder)
    holder.stdin?.on('error', () => {}) // its end says more
    // `cat` answers: so it is there, and in its namespace.
    holder.stdin?.write('\n')
    const limit = AbortSignal.any([signal, AbortSignal.timeout(TOOL_MS_MAX)])
    try {
      await Promise.race([
        once(holder.stdout ?? holder, 'data', { signal: limit }),
        rejectsAtEnd(holder, 'unshare --net'),
      ])
    } catch (error) {
      await namespace[Symbol.asyncDispose]()
      throw error
    }
    return namespace
  }

  get pid(): number {
    return this.#holder.pid ?? 0
  }

  get prefix(): readonly string[] {
    return ['nsenter', `--net=/proc/${this.pid}/ns/net`, '--']
  }

  /** Carries out lines of ip-link(8), ip-address(8). Rejects if one of them fails. */
  async ip(lines: readonly string[], signal: AbortSignal): Promise<void> {
    const [program = '', ...args] = [...this.prefix, 'ip', '-batch', '-']
    const tool = spawn(program, args, {
      stdio: ['pipe', 'ignore', 'pipe'],
      signal: AbortSignal.any([signal, AbortSignal.timeout(TOOL_MS_MAX)]),
      killSignal: 'SIGKILL',
    })
    tool.stdin.on('error', () => {}) // its end says more
    tool.stdin.end(`${lines.join('\n')}\n`)
    await rejectsAtEnd(tool, 'ip (Debian: iproute2)')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { exitCode, signalCode, pid } = this.#holder
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    const exited = once(this.#holder, 'exit')
    this.#holder.kill('SIGKILL')
    await exited
  }
}

/** Resolves when a program ends with exit code 0; rejects with what it complained of. */
async function rejectsAtEnd(child: ChildProcess, what: string): Promise<void> {
  let errors = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors = `${errors}${text}`))
  try {
    const [code] = (await once(child, 'close')) as [number | null]
    if (code === 0) return
  } catch (error) {
    const { message } = error as Error
    throw new Error(`${what}: ${message}`, { cause: error })
  }
  const [line = ''] = errors.trim().split('\n')
  throw new Error(`${what}: ${line.slice(0, 200) || 'ended'}`)
}
