/**
 * The bundled daemon of a network of one node: memory when idle, beside a bare Node process and
 * beside `serf` (Debian has it) if that is installed; and the time from its start until its admin
 * socket answers, beside a bare Node process that serves HTTP on a socket.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const SAMPLES = 5
/** What a start leaves behind is gone by then. */
const IDLE_MS = 5_000
const LOOK_MS = 5
const START_MS_MAX = 60_000

const bin = fileURLToPath(new URL('../dist/bin.js', import.meta.url))

const BARE = `require('node:http').createServer((_, response) => response.end('ok'))
  .listen(process.argv[1])`

/** Whether HTTP is answered on a socket. */
async function answers(socketPath: string, path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const asked = request({ socketPath, path, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    asked.on('error', () => resolve(false))
    asked.end()
  })
}

/** Milliseconds until `look` is content. */
async function until(child: ChildProcess, look: () => Promise<boolean>): Promise<number> {
  const startedAt = performance.now()
  while (!(await look())) {
    if (child.exitCode !== null || performance.now() - startedAt > START_MS_MAX) {
      throw new Error(`${child.spawnargs.join(' ')}: does not answer`)
    }
    await delay(LOOK_MS)
  }
  return performance.now() - startedAt
}

interface Sample {
  readonly startMs: number
  readonly rssBytes: number
}

async function measure(
  [program = '', ...args]: readonly string[],
  look: () => Promise<boolean>,
  isReady: () => Promise<boolean> = look,
): Promise<Sample> {
  const child = spawn(program, args, { stdio: 'ignore' })
  try {
    const startMs = await until(child, look)
    await until(child, isReady)
    await delay(IDLE_MS)
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
    const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? []
    return { startMs, rssBytes: Number(kibibytes) * 1_024 }
  } finally {
    const exited = child.exitCode === null ? once(child, 'exit') : undefined
    child.kill('SIGTERM')
    await exited
  }
}

function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

interface Compared {
  readonly name: string
  readonly unit: string
  readonly peerName: string
}

function figure(what: Compared, ours: readonly number[], peer: readonly number[]): object {
  const oursSpread = quantile(ours, 0.75) - quantile(ours, 0.25)
  const samples = ours.length
  return { ...what, samples, ours: quantile(ours, 0.5), oursSpread, peer: quantile(peer, 0.5) }
}

async function measureDaemon(folder: string): Promise<Sample> {
  const socket = join(folder, 'mycelium.sock')
  const command = [process.execPath, bin, 'up', '--data-dir', folder, '--config-dir', folder]
  return await measure(
    [...command, '--listen', '/ip4/127.0.0.1/tcp/0'],
    () => answers(socket, '/livez'),
    () => answers(socket, '/readyz'),
  )
}

async function measureBare(folder: string): Promise<Sample> {
  const socket = join(folder, 'bare.sock')
  const sample = await measure([process.execPath, '-e', BARE, socket], () => answers(socket, '/'))
  rmSync(socket, { force: true }) // it does not clean up
  return sample
}

/** An agent alone, as our daemon is. */
async function measureSerf(): Promise<Sample> {
  const rpc = '127.0.0.1:17373'
  const args = ['agent', '-bind=127.0.0.1:17946', `-rpc-addr=${rpc}`, '-node=bench']
  return await measure(['serf', ...args], () => {
    const { status } = spawnSync('serf', ['members', `-rpc-addr=${rpc}`], { stdio: 'ignore' })
    return Promise.resolve(status === 0)
  })
}

export async function bench(): Promise<readonly object[]> {
  if (!existsSync(bin)) throw new Error(`${bin} is missing: npm run build`)
  const hasSerf = spawnSync('serf', ['version'], { stdio: 'ignore' }).status === 0
  if (!hasSerf) console.error('serf is not installed (Debian: serf): not measured')
  const folder = mkdtempSync(join(tmpdir(), 'mycelium-bench-'))
  const ours: Sample[] = []
  const bare: Sample[] = []
  const serf: Sample[] = []
  try {
    const init = ['init', '--name', 'bench', '--data-dir', folder, '--config-dir', folder]
    execFileSync(process.execPath, [bin, ...init], { stdio: 'ignore' })
    for (let sample = 0; sample < SAMPLES; sample++) {
      ours.push(await measureDaemon(folder))
      bare.push(await measureBare(folder))
      if (hasSerf) serf.push(await measureSerf())
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  const megabytes = (samples: readonly Sample[]): number[] =>
    samples.map(({ rssBytes }) => rssBytes / 1e6)
  const starts = (samples: readonly Sample[]): number[] => samples.map(({ startMs }) => startMs)
  const memory = { name: 'idle daemon, resident', unit: 'MB' }
  const start = { name: 'start until the admin socket answers', unit: 'ms' }
  const peerName = 'bare Node with an HTTP socket'
  return [
    figure({ ...memory, peerName }, megabytes(ours), megabytes(bare)),
    ...(hasSerf ? [figure({ ...memory, peerName: 'serf' }, megabytes(ours), megabytes(serf))] : []),
    figure({ ...start, peerName }, starts(ours), starts(bare)),
  ]
}
