import { chmod, lstat, mkdir, unlink } from 'node:fs/promises'
import { createServer, connect, type Server, type Socket } from 'node:net'
import { join, resolve } from 'node:path'
import type {
  AbortOptions,
  BulkChannel,
  BulkChannelProvider,
  Clock,
  NodeId,
  Random,
  Startable,
} from '@mycelium/interface'
import { ChannelAcceptor } from './channel-acceptor.ts'
import { type ChannelConfig, type ChannelInit, resolveChannelConfig } from './channel-config.ts'
import { openChannel } from './channel-opener.ts'
import type { DuplexChannel } from './duplex-channel.ts'
import { SocketFolderError } from './errors.ts'

/** `sun_path` of Linux has 108 bytes with its final zero; a longer path is cut without a word. */
const SOCKET_PATH_BYTES_MAX = 107
/** What a name of a node may consist of, so that it is a file name. */
const FILE_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/

export interface UnixChannelsDeps {
  readonly clock: Clock
  readonly random: Random
}

export interface UnixChannelsInit extends ChannelInit {
  readonly local: NodeId
  /**
   * Where the sockets of all nodes are. Made with mode 0700 if it does not exist; must belong to
   * this user and be closed to all others: who may enter it is trusted to be whoever it says.
   */
  readonly folder: string
}

/** Channels between processes of one user on one machine. Listens between `start` and `stop`. */
export interface UnixChannels extends BulkChannelProvider, Startable {
  /** Path of the socket of `node`. */
  socketPath(node: NodeId): string
}

/**
 * Channels over unix sockets in a folder that only this user can enter.
 *
 * @throws {TypeError} `init.local` cannot be a file name
 * @throws {RangeError} the socket's path would be too long, or a bound is out of its range
 */
export function createUnixChannels(deps: UnixChannelsDeps, init: UnixChannelsInit): UnixChannels {
  return new SocketFolder(deps, init)
}

class SocketFolder implements UnixChannels {
  readonly #deps: UnixChannelsDeps
  readonly #local: NodeId
  readonly #folder: string
  readonly #config: ChannelConfig
  readonly #acceptor: ChannelAcceptor
  readonly #opened = new Set<DuplexChannel>()
  #server: Server | undefined
  #stopping: Promise<void> | undefined

  constructor(deps: UnixChannelsDeps, { local, folder, ...init }: UnixChannelsInit) {
    this.#deps = deps
    this.#local = local
    this.#folder = resolve(folder)
    this.#config = resolveChannelConfig(init)
    this.#acceptor = new ChannelAcceptor(deps, local, this.#config)
    this.socketPath(local)
  }

  socketPath(node: NodeId): string {
    if (!FILE_NAME.test(node)) throw new TypeError(`node must be a file name, got ${node}`)
    const path = join(this.#folder, `${node}.sock`)
    const bytes = Buffer.byteLength(path)
    if (bytes > SOCKET_PATH_BYTES_MAX) {
      throw new RangeError(
        `folder must leave room for a socket path of ${SOCKET_PATH_BYTES_MAX} bytes, got ${bytes}`,
      )
    }
    return path
  }

  /** Rejects `ERR_RAM_SOCKET_FOLDER`: the folder is open to others, or another process listens. */
  async start(options: AbortOptions = {}): Promise<void> {
    options.signal?.throwIfAborted()
    await checkFolder(this.#folder)
    const path = this.socketPath(this.#local)
    await removeStale(path, this.#folder)
    options.signal?.throwIfAborted()
    const server = createServer((socket) => this.#acceptor.handle(socket))
    this.#server = server
    await listen(server, path, this.#folder)
    await chmod(path, 0o600)
    if (this.#stopping !== undefined) await closeServer(server)
  }

  async stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    await this.#stopping
  }

  async #stop(): Promise<void> {
    const reason = new Error('the provider of the channel was stopped')
    const closed = this.#server === undefined ? undefined : closeServer(this.#server)
    for (const channel of this.#opened) channel.abort(reason)
    await this.#acceptor.stop(reason)
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async open(remote: NodeId, purpose: string, options: AbortOptions = {}): Promise<BulkChannel> {
    const path = this.socketPath(remote)
    return await openChannel(
      { ...this.#deps, connect: async ({ signal }) => await connectTo(path, signal) },
      { local: this.#local, remote, purpose, config: this.#config, opened: this.#opened },
      options,
    )
  }

  accept(prefix: string, options: AbortOptions = {}): AsyncIterable<BulkChannel> {
    return this.#acceptor.accept(prefix, options)
  }
}

async function checkFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const stat = await lstat(folder)
  if (!stat.isDirectory()) throw new SocketFolderError(folder, 'it is not a folder')
  if (stat.uid !== process.getuid?.()) throw new SocketFolderError(folder, 'it is not ours')
  if ((stat.mode & 0o077) !== 0) {
    const mode = (stat.mode & 0o777).toString(8)
    throw new SocketFolderError(folder, `others can enter it (mode ${mode}): chmod 700 it`)
  }
}

/** Removes the socket of a process that died; refuses if one still answers. */
async function removeStale(path: string, folder: string): Promise<void> {
  try {
    const socket = await connectTo(path, AbortSignal.timeout(1_000))
    socket.destroy()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return
    if (code !== 'ECONNREFUSED')
      throw new SocketFolderError(folder, String(error), { cause: error })
    await unlink(path)
    return
  }
  throw new SocketFolderError(folder, `another process listens at ${path}`)
}

async function listen(server: Server, path: string, folder: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new SocketFolderError(folder, cause.message, { cause }))
    })
    server.listen(path, resolve)
  })
}

async function closeServer(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
}

async function connectTo(path: string, signal: AbortSignal): Promise<Socket> {
  return await new Promise<Socket>((resolve, reject) => {
    const socket = connect({ path })
    const abort = (): void => {
      socket.destroy()
      reject(signal.reason as Error)
    }
    const settled = (): void => {
      signal.removeEventListener('abort', abort)
      socket.removeListener('error', fail)
    }
    const fail = (error: Error): void => {
      settled()
      reject(error)
    }
    socket.once('error', fail)
    socket.once('connect', () => {
      settled()
      resolve(socket)
    })
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort)
  })
}
