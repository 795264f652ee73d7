import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it, type TestContext } from 'vitest'
import {
  loadAddon,
  type NativeMemory,
  type NativeTracker,
  type NativeTrackerOptions,
} from '../src/addon.ts'
import { pagesOf } from './kit/bits.ts'

const PAGES = 64
const program = fileURLToPath(new URL('./programs/tracked.ts', import.meta.url))
const shim = fileURLToPath(
  new URL(`../prebuilds/linux-${process.arch}/uffd_shim.so`, import.meta.url),
)

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

function createMemory(): NativeMemory {
  const addon = loadAddon()
  const memory = addon.createMemory(PAGES * addon.hostPageBytes, 'tracker-spec')
  cleanups.push(() => {
    memory.close()
  })
  return memory
}

/** A child that has mapped the memory. Killed at the end of the test. */
async function startWriter(
  memory: NativeMemory,
  env: NodeJS.ProcessEnv = {},
): Promise<ChildProcess> {
  const args = ['--conditions=@mycelium/source', program, String(memory.bytes)]
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'inherit', 'inherit', memory.fd, 'ipc'],
    env: { ...process.env, ...env },
  })
  cleanups.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  })
  await once(child, 'message')
  return child
}

async function write(child: ChildProcess, page: number): Promise<void> {
  child.send(page)
  await once(child, 'message')
}

async function open(memory: NativeMemory, options: NativeTrackerOptions): Promise<NativeTracker> {
  const tracker = await loadAddon().openTracker(memory, options)
  cleanups.push(() => {
    tracker.close()
  })
  return tracker
}

/** Skips the test on a machine where no tracker of tier `async` can be had, with the reason. */
function needAsync({ tier, rejected }: NativeTracker, skip: TestContext['skip']): void {
  const reasons = rejected.map(({ reason }) => reason).join('; ')
  skip(tier !== 'async', `tier async cannot be had here: ${reasons}`)
}

async function expectDetection(tracker: NativeTracker, child: ChildProcess): Promise<void> {
  for (let page = 0; page < PAGES; page++) await write(child, page)
  await tracker.scan()
  expect(pagesOf(await tracker.scan())).toEqual([])
  await write(child, 5)
  await write(child, 63)
  const found = pagesOf(await tracker.scan())
  expect(found).toContain(5)
  expect(found).toContain(63)
  expect(found).not.toContain(32)
}

describe('tracker of another process', () => {
  it('finds its writes, and Node does not take a stop of it for its exit', async ({ skip }) => {
    const memory = createMemory()
    const child = await startWriter(memory)
    const exits: unknown[] = []
    child.on('exit', (code, signal) => exits.push([code, signal]))
    const tracker = await open(memory, { pid: child.pid ?? 0 })
    needAsync(tracker, skip)
    await expectDetection(tracker, child)
    tracker.close()
    for (let round = 0; round < 20; round++) {
      const next = await loadAddon().openTracker(memory, { pid: child.pid ?? 0, tier: 'async' })
      await write(child, round)
      expect(pagesOf(await next.scan())).toContain(round)
      next.close()
    }
    expect(exits).toEqual([])
  })

  it('says ESRCH once the process has ended', async ({ skip }) => {
    const memory = createMemory()
    const child = await startWriter(memory)
    const tracker = await open(memory, { pid: child.pid ?? 0 })
    needAsync(tracker, skip)
    await tracker.scan()
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
    await expect(tracker.scan()).rejects.toMatchObject({ code: 'ESRCH' })
    await expect(loadAddon().openTracker(memory, { pid: child.pid ?? 0 })).rejects.toMatchObject({
      code: 'ESRCH',
    })
  })

  it('refuses a process that does not map the memory', async ({ skip }) => {
    const child = await startWriter(createMemory())
    const other = createMemory()
    needAsync(await open(createMemory(), {}), skip)
    await expect(loadAddon().openTracker(other, { pid: child.pid ?? 0 })).rejects.toMatchObject({
      code: 'EINVAL',
    })
  })

  it('works with a descriptor from the preloaded shim', async ({ skip }) => {
    needAsync(await open(createMemory(), {}), skip)
    const folder = mkdtempSync(join(tmpdir(), 'mycelium-shim-'))
    cleanups.push(() => {
      rmSync(folder, { recursive: true })
    })
    const path = join(folder, 's')
    const server = createServer({ pauseOnConnect: true }).listen(path)
    cleanups.push(() => server.close())
    await once(server, 'listening')
    const connection = once(server, 'connection') as Promise<[Socket]>
    const memory = createMemory()
    const child = await startWriter(memory, { LD_PRELOAD: shim, MYCELIUM_UFFD_SOCKET: path })
    const [socket] = await connection
    cleanups.push(() => socket.destroy())
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
    const tracker = await open(memory, { pid: child.pid ?? 0, method: 'shim', shimSocketFd: fd })
    expect(tracker).toMatchObject({ tier: 'async', rejected: [] })
    await expectDetection(tracker, child)
  })
})
