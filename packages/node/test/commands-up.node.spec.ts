import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ask } from '../src/admin/client.ts'
import type { NodeStatus } from '../src/command.ts'
import { PARENT_POLL_MS } from '../src/constants.ts'
import { must, mycelium, Place } from './commands-kit.ts'
import { until } from './process-family.ts'

const bin = fileURLToPath(new URL('../src/bin.ts', import.meta.url))
const program = [process.execPath, '--conditions=@mycelium/source', bin] as const

let place: Place
const started = new Set<number>()

beforeEach(() => {
  place = new Place()
})

afterEach(async () => {
  for (const pid of started) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended, as it should.
    }
  }
  started.clear()
  await place[Symbol.asyncDispose]()
})

function start(...args: readonly string[]): ChildProcess {
  const [command, ...rest] = program
  const child = spawn(command, [...rest, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  started.add(child.pid ?? 0)
  return child
}

const up = (name = 'node'): ChildProcess => {
  return start('up', ...at(name), '--listen', '/ip4/127.0.0.1/tcp/0')
}
const at = (name = 'node'): string[] => ['--data-dir', place.path(name)]

async function statusOf(...where: string[]): Promise<NodeStatus> {
  const text = await must('status', '--wait', '--timeout', '30', ...where, '-o', 'json')
  return JSON.parse(text) as NodeStatus
}

/** Waits until it has lived for longer than an orphan may. */
async function untilOld(...where: string[]): Promise<void> {
  const { uptimeMs } = await statusOf(...where)
  for (;;) {
    const now = await statusOf(...where)
    if (now.uptimeMs > uptimeMs + 4 * PARENT_POLL_MS) return
  }
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<unknown> {
  const exit = once(child, 'exit')
  child.kill(signal)
  return await exit
}

describe('up --dev', () => {
  async function startDev(): Promise<{ child: ChildProcess; folder: string }> {
    const child = start('up', '--dev')
    child.stderr?.resume()
    const [line] = (await once(child.stdout!, 'data')) as [Buffer]
    const folder = /^a new network; talk to it with --data-dir (\S+)\n$/.exec(`${line}`)?.[1] ?? ''
    return { child, folder }
  }

  it('is a complete network of one node, in one command, and gone at the end', async () => {
    const { child, folder } = await startDev()
    const where = ['--data-dir', folder]
    const status = await statusOf(...where)
    expect(status).toMatchObject({ isReady: true, networkName: 'dev', phase: 'monitoring' })
    expect(status.members.map(({ isSelf }) => isSelf)).toEqual([true])
    expect(status.listening).toEqual([expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\//)])

    // It can do what a network can.
    const token = await must('token', 'create', ...where)
    await must('join', ...at('second'), '--token-file', place.put('token', token))

    const socket = `${folder}/mycelium.sock`
    const get = async (path: string) => await ask(socket, { method: 'GET', path })
    expect(await get('/livez')).toEqual({ status: 200, text: 'ok\n' })
    const readiness = await get('/readyz?verbose')
    expect(readiness.status).toBe(200)
    expect(readiness.text).toMatch(/^\[\+\] membership: member of dev$/m)
    const metrics = await get('/metrics')
    expect(metrics.text).toMatch(/^mycelium_ready 1$/m)
    expect(metrics.text).toMatch(/^mycelium_uptime_seconds [\d.]+$/m)
    expect(metrics.text).toMatch(/# EOF\n$/)

    expect(await must('log', ...where)).toBe('the daemon logs from level info on\n')
    await must('log', '--level', 'debug', ...where)
    expect(await must('log', ...where)).toBe('the daemon logs from level debug on\n')
    expect(await must('config', 'show', '--effective', ...where)).toMatch(
      /^listen +\["\/ip4\/127\.0\.0\.1\/tcp\/0"\] +--dev$/m,
    )
    expect(await must('config', 'show', ...where)).toMatch(/^listen .* default$/m)

    expect(await ended(child, 'SIGTERM')).toEqual([0, null])
    expect(existsSync(folder)).toBe(false)
  })

  it('ends with who started it', async () => {
    const shell = ['-c', '"$@" & wait', 'sh', ...program, 'up', '--dev']
    const child = spawn('sh', shell, { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stderr.resume()
    const [line] = (await once(child.stdout, 'data')) as [Buffer]
    const folder = /--data-dir (\S+)\n$/.exec(`${line}`)?.[1] ?? ''
    await statusOf('--data-dir', folder)
    child.kill('SIGKILL')
    await until(() => (existsSync(folder) ? undefined : true))
  })
})

describe('up', () => {
  beforeEach(async () => {
    await must('init', '--name', 'garden', ...at())
  })

  it.each(['SIGTERM', 'SIGINT'] as const)('%s is how it ends well', async (signal) => {
    const child = up()
    const stderr = text(child.stderr!)
    await statusOf(...at())
    expect(await ended(child, signal)).toEqual([0, null])
    expect(existsSync(place.path('node/mycelium.sock'))).toBe(false)
    const events = (await stderr)
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { readonly event: string }).event)
    expect(events).toContain('node started')
    expect(events).toContain('node stops')
  })

  it('is the same node after SIGKILL', async () => {
    const first = up()
    const before = await statusOf(...at())
    expect(await ended(first, 'SIGKILL')).toEqual([null, 'SIGKILL'])
    expect((await mycelium('status', ...at())).exitCode).toBe(3)
    const second = up()
    const after = await statusOf(...at())
    expect(after).toMatchObject({ node: before.node, network: before.network, isReady: true })
    expect(await must('audit', 'verify', ...at())).toMatch(/^nothing was cut out/)
    expect(await ended(second, 'SIGTERM')).toEqual([0, null])
  })

  it('outlives its parent, and a terminal that is closed', async () => {
    const shell = ['-c', '"$@" >/dev/null 2>"$0" & echo $!', place.path('log'), ...program]
    const args = [...shell, 'up', ...at(), '--listen', '/ip4/127.0.0.1/tcp/0']
    const child = spawn('sh', args, { stdio: ['ignore', 'pipe', 'ignore'] })
    const pid = Number(await text(child.stdout))
    started.add(pid)
    await statusOf(...at())
    process.kill(pid, 'SIGHUP')
    await untilOld(...at())
    process.kill(pid, 'SIGTERM')
    await until(() => (existsSync(`/proc/${pid}`) ? undefined : true))
    expect(readFileSync(place.path('log'), 'utf8')).toMatch(/"event":"node stops"/)
  })

  it('goes on when nobody reads its log', async () => {
    const child = up()
    await statusOf(...at())
    child.stderr?.destroy()
    child.stdout?.destroy()
    await must('log', '--level', 'trace', ...at())
    await must('token', 'create', ...at())
    await untilOld(...at())
    expect(await must('audit', 'show', ...at())).toMatch(/command:token-create/)
    expect(await ended(child, 'SIGTERM')).toEqual([0, null])
  })
})
