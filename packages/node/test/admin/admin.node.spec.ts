import { linkSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { request } from 'node:http'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ask, command } from '../../src/admin/client.ts'
import { type AdminDeps, BODY_BYTES_MAX, startAdminServer } from '../../src/admin/server.ts'
import type { Command } from '../../src/command.ts'
import { AlreadyRunningError, NotReadyError } from '../../src/errors.ts'

let folder: string
let socket: string
let given: Command[]
let isWell: boolean
const started: AsyncDisposable[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'admin-'))
  socket = join(folder, 'run/mycelium.sock')
  given = []
  isWell = true
})

afterEach(async () => {
  for (const one of started.splice(0)) await one[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

async function start(deps: Partial<AdminDeps> = {}, metricsPort?: number) {
  const server = await startAdminServer(
    {
      execute: async (one) => {
        given.push(one)
        if (one.name === 'leave') throw new NotReadyError('no authority can be reached')
        if (one.name === 'token.revoke') throw new AlreadyRunningError(socket)
        if (one.name === 'nodes') throw new Error('it broke')
        return { level: 'info' }
      },
      checks: () => [
        { name: 'identity', ok: true, message: 'member of garden' },
        { name: 'fabric', ok: isWell, message: isWell ? 'listening' : 'starting' },
      ],
      metrics: () => [{ name: 'm', type: 'gauge', help: 'h', values: [{ value: 1 }] }],
      ...deps,
    },
    { socket, version: '1.2.3', ...(metricsPort !== undefined && { metricsPort }) },
  )
  started.push(server)
  return server
}

describe('admin interface', () => {
  it('carries out commands, with defaults filled in', async () => {
    await start()
    expect(await command(socket, 'log.level', {})).toEqual({ level: 'info' })
    await command(socket, 'token.create', { ttlSeconds: 60 })
    expect(given).toEqual([
      { name: 'log.level', input: {} },
      {
        name: 'token.create',
        input: { ttlSeconds: 60, nodeType: 'sclerotium-dedicated', roles: [], addresses: [] },
      },
    ])
  })

  it.each([
    ['leave', {}, 'ERR_NODE_NOT_READY', 'no authority can be reached'],
    ['nodes', {}, 'ERR_NODE_FAILED', 'it broke'],
    ['log.level', { level: 'loud' }, 'ERR_NODE_USAGE', /^log\.level: level: /],
    ['audit.show', { last: 0 }, 'ERR_NODE_USAGE', /^audit\.show: last: /],
  ] as const)('tells why %s failed', async (name, input, code, message) => {
    await start()
    await expect(command(socket, name, input as never)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    })
  })

  it('has a status of HTTP for each kind of failure', async () => {
    await start()
    const statusOf = async (path: string, body: string): Promise<number> => {
      const what = { method: 'POST', path: `/v1/commands/${path}`, body } as const
      return (await ask(socket, what)).status
    }
    const tokenId = '0'.repeat(32)
    expect(await statusOf('log.level', '{}')).toBe(200)
    expect(await statusOf('log.level', '')).toBe(200)
    expect(await statusOf('log.level', '{')).toBe(400)
    expect(await statusOf('log.level', '{"level":7}')).toBe(400)
    expect(await statusOf('frobnicate', '{}')).toBe(404)
    expect(await statusOf('__proto__', '{}')).toBe(404)
    expect(await statusOf('token.revoke', JSON.stringify({ tokenId }))).toBe(409)
    expect(await statusOf('leave', '{}')).toBe(503)
    expect(await statusOf('nodes', '{}')).toBe(500)
    expect((await ask(socket, { method: 'GET', path: '/v1/commands/status' })).status).toBe(405)
  })

  it('bounds what a request may bring', async () => {
    await start()
    const body = JSON.stringify({ level: 'x'.repeat(BODY_BYTES_MAX) })
    const what = { method: 'POST', path: '/v1/commands/log.level', body } as const
    const { status, text } = await ask(socket, what)
    expect({ status, text }).toEqual({
      status: 400,
      text: expect.stringContaining(`at most ${BODY_BYTES_MAX} bytes`) as string,
    })
    expect(given).toEqual([])
  })

  it('says whether it lives and serves', async () => {
    await start()
    const get = (path: string) => ask(socket, { method: 'GET', path })
    expect(await get('/livez')).toEqual({ status: 200, text: 'ok\n' })
    expect(await get('/readyz')).toEqual({ status: 200, text: 'ok\n' })
    isWell = false
    expect(await get('/readyz?verbose')).toEqual({
      status: 503,
      text: '[+] identity: member of garden\n[-] fabric: starting\nnot ready\n',
    })
    expect((await get('/livez')).status).toBe(200)
    expect(JSON.parse((await get('/openapi.json')).text)).toMatchObject({ openapi: '3.1.0' })
    expect((await get('/nothing')).status).toBe(404)
  })

  it('serves metrics on the loopback, and nothing else there', async () => {
    const { metricsPort } = await start({}, 0)
    const get = async (path: string, method = 'GET') =>
      await new Promise<{ status: number | undefined; type: string | undefined }>((resolve) => {
        request({ host: '127.0.0.1', port: metricsPort, path, method }, (response) => {
          response.resume()
          const type = response.headers['content-type']
          response.on('end', () => {
            resolve({ status: response.statusCode, type })
          })
        }).end()
      })
    expect(await get('/metrics')).toEqual({
      status: 200,
      type: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
    })
    expect((await get('/livez')).status).toBe(200)
    expect((await get('/openapi.json')).status).toBe(404)
    expect((await get('/v1/commands/log.level', 'POST')).status).toBe(405)
    expect(given).toEqual([])
  })

  it('lets owner and group in, and nobody else', async () => {
    await start()
    expect(statSync(socket).mode & 0o777).toBe(0o660)
  })

  it('takes the place of a dead one, and leaves a living one alone', async () => {
    await start()
    await expect(start()).rejects.toMatchObject({ code: 'ERR_NODE_ALREADY_RUNNING' })
    expect((await ask(socket, { method: 'GET', path: '/livez' })).status).toBe(200)
    linkSync(socket, `${socket}.kept`)
    for (const one of started.splice(0)) await one[Symbol.asyncDispose]()
    renameSync(`${socket}.kept`, socket) // as SIGKILL leaves it
    await start()
    expect((await ask(socket, { method: 'GET', path: '/livez' })).status).toBe(200)
  })

  it('says that nobody answers', async () => {
    await expect(command(socket, 'status', {})).rejects.toMatchObject({
      code: 'ERR_NODE_NOT_RUNNING',
      message: `no node runs here: nobody answers on ${socket}. To do: mycelium up`,
    })
  })
})
