import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { NodeId } from '@mycelium/interface'
import { afterEach, beforeEach, describe, test } from 'vitest'
import { createLeaseClient } from '../../src/lease/lease-client.ts'
import type { LeaseClient, LeaseClientInit } from '../../src/lease/lease-client.ts'
import { createLeaseServer } from '../../src/lease/lease-server.ts'
import type { LeaseServer } from '../../src/lease/lease-server.ts'
import { encodeLeaseClientFrame } from '../../src/lease/wire.ts'
import { clock } from '../process-kit.ts'

const TTL_MS = 400
/** For leases that must not run out while a busy machine does other things. */
const TTL_MS_LONG = 4_000
const CONNECTIONS_MAX = 256
const REQUESTS_MAX = 512

let folder: string
const undo: (() => unknown)[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mycelium-lease-'))
  undo.push(() => rmSync(folder, { recursive: true }))
})
afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each()
})

const socketPath = (): string => join(folder, 'lease.sock')

function createClient(self: string, init: Partial<LeaseClientInit> = {}): LeaseClient {
  const ours = { self: self as NodeId, socketPath: socketPath() }
  const client = createLeaseClient({ clock }, { ...ours, ...init })
  undo.push(() => client.stop())
  return client
}

async function startServer(): Promise<LeaseServer> {
  const server = createLeaseServer({ clock }, { folder })
  await server.start()
  undo.push(() => server.stop())
  return server
}

async function spawnServer(): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('../programs/lease-server.ts', import.meta.url))
  const child = spawn(process.execPath, [...process.execArgv, script, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  undo.push(() => child.kill('SIGKILL'))
  const [said] = (await once(child.stdout, 'data')) as [Buffer]
  assert.equal(`${said}`, 'ready\n')
  return child
}

async function killServer(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

async function connectRaw(): Promise<Socket> {
  const socket = connect(socketPath())
  undo.push(() => socket.destroy())
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}

const empty = new Uint8Array(0)

describe('kill -9', () => {
  test('nobody is granted before the old lease has run out, and no epoch repeats', async () => {
    let child = await spawnServer()
    const epochs: bigint[] = []
    const [a, b] = [createClient('a'), createClient('b')]
    for (let round = 0; round < 4; round++) {
      const held = await a.acquire('vm', { ttlMs: TTL_MS, record: empty })
      const waiting = b.acquire('vm', { ttlMs: TTL_MS, record: empty }).then((lease) => {
        return { lease, at: clock.now(), validUntil: held.validUntil }
      })
      // Changes under way, so that it dies in the middle of something.
      const busy = (async () => {
        for (let i = 0; i < 1_000; i++) await held.update(new Uint8Array(1_000))
      })().catch((error: unknown) => error)
      await killServer(child)
      child = await spawnServer()
      await held[Symbol.asyncDispose]()
      await busy
      const { lease, at, validUntil } = await waiting
      assert.ok(at >= validUntil, `granted at ${at}, the old one was valid until ${validUntil}`)
      epochs.push(held.epoch, lease.epoch)
      await lease.release()
    }
    assert.deepEqual(
      epochs,
      epochs.map((_, index) => BigInt(index + 1)),
    )
  })

  test('an acknowledged update is there after the restart, and the holder holds on', async () => {
    let child = await spawnServer()
    const a = createClient('a')
    const held = await a.acquire('vm', { ttlMs: 60_000, record: empty })
    for (let i = 1; i <= 5; i++) {
      await held.update(new Uint8Array([i]))
      await killServer(child)
      child = await spawnServer()
      assert.deepEqual((await createClient('b').read('vm')).record, new Uint8Array([i]))
    }
    await held.update(new Uint8Array([9]))
    assert.ok(!held.lost.aborted)
  })
})

describe('a full disk', () => {
  test('refuses changes, grants nothing, renews on, and recovers', async () => {
    const child = await spawnServer()
    const [a, b] = [createClient('a'), createClient('b')]
    const held = await a.acquire('vm', { ttlMs: TTL_MS_LONG, record: new Uint8Array([1]) })
    const setLimit = (bytes: string): void => {
      execFileSync('prlimit', ['--pid', `${child.pid}`, `--fsize=${bytes}:`])
    }
    setLimit(`${statSync(join(folder, 'leases.log')).size + 10}`)
    await assert.rejects(held.update(new Uint8Array(100)), { code: 'ERR_LEASE_UNAVAILABLE' })
    await assert.rejects(b.acquire('other', { ttlMs: TTL_MS, record: empty }), {
      code: 'ERR_LEASE_UNAVAILABLE',
    })
    const renewed = new Promise<void>((resolve) => {
      held.addEventListener('renewed', () => resolve(), { once: true })
    })
    await renewed
    const view = await b.read('vm')
    assert.deepEqual([view.record, view.epoch], [new Uint8Array([1]), 1n])
    assert.equal((await b.read('other')).epoch, 0n)
    setLimit('unlimited')
    await held.update(new Uint8Array([2]))
    const other = await b.acquire('other', { ttlMs: TTL_MS, record: empty })
    assert.equal(other.epoch, 1n)
    assert.ok(!held.lost.aborted)
  })
})

describe('the folder', () => {
  test('is made private, and serves one server at a time', async () => {
    const server = await startServer()
    assert.equal(statSync(folder).mode & 0o777, 0o700)
    const second = createLeaseServer({ clock }, { folder })
    await assert.rejects(second.start(), { code: 'ERR_LEASE_FOLDER_LOCKED' })
    await second.stop()
    await createClient('a').read('vm') // the first one serves on
    await server.stop()
    await startServer()
  })

  test('is free again after a kill -9, also if another process has the pid', async () => {
    const child = await spawnServer()
    await killServer(child)
    writeFileSync(join(folder, 'lock'), `${process.pid} 1 some-boot`)
    await startServer()
  })

  test('with a live owner in another network namespace is refused', async () => {
    const stat = execFileSync('cat', [`/proc/${process.ppid}/stat`], { encoding: 'latin1' })
    const startedAt = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
    const boot = execFileSync('cat', ['/proc/sys/kernel/random/boot_id'], { encoding: 'latin1' })
    writeFileSync(join(folder, 'lock'), `${process.ppid} ${startedAt} ${boot.trim()}`)
    await assert.rejects(startServer(), { code: 'ERR_LEASE_FOLDER_LOCKED' })
  })

  test('with a damaged log is refused with the place of the damage', async () => {
    const server = await startServer()
    const a = createClient('a')
    await a.acquire('x', { ttlMs: TTL_MS, record: empty })
    await server.stop()
    writeFileSync(join(folder, 'leases.log'), 'MYCLEASX', { flag: 'r+' })
    await assert.rejects(startServer(), {
      code: 'ERR_LEASE_LOG_CORRUPT',
      path: join(folder, 'leases.log'),
      offset: 0,
    })
  })

  test('with a torn log starts, and says so', async () => {
    await (await startServer()).stop()
    appendFileSync(join(folder, 'leases.log'), 'torn')
    const events: string[] = []
    const logger = { log: (_: string, event: string) => void events.push(event) }
    const server = createLeaseServer({ clock, logger }, { folder })
    await server.start()
    await server.stop()
    assert.deepEqual(events, ['lease:torn-tail'])
  })

  test('with a path too long for a socket is a RangeError', () => {
    const long = join(tmpdir(), 'x'.repeat(120))
    assert.throws(() => createLeaseServer({ clock }, { folder: long }), RangeError)
    assert.throws(() => createClient('a', { socketPath: long }), RangeError)
  })
})

describe('bounds and bad input', () => {
  test('a malformed frame costs the sender its connection and nobody else anything', async () => {
    await startServer()
    const a = createClient('a')
    const held = await a.acquire('vm', { ttlMs: TTL_MS_LONG, record: empty })
    const cancel = encodeLeaseClientFrame({ cancel: 77 })
    const watch = encodeLeaseClientFrame({ id: 3, request: { op: 'watch', name: 'x' } })
    for (const bad of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from([0, 0, 0, 0]),
      Buffer.from([0, 0, 0, 1, 0xff]),
      Buffer.concat([cancel, watch, watch]), // an id in use
    ]) {
      const socket = await connectRaw()
      socket.write(bad)
      socket.resume()
      await once(socket, 'close')
    }
    await held.update(new Uint8Array([1]))
  })

  test(`${REQUESTS_MAX} requests wait on one connection, one more ends it`, async () => {
    await startServer()
    const socket = await connectRaw()
    socket.resume()
    const watch = (id: number): Uint8Array =>
      encodeLeaseClientFrame({ id, request: { op: 'watch', name: `n-${id}` } })
    for (let id = 0; id < REQUESTS_MAX; id++) socket.write(watch(id))
    await createClient('a').read('vm')
    assert.ok(!socket.closed)
    socket.write(watch(REQUESTS_MAX))
    await once(socket, 'close')
  })

  test(`${CONNECTIONS_MAX} connections are served, one more is closed`, async () => {
    await startServer()
    const sockets: Socket[] = []
    for (let i = 0; i < CONNECTIONS_MAX; i++) sockets.push(await connectRaw())
    const more = await connectRaw()
    more.resume()
    await once(more, 'close')
    sockets[0]?.destroy()
    await createClient('a').read('vm') // by its retries, once the place is free
  })
})

describe('the message of a guard', () => {
  test('releases the lease at once, and is secret', async () => {
    await startServer()
    const [a, b] = [createClient('a'), createClient('b')]
    const held = await a.acquire('vm', { ttlMs: 60_000, record: new Uint8Array([1]) })
    const waiting = b.acquire('vm', { ttlMs: 60_000, record: empty })
    const forged = Buffer.from(held.releaseMessage())
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1
    const message = held.releaseMessage()
    assert.ok(message.length <= 1024)
    const forger = await connectRaw()
    forger.end(forged)
    await b.read('vm')
    assert.equal((await b.read('vm')).holder, 'a')
    const guard = await connectRaw()
    guard.end(message)
    assert.equal((await waiting).epoch, held.epoch + 1n)
  })
})

describe('a client', () => {
  test('without a server is told so after a while', async () => {
    const a = createClient('a', { unavailableAfterMs: 50 })
    await assert.rejects(a.read('vm'), { code: 'ERR_LEASE_UNAVAILABLE' })
    await assert.rejects(a.acquire('vm', { ttlMs: TTL_MS, record: empty }), {
      code: 'ERR_LEASE_UNAVAILABLE',
    })
  })

  test('that is stopped loses what it holds and refuses the rest', async () => {
    await startServer()
    const a = createClient('a')
    const held = await a.acquire('vm', { ttlMs: TTL_MS, record: empty })
    const waiting = a.acquire('vm', { ttlMs: TTL_MS, record: empty })
    const watching = a.watch('vm')[Symbol.asyncIterator]()
    await watching.next()
    const settled = Promise.allSettled([waiting, watching.next()])
    await a.stop()
    const later = [a.read('vm'), a.acquire('x', { ttlMs: 100, record: empty })]
    const outcomes = [...(await settled), ...(await Promise.allSettled(later))]
    for (const outcome of outcomes) {
      assert.ok(outcome.status === 'rejected')
      assert.equal((outcome.reason as { code?: unknown }).code, 'ERR_LEASE_CLOSED')
    }
    assert.equal(outcomes.length, 4)
    assert.equal((held.lost.reason as { code?: unknown }).code, 'ERR_LEASE_LOST')
    await a.stop()
  })

  test('refuses what is out of bounds', async () => {
    await startServer()
    const a = createClient('a', { stopBudgetMs: 200 })
    const acquire = (name: string, ttlMs: number) => a.acquire(name, { ttlMs, record: empty })
    await assert.rejects(acquire('', 1000), RangeError)
    await assert.rejects(acquire('x'.repeat(257), 1000), RangeError)
    await assert.rejects(acquire('x', 399), RangeError) // twice the stop budget is 400
    await assert.rejects(acquire('x', 1000.5), RangeError)
    assert.throws(() => createClient(''), RangeError)
    assert.throws(() => createClient('x'.repeat(129)), RangeError)
    assert.throws(() => createClient('a', { stopBudgetMs: -1 }), RangeError)
  })

  test('makes one change of a lease at a time; an aborted one is superseded', async () => {
    await startServer()
    const a = createClient('a')
    const held = await a.acquire('vm', { ttlMs: 60_000, record: empty })
    const first = held.update(new Uint8Array([1]))
    await assert.rejects(held.update(new Uint8Array([2])), TypeError)
    await first
    const controller = new AbortController()
    const aborted = held.update(new Uint8Array([3]), { signal: controller.signal })
    controller.abort(new Error('changed my mind'))
    await assert.rejects(aborted, { message: 'changed my mind' })
    await held.update(new Uint8Array([4]))
    assert.deepEqual((await a.read('vm')).record, new Uint8Array([4]))
  })

  test('tells each renewal in the turn in which it came', async () => {
    await startServer()
    const a = createClient('a')
    const held = await a.acquire('vm', { ttlMs: TTL_MS_LONG, record: empty })
    const seen = new Promise<boolean>((resolve) => {
      held.addEventListener('renewed', ({ detail }) => {
        resolve(detail.validUntil === held.validUntil)
      })
    })
    assert.ok(await seen)
  })
})
