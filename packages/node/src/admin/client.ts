import { request } from 'node:http'
import type { AbortOptions } from '@mycelium/interface'
import type { CommandName, CommandOptions, CommandResult } from '../command.ts'
import { NotRunningError } from '../errors.ts'
import { RemoteError } from './remote-error.ts'

/** Of an answer: a long audit log, at most. */
const ANSWER_BYTES_MAX = 16 * 1_048_576

export interface HttpAnswer {
  readonly status: number
  readonly text: string
}

/** Asks the daemon behind a socket. Rejects `ERR_NODE_NOT_RUNNING` if nobody answers there. */
export async function ask(
  socket: string,
  what: { readonly method: 'GET' | 'POST'; readonly path: string; readonly body?: string },
  { signal }: AbortOptions = {},
): Promise<HttpAnswer> {
  const { method, path, body } = what
  try {
    return await new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json', connection: 'close' }
      const asked = request(
        { socketPath: socket, method, path, headers, ...(signal && { signal }) },
        (response) => {
          const chunks: Buffer[] = []
          let bytes = 0
          response.on('data', (chunk: Buffer) => {
            bytes += chunk.byteLength
            if (bytes > ANSWER_BYTES_MAX) response.destroy(new Error('the answer is too long'))
            else chunks.push(chunk)
          })
          response.on('error', reject)
          response.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8')
            resolve({ status: response.statusCode ?? 0, text })
          })
        },
      )
      asked.on('error', reject)
      asked.end(body)
    })
  } catch (error) {
    signal?.throwIfAborted()
    throw new NotRunningError(socket, { cause: error })
  }
}

/** Has the daemon carry out a command. Rejects as that does, or `ERR_NODE_NOT_RUNNING`. */
export async function command<Name extends CommandName>(
  socket: string,
  name: Name,
  input: CommandOptions<Name>,
  options: AbortOptions = {},
): Promise<CommandResult<Name>> {
  const path = `/v1/commands/${name}`
  const { status, text } = await ask(
    socket,
    { method: 'POST', path, body: JSON.stringify(input) },
    options,
  )
  const answer = JSON.parse(text) as { readonly error?: { code: string; message: string } }
  if (status !== 200) {
    const { code = 'ERR_NODE_FAILED', message = `HTTP status ${status}` } = answer.error ?? {}
    throw new RemoteError({ code, message })
  }
  // SAFETY: the daemon is ours, and gave what the schema of `name` says.
  return answer as CommandResult<Name>
}
