import { chmod, mkdir, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { join } from 'node:path'
import type { Clock, Logger, Startable } from '@mycelium/interface'
import { DurableGate } from '../core/durable-gate.ts'
import type { OutwardEffect } from '../core/durable-gate.ts'
import { LeaseTable } from '../core/lease-table.ts'
import type { LeaseEntry, LeaseTableInput } from '../core/lease-table.ts'
import { LeaseClosedError, LeaseLogWriteError } from '../errors.ts'
import { lockFolder } from './folder-lock.ts'
import { LeaseConnection } from './lease-connection.ts'
import { LOG_BATCH_ENTRIES_MAX, LeaseLog } from './lease-log.ts'
import { socketPathOf } from './socket-path.ts'

/** Hosts, backups and their guards on one machine: some dozens. */
const CONNECTIONS_MAX = 256
/** Answers and changes that wait for the disk. Above, connections are not read. */
const GATED_MAX = 4096

export interface LeaseServerDeps {
  /** CLOCK_BOOTTIME. */
  readonly clock: Clock
  readonly logger?: Logger
}

export interface LeaseServerInit {
  /** Made with mode 0700 if missing. Holds the log, the lock and the socket. */
  readonly folder: string
  /** @default `lease.sock` in `folder`; the folder of another path must be 0700 as well */
  readonly socketPath?: string
}

/** Grants fencing leases over a unix socket, each durable before it is told. */
export interface LeaseServer extends Startable {
  readonly socketPath: string
}

/**
 * `start` rejects with `ERR_LEASE_FOLDER_LOCKED` or `ERR_LEASE_LOG_CORRUPT`.
 *
 * @throws {RangeError} the socket's path is too long for a unix socket
 */
export function createLeaseServer(deps: LeaseServerDeps, init: LeaseServerInit): LeaseServer {
  return new UnixLeaseServer(deps, init)
}

class UnixLeaseServer implements LeaseServer {
  readonly socketPath: string
  readonly #clock: Clock
  readonly #logger: Logger | undefined
  readonly #folder: string
  readonly #connections = new Set<LeaseConnection>()
  /** Which connection a key of the table belongs to, and its id there. */
  readonly #askers = new Map<
    number,
    { readonly connection: LeaseConnection; readonly id: number }
  >()
  #nextKey = 0
  #table: LeaseTable | undefined
  #log: LeaseLog | undefined
  #server: Server | undefined
  #release: (() => Promise<void>) | undefined
  #cancelTimer: (() => void) | undefined
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  readonly #gate = new DurableGate()
  #writing: Promise<void> | undefined

  constructor(deps: LeaseServerDeps, init: LeaseServerInit) {
    this.#clock = deps.clock
    this.#logger = deps.logger
    this.#folder = init.folder
    this.socketPath = socketPathOf(init.socketPath ?? join(init.folder, 'lease.sock'))
  }

  start(): Promise<void> {
    if (this.#stopping !== undefined) return Promise.reject(new LeaseClosedError('lease server'))
    this.#starting ??= this.#start()
    return this.#starting
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    if (((await stat(this.#folder)).mode & 0o077) !== 0) await chmod(this.#folder, 0o700)
    this.#release = await lockFolder(this.#folder)
    try {
      const { log, recovery } = await LeaseLog.open(this.#folder)
      this.#log = log
      if (recovery.tornBytes > 0) this.#logger?.log('warn', 'lease:torn-tail', recovery)
      await rm(this.socketPath, { force: true }) // ours by the lock: a dead server left it
      // Read after recovery, however long that took: every lease counts as renewed now.
      this.#table = new LeaseTable(log.entries.values(), this.#clock.now())
      await this.#listen()
    } catch (error) {
      this.#server = undefined
      await this.#log?.close()
      await this.#release()
      throw error
    }
  }

  #listen(): Promise<void> {
    const server = createServer((socket) => this.#accept(socket))
    this.#server = server
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.socketPath, () => {
        server.off('error', reject)
        server.on('error', (error) => this.#logger?.log('error', 'lease:listen', { error }))
        resolve()
      })
    })
  }

  async #stop(): Promise<void> {
    await this.#starting?.catch(() => undefined)
    this.#cancelTimer?.()
    const server = this.#server
    if (server?.listening === true) {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const connection of this.#connections) connection.destroy()
      await closed
    }
    await this.#writing
    if (this.#server !== undefined) {
      await this.#log?.close()
      await this.#release?.()
    }
  }

  #accept(socket: Socket): void {
    if (this.#connections.size >= CONNECTIONS_MAX || this.#stopping !== undefined) {
      socket.destroy()
      return
    }
    const connection = new LeaseConnection(socket, {
      onFrame: (frame) => {
        if ('cancel' in frame) this.#cancel(connection, frame.cancel)
        else {
          const key = this.#nextKey++
          this.#askers.set(key, { connection, id: frame.id })
          connection.keys.set(frame.id, key)
          this.#step({ type: 'request', key, request: frame.request })
        }
        return this.#gate.heldCount < GATED_MAX
      },
      onClose: (error) => {
        if (error !== undefined) this.#logger?.log('warn', 'lease:connection', { error })
        this.#connections.delete(connection)
        for (const id of [...connection.keys.keys()]) this.#cancel(connection, id)
      },
    })
    this.#connections.add(connection)
  }

  #cancel(connection: LeaseConnection, id: number): void {
    const key = connection.keys.get(id)
    // Answered through the table like everything else, now or when what it waits for is durable.
    if (key !== undefined) this.#step({ type: 'cancel', key })
  }

  #step(input: LeaseTableInput): void {
    if (this.#table === undefined || this.#stopping !== undefined) return
    const effects = this.#table.step(input, this.#clock.now())
    this.#send(this.#gate.push(effects))
    this.#writing ??= this.#gate.hasUnwritten ? this.#write() : undefined
    this.#arm()
  }

  #arm(): void {
    this.#cancelTimer?.()
    const deadline = this.#table?.nextDeadline()
    this.#cancelTimer =
      deadline === undefined
        ? undefined
        : this.#clock.schedule(deadline, () => this.#step({ type: 'tick' }))
  }

  #send(effects: readonly OutwardEffect[]): void {
    for (const effect of effects) {
      const asker = this.#askers.get(effect.key)
      if (asker === undefined) continue
      const { connection, id } = asker
      if (effect.type === 'view') {
        connection.send({ id, reply: { kind: 'view', view: effect.view } })
      } else {
        this.#askers.delete(effect.key)
        connection.keys.delete(id)
        connection.send({ id, reply: effect.reply })
      }
    }
  }

  /** One batch after the other, until there is nothing left to write. */
  async #write(): Promise<void> {
    const log = this.#log
    while (this.#gate.hasUnwritten && log !== undefined) {
      const batch = this.#gate.takeBatch(LOG_BATCH_ENTRIES_MAX)
      try {
        await log.append(batch)
        this.#send(this.#gate.written(batch))
      } catch (error) {
        this.#onWriteFailure(log, batch, error)
      }
      if (log.isCompactionDue) {
        await log.compact().catch((error: unknown) => {
          this.#logger?.log('error', 'lease:compaction', { error })
        })
      }
    }
    this.#writing = undefined
    for (const connection of this.#connections) connection.resume()
  }

  /** The table goes back to what is durable. */
  #onWriteFailure(log: LeaseLog, batch: readonly LeaseEntry[], error: unknown): void {
    const doubt = !(error instanceof LeaseLogWriteError) || error.doubt
    this.#logger?.log('error', 'lease:write', { error, doubt })
    const { names, refusals } = this.#gate.failed(batch, doubt)
    const durable = names.flatMap((name) => log.entries.get(name) ?? [])
    this.#send(refusals)
    this.#step({ type: 'not-durable', names, durable, doubt })
  }
}
