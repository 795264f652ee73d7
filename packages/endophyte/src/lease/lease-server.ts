import { chmod, mkdir, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { join } from 'node:path'
import type { Clock, Logger, Startable } from '@mycelium/interface'
import { LeaseTable } from '../core/lease-table.ts'
import type { LeaseEntry, LeaseTableEffect, LeaseTableInput } from '../core/lease-table.ts'
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

/** Waits until everything that was persisted before it (of its name) is durable. */
interface Gated {
  readonly after: number
  readonly effect: Exclude<LeaseTableEffect, { type: 'persist' }>
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

  // Entries are numbered as they are persisted; number n is durable when n <= #durableNumber.
  #queue: LeaseEntry[] = []
  #persistNumber = 0
  #durableNumber = 0
  readonly #lastNumber = new Map<string, number>()
  #gated: Gated[] = []
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
        return this.#gated.length < GATED_MAX
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
    for (const effect of this.#table.step(input, this.#clock.now())) {
      if (effect.type === 'persist') {
        this.#queue.push(effect.entry)
        this.#lastNumber.set(effect.entry.name, ++this.#persistNumber)
        continue
      }
      const name = effect.type === 'reply' ? effect.name : effect.view.name
      const after = this.#lastNumber.get(name) ?? 0
      if (after <= this.#durableNumber) this.#send(effect)
      else this.#gated.push({ after, effect })
    }
    this.#writing ??= this.#queue.length > 0 ? this.#write() : undefined
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

  #send(effect: Gated['effect']): void {
    const asker = this.#askers.get(effect.key)
    if (asker === undefined) return
    const reply =
      effect.type === 'reply' ? effect.reply : ({ kind: 'view', view: effect.view } as const)
    if (effect.type === 'reply') {
      this.#askers.delete(effect.key)
      asker.connection.keys.delete(asker.id)
    }
    asker.connection.send({ id: asker.id, reply })
  }

  /** One batch after the other, until there is nothing left to write. */
  async #write(): Promise<void> {
    const log = this.#log
    while (this.#queue.length > 0 && log !== undefined) {
      const batch = this.#queue.splice(0, LOG_BATCH_ENTRIES_MAX)
      try {
        await log.append(batch)
        this.#durableNumber += batch.length
        this.#openGate()
      } catch (error) {
        this.#onWriteFailure(log, batch, error)
      }
      if (log.isCompactionDue) {
        await log.compact().catch((error: unknown) => {
          this.#logger?.log('error', 'lease:compaction', { error })
        })
      }
    }
    for (const [name, number] of this.#lastNumber) {
      if (number <= this.#durableNumber) this.#lastNumber.delete(name)
    }
    this.#writing = undefined
    for (const connection of this.#connections) connection.resume()
  }

  #openGate(): void {
    const ready = this.#gated.filter((gated) => gated.after <= this.#durableNumber)
    this.#gated = this.#gated.filter((gated) => gated.after > this.#durableNumber)
    for (const { effect } of ready) this.#send(effect)
  }

  /** Nothing that rests on what was not written may be told; the table goes back to what was. */
  #onWriteFailure(log: LeaseLog, batch: readonly LeaseEntry[], error: unknown): void {
    const doubt = !(error instanceof LeaseLogWriteError) || error.doubt
    this.#logger?.log('error', 'lease:write', { error, doubt })
    const names = [...new Set([...batch, ...this.#queue].map((entry) => entry.name))]
    const durable = names.flatMap((name) => log.entries.get(name) ?? [])
    const gated = this.#gated
    this.#queue = []
    this.#gated = []
    this.#durableNumber = this.#persistNumber
    for (const { effect } of gated) {
      // A view is not replaced: watchers still see what is durable.
      if (effect.type === 'view') continue
      const why = doubt ? 'doubt' : 'unavailable'
      this.#send({ ...effect, reply: { kind: 'refused', why } })
    }
    this.#step({ type: 'not-durable', names, durable, doubt })
  }
}
