import type { Duplex } from 'node:stream'
import { TypedEventEmitter } from 'main-event'
import type { AbortOptions, EventSource } from '@mycelium/interface'
import {
  QMP_PENDING_MAX,
  QmpSession,
  type QmpCommand,
  type QmpEffect,
  type QmpEventRecord,
  type QmpVersion,
} from '../core/qmp-session.ts'
import { QmpBusyError, QmpError, QmpLostError } from '../errors.ts'
import type {
  QmpCommandName,
  QmpCommands,
  QmpEvents,
  QmpExecuteArguments,
  QmpPipelineCommand,
  QmpPipelineReturns,
} from './commands.ts'

export interface QmpClientDeps {
  /** A connected stream, nothing read from it yet. The client closes it. */
  readonly socket: Duplex
}

/**
 * One QMP connection. Events are given to listeners before the replies that QEMU sent after them
 * are settled. All promises reject with `ERR_ENDOPHYTE_QMP_LOST` when the connection ends, and with
 * `ERR_ENDOPHYTE_QMP` when QEMU refuses the command.
 */
export interface QmpClient extends EventSource<QmpEvents>, AsyncDisposable {
  /** QEMU's version, from its greeting. */
  readonly version: QmpVersion
  /** Settles when the connection has ended, with the reason. Never rejects. */
  readonly closed: Promise<QmpLostError>
  /**
   * Sends one command.
   *
   * @throws {QmpBusyError} (as a rejection) `ERR_ENDOPHYTE_QMP_BUSY`: nothing was sent
   */
  execute<Name extends QmpCommandName>(
    name: Name,
    ...rest: QmpExecuteArguments<Name>
  ): Promise<QmpCommands[Name]['returns']>
  /**
   * Sends several commands in one write; QEMU carries them out in this order, and goes on after one
   * that failed. Each promise stands for itself.
   */
  pipeline<const Commands extends readonly QmpPipelineCommand[]>(
    commands: Commands,
  ): QmpPipelineReturns<Commands>
  /** Closes the connection; QEMU lives on. Idempotent. */
  close(): Promise<void>
}

type EventMap = { [Name in keyof QmpEvents]: CustomEvent<QmpEvents[Name]> }

const EVENTS: ReadonlySet<string> = new Set<keyof QmpEvents>([
  'STOP',
  'RESUME',
  'SHUTDOWN',
  'RESET',
  'POWERDOWN',
  'MIGRATION',
  'GUEST_PANICKED',
])

interface Waiting {
  readonly command: string
  resolve(value: unknown): void
  reject(error: Error): void
}

/**
 * Waits for the greeting and negotiates.
 *
 * Rejects with `ERR_ENDOPHYTE_QMP_LOST` if that fails, and with `signal.reason` on abort; the
 * socket is closed then.
 */
export async function connectQmp(
  deps: QmpClientDeps,
  options: AbortOptions = {},
): Promise<QmpClient> {
  const client = new SocketQmpClient(deps.socket)
  const { signal } = options
  const abort = (): void => {
    client.lose('given up while connecting')
  }
  signal?.addEventListener('abort', abort, { once: true })
  try {
    signal?.throwIfAborted()
    await client.greeted
    await client.execute('qmp_capabilities')
    return client
  } catch (error) {
    await client.close()
    if (signal?.aborted) throw signal.reason
    throw error
  } finally {
    signal?.removeEventListener('abort', abort)
  }
}

class SocketQmpClient extends TypedEventEmitter<EventMap> implements QmpClient {
  readonly greeted: Promise<void>
  readonly closed: Promise<QmpLostError>
  readonly #socket: Duplex
  readonly #session = new QmpSession()
  readonly #waiting = new Map<number, Waiting>()
  #greet: () => void = () => {}
  #finish: (error: QmpLostError) => void = () => {}
  #version: QmpVersion | undefined
  #lost: QmpLostError | undefined

  constructor(socket: Duplex) {
    super()
    this.#socket = socket
    this.closed = new Promise((resolve) => {
      this.#finish = resolve
    })
    const greeted = new Promise<void>((resolve) => {
      this.#greet = resolve
    })
    this.greeted = Promise.race([
      greeted,
      this.closed.then((error) => {
        throw error
      }),
    ])
    // Nobody may be waiting for the greeting any more when the connection ends later.
    this.greeted.catch(() => {})
    socket.on('data', (bytes: Uint8Array) => {
      this.#receive(bytes)
    })
    socket.on('error', (error) => {
      this.lose(error.message, { cause: error })
    })
    socket.on('end', () => {
      this.lose('QEMU closed it')
    })
    socket.on('close', () => {
      this.lose('it was closed')
    })
  }

  get version(): QmpVersion {
    if (!this.#version) throw new TypeError('version is not known before the greeting')
    return this.#version
  }

  async execute<Name extends QmpCommandName>(
    name: Name,
    ...rest: QmpExecuteArguments<Name>
  ): Promise<QmpCommands[Name]['returns']> {
    const [parameters] = rest as [object?]
    const command = parameters ? { execute: name, arguments: parameters } : { execute: name }
    const [reply] = this.#send([command])
    return (await reply) as QmpCommands[Name]['returns']
  }

  pipeline<const Commands extends readonly QmpPipelineCommand[]>(
    commands: Commands,
  ): QmpPipelineReturns<Commands> {
    return this.#send(commands) as unknown as QmpPipelineReturns<Commands>
  }

  async close(): Promise<void> {
    this.lose('it was closed')
    if (this.#socket.closed) return
    await new Promise<void>((resolve) => {
      this.#socket.once('close', resolve)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Rejects what waits, and closes the socket. */
  lose(reason: string, options?: ErrorOptions): void {
    if (this.#lost) return
    const lost = new QmpLostError(reason, options)
    this.#lost = lost
    this.#socket.destroy()
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { reject } of waiting) reject(lost)
    this.#finish(lost)
  }

  #send(commands: readonly QmpCommand[]): Promise<unknown>[] {
    const refuse = (error: Error): Promise<unknown>[] => commands.map(() => quiet(error))
    if (this.#lost) return refuse(this.#lost)
    const [effect] = this.#session.step({ type: 'commands', commands })
    if (effect?.type !== 'write') return refuse(new QmpBusyError(QMP_PENDING_MAX))
    const replies = commands.map(({ execute: command }, index) => {
      const reply = new Promise<unknown>((resolve, reject) => {
        this.#waiting.set(effect.ids[index] ?? 0, { command, resolve, reject })
      })
      // A caller of `pipeline` may look at the first promise only; the others must not end the
      // process as unhandled.
      reply.catch(() => {})
      return reply
    })
    this.#socket.write(effect.text)
    return replies
  }

  #receive(bytes: Uint8Array): void {
    if (this.#lost) return
    for (const effect of this.#session.step({ type: 'bytes', bytes })) this.#perform(effect)
  }

  #perform(effect: QmpEffect): void {
    switch (effect.type) {
      case 'greeting':
        this.#version = effect.version
        this.#greet()
        break
      case 'returned':
        this.#take(effect.id)?.resolve(effect.value)
        break
      case 'failed': {
        const waiting = this.#take(effect.id)
        const { qmpClass, description } = effect
        waiting?.reject(new QmpError({ command: waiting.command, qmpClass, description }))
        break
      }
      case 'event':
        this.#dispatch(effect.event)
        break
      case 'broken':
        this.lose(effect.reason)
        break
      case 'write':
      case 'full':
        break
    }
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    return waiting
  }

  /** Events of other names are QEMU's business. The data's shape is QEMU's promise (qapi). */
  #dispatch({ name, data, unixMs }: QmpEventRecord): void {
    if (!EVENTS.has(name)) return
    this.dispatchEvent(new CustomEvent(name, { detail: { ...data, unixMs } }))
  }
}

function quiet(error: Error): Promise<never> {
  const rejected = Promise.reject<never>(error)
  rejected.catch(() => {})
  return rejected
}
