import { chmod, chown, mkdir, unlink } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import {
  type Command,
  type CommandName,
  type CommandResult,
  COMMANDS,
  complaintOf,
  isCommandName,
} from '../command.ts'
import { type Metric, renderMetrics } from '../core/metrics.ts'
import { AlreadyRunningError, UsageError } from '../errors.ts'
import { codeOf, exitCodeOf } from '../exit-codes.ts'
import { METRICS_TYPE, openApiDocument } from '../openapi.ts'
import { EXIT_CONFLICT, EXIT_NOT_READY, EXIT_USAGE } from '../constants.ts'

/** Of a request. The largest is a backup of an identity. */
export const BODY_BYTES_MAX = 1_048_576
/** At once; above, the system lets others wait. */
const CONNECTIONS_MAX = 64
/** Until a request has come in whole. */
const REQUEST_MS_MAX = 10_000
/** Readable and writable for the owner and for the group. */
const SOCKET_MODE = 0o660

/** One thing that must be well for the node to serve. */
export interface Check {
  readonly name: string
  readonly ok: boolean
  readonly message: string
}

export interface AdminDeps {
  execute(command: Command): Promise<CommandResult<CommandName>>
  checks(): readonly Check[]
  metrics(): readonly Metric[]
}

export interface AdminInit {
  readonly socket: string
  readonly version: string
  /** Who may use it beside the owner. */
  readonly groupId?: number
  /** Port of `/metrics`, `/livez` and `/readyz` on 127.0.0.1. */
  readonly metricsPort?: number
}

/**
 * The admin interface over HTTP on a unix socket. Whoever can open the socket may do everything on
 * this node: its mode is the only guard.
 */
export interface AdminServer extends AsyncDisposable {
  /** Where metrics are served, if they are. */
  readonly metricsPort: number | undefined
}

/**
 * Listens. A socket that nobody answers on is replaced.
 *
 * Rejects `ERR_NODE_ALREADY_RUNNING` if somebody does, or with the system's error.
 */
export async function startAdminServer(deps: AdminDeps, init: AdminInit): Promise<AdminServer> {
  const { socket, groupId, metricsPort } = init
  await mkdir(dirname(socket), { recursive: true, mode: 0o750 })
  if (await isAnswered(socket)) throw new AlreadyRunningError(socket)
  await unlink(socket).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  const documentText = JSON.stringify(openApiDocument(init.version))
  const server = listener((request, response) =>
    serve(request, response, { ...deps, documentText, isLocal: true }),
  )
  const mask = process.umask(0o177) // nobody else gets in before the mode is set
  try {
    await listening(server, { path: socket })
  } finally {
    process.umask(mask)
  }
  if (groupId !== undefined) await chown(socket, -1, groupId).catch(ignorePermission)
  await chmod(socket, SOCKET_MODE)
  const metrics =
    metricsPort === undefined
      ? undefined
      : listener((request, response) =>
          serve(request, response, { ...deps, documentText, isLocal: false }),
        )
  if (metrics) {
    await listening(metrics, { host: '127.0.0.1', port: metricsPort }).catch(
      async (cause: NodeJS.ErrnoException) => {
        await closed(server) // it would keep the process alive
        throw cause
      },
    )
  }
  const address = metrics?.address()
  return {
    metricsPort: typeof address === 'object' ? address?.port : undefined,
    [Symbol.asyncDispose]: async () => {
      await Promise.all([closed(server), metrics && closed(metrics)])
    },
  }
}

/** A service user cannot give the socket to a group that it is not in: then only it has access. */
function ignorePermission({ code, message }: NodeJS.ErrnoException): void {
  if (code !== 'EPERM') throw new Error(message)
}

async function isAnswered(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect({ path })
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => {
      resolve(false)
    })
  })
}

function listener(
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): Server {
  const server = createServer((request, response) => {
    void handle(request, response)
  })
  server.maxConnections = CONNECTIONS_MAX
  server.requestTimeout = REQUEST_MS_MAX
  server.headersTimeout = REQUEST_MS_MAX
  return server
}

async function listening(server: Server, where: object): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.removeListener('error', reject)
      resolve()
    })
  })
}

async function closed(server: Server): Promise<void> {
  await new Promise<void>((resolve) => {
    server.close(() => {
      resolve()
    })
    server.closeAllConnections()
  })
}

interface Serving extends AdminDeps {
  readonly documentText: string
  /** Over the socket, where commands are taken. */
  readonly isLocal: boolean
}

interface Answer {
  readonly status: number
  readonly type: string
  readonly text: string
}

const COMMAND_PATH = '/v1/commands/'
const plainText = (status: number, text: string): Answer => ({ status, type: 'text/plain', text })
const json = (status: number, value: object): Answer => ({
  status,
  type: 'application/json',
  text: `${JSON.stringify(value)}\n`,
})

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  serving: Serving,
): Promise<void> {
  let answer: Answer
  try {
    answer = await answerTo(request, serving)
  } catch (error) {
    answer = failure(error)
  }
  const { status, type, text } = answer
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

function failure(error: unknown): Answer {
  const message = error instanceof Error ? error.message : String(error)
  const statuses: Readonly<Record<number, number>> = {
    [EXIT_USAGE]: 400,
    [EXIT_CONFLICT]: 409,
    [EXIT_NOT_READY]: 503,
  }
  return json(statuses[exitCodeOf(error)] ?? 500, { error: { code: codeOf(error), message } })
}

async function answerTo(request: IncomingMessage, serving: Serving): Promise<Answer> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
  const { method } = request
  if (pathname.startsWith(COMMAND_PATH) && serving.isLocal) {
    if (method !== 'POST') return json(405, notFound('commands take POST'))
    return await carryOut(pathname.slice(COMMAND_PATH.length), request, serving)
  }
  if (method !== 'GET') return json(405, notFound(`${pathname} takes GET`))
  switch (pathname) {
    case '/livez':
      return plainText(200, 'ok\n')
    case '/readyz':
      return readiness(serving.checks(), searchParams.has('verbose'))
    case '/metrics':
      return { status: 200, type: METRICS_TYPE, text: renderMetrics(serving.metrics()) }
    case '/openapi.json':
      if (serving.isLocal) {
        return { status: 200, type: 'application/json', text: serving.documentText }
      }
  }
  return json(404, notFound(`there is no ${pathname}`))
}

function notFound(message: string): object {
  return { error: { code: 'ERR_NODE_USAGE', message } }
}

function readiness(checks: readonly Check[], isVerbose: boolean): Answer {
  const isReady = checks.every(({ ok }) => ok)
  const lines = checks.map(({ name, ok, message }) => `[${ok ? '+' : '-'}] ${name}: ${message}`)
  const summary = isReady ? 'ok' : 'not ready'
  return plainText(isReady ? 200 : 503, `${[...(isVerbose ? lines : []), summary].join('\n')}\n`)
}

async function carryOut(
  name: string,
  request: IncomingMessage,
  { execute }: Serving,
): Promise<Answer> {
  if (!isCommandName(name)) return json(404, notFound('there is no such command'))
  const body = await readBody(request)
  let given: unknown
  try {
    given = body === '' ? {} : JSON.parse(body)
  } catch (cause) {
    throw new UsageError('the body must be JSON', { cause })
  }
  const { data, error } = COMMANDS[name].input.safeParse(given)
  if (error) throw new UsageError(`${name}: ${complaintOf(error)}`)
  // SAFETY: `data` is what the schema of `name` gave.
  return json(200, await execute({ name, input: data } as Command))
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength
    if (bytes > BODY_BYTES_MAX) {
      throw new UsageError(`the body must have at most ${BODY_BYTES_MAX} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
