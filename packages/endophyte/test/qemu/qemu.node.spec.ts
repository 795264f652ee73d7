import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { parseGuestTick } from '../../src/core/guest-plan.ts'
import { joinStream } from '../../src/core/migration-stream.ts'
import { copyMemory, makeGuest, MEMORY_BYTES, prepareHost, procNumber } from './guest-harness.ts'

let host: Awaited<ReturnType<typeof prepareHost>>
beforeAll(async () => {
  host = await prepareHost()
})

test('a guest boots, ticks without errors, and takes commands', async () => {
  await using guest = await makeGuest(host)
  const ready = guest.line(/^READY /)
  await guest.qemu.start()
  expect(guest.qemu.vcpuThreads).toHaveLength(1)
  expect(readdirSync(`/proc/${guest.qemu.pid}/task`)).toContain(String(guest.qemu.vcpuThreads[0]))
  await guest.qemu.cont()
  expect(await ready).toBe('READY mib 64 pages 400 tick 20 seed 1')
  const early = parseGuestTick(await guest.line(/^tick \d*5 /))
  const later = parseGuestTick(await guest.line(/^tick \d*0 /))
  expect(later).toMatchObject({ tick: (early?.tick ?? 0) + 5, errors: 0 })
  expect(later?.pages).toBe((early?.pages ?? 0) + 5 * 400)
  expect(guest.lines.filter((line) => line.startsWith('load:'))).toEqual([])
  guest.qemu.type('corrupt\n')
  expect(parseGuestTick(await guest.line(/ err [1-9]/))?.errors).toBe(1)
})

test('guest memory is one mapping of the given file', async () => {
  await using guest = await makeGuest(host)
  await guest.qemu.start()
  const { ino } = await guest.memory.stat()
  const maps = await readFile(`/proc/${guest.qemu.pid}/maps`, 'utf8')
  const ours = maps.split('\n').filter((line) => line.split(/\s+/)[4] === String(ino))
  expect(ours).toHaveLength(1)
  const [from = '', to = ''] = (ours[0] ?? '').split(' ', 1)[0]?.split('-') ?? []
  expect(Number.parseInt(to, 16) - Number.parseInt(from, 16)).toBe(MEMORY_BYTES)
})

test('stopped and continued 100 times without a leak; the guest sees nothing of it', async () => {
  await using guest = await makeGuest(host)
  await guest.qemu.start()
  await guest.qemu.cont()
  await guest.line(/^tick /)
  const descriptors = (): number => readdirSync(`/proc/${guest.qemu.pid}/fd`).length
  const ours = (): number => readdirSync('/proc/self/fd').length
  const save = async (): Promise<Uint8Array> => {
    const { stopped, state } = guest.qemu.stopAndSaveState()
    await stopped
    const bytes = await state
    await guest.qemu.cont()
    return bytes
  }
  for (let index = 0; index < 10; index++) await save()
  const before = { qemu: descriptors(), ours: ours() }
  const memory = procNumber(`/proc/${guest.qemu.pid}/status`, 'RssAnon')
  const lengths = new Set<number>()
  for (let index = 0; index < 100; index++) {
    lengths.add((await save()).length)
    if (index % 20 === 0) await guest.line(/^tick /)
  }
  expect({ qemu: descriptors(), ours: ours() }).toEqual(before)
  // Translated code grows as the guest runs; 100 leaked states would be 3 MB more.
  const grown = procNumber(`/proc/${guest.qemu.pid}/status`, 'RssAnon') - memory
  expect(grown).toBeLessThan(2_048)
  expect(lengths.size).toBe(1)
  expect(parseGuestTick(await guest.line(/^tick /))?.errors).toBe(0)
})

test('a second QEMU runs on from head, state and memory, and can reboot', async () => {
  await using active = await makeGuest(host)
  await using backup = await makeGuest(host, { role: 'wait' })
  await backup.qemu.start()
  await active.qemu.start()
  await active.qemu.cont()
  await active.line(/^tick /)
  const head = await active.qemu.saveHead()
  expect(await active.qemu.saveHead()).toEqual(head) // as often as needed, always the same
  await active.line(/^tick \d*0 /) // runs on after the head was taken
  const state = await active.qemu.stopAndSaveState().state
  copyMemory(active, backup)
  await active.qemu.stop()
  const last = parseGuestTick(active.lines.at(-1) ?? '')
  const next = backup.line(/^tick /)
  await backup.qemu.loadAndContinue(joinStream(head, state))
  expect(parseGuestTick(await next)).toMatchObject({ tick: (last?.tick ?? 0) + 1, errors: 0 })
  const later = parseGuestTick(await backup.line(/^tick \d*0 /))
  expect(later?.errors).toBe(0)
  const reset = backup.event('reset')
  const ready = backup.line(/^READY /)
  backup.qemu.type('reboot\n')
  expect(await reset).toEqual({ guest: true, reason: 'guest-reset' })
  await ready
})

test('what the guest finds out about damaged memory it reports', async () => {
  await using guest = await makeGuest(host, { load: { corruptAtTick: 5, seed: 3 } })
  await guest.qemu.start()
  await guest.qemu.cont()
  const first = parseGuestTick(await guest.line(/^tick \d+ err [1-9]/))
  expect(first?.errors).toBe(1)
  expect(first?.tick).toBeGreaterThan(5)
})

test.each([
  ['poweroff', 'shutdown', 'guest-shutdown'],
  ['reboot', 'reset', 'guest-reset'],
  ['panic', 'reset', 'guest-reset'],
] as const)('guest %s is an event', async (how, event, reason) => {
  await using guest = await makeGuest(host, { load: { exit: { how, atTick: 3 } } })
  await guest.qemu.start()
  const happened = guest.event(event)
  await guest.qemu.cont()
  expect(await happened).toEqual({ guest: true, reason })
  if (event === 'reset') {
    await guest.line(/^READY /)
    return
  }
  // QEMU lives on, and nobody can make the guest go on.
  expect((await guest.qemu.qmp.execute('query-status')).status).toBe('shutdown')
  await expect(guest.qemu.cont()).rejects.toMatchObject({ code: 'ERR_ENDOPHYTE_PAUSED' })
})

test('a guest that somebody else paused is not continued by us', async () => {
  await using guest = await makeGuest(host)
  await guest.qemu.start()
  await guest.qemu.cont()
  await guest.line(/^tick /)
  const paused = guest.event('paused')
  await guest.qemu.qmp.execute('stop')
  await paused
  expect(guest.qemu.pausedByOther).toBe(true)
  await expect(guest.qemu.cont()).rejects.toMatchObject({ code: 'ERR_ENDOPHYTE_PAUSED' })
  const { stopped, state } = guest.qemu.stopAndSaveState()
  await expect(stopped).rejects.toMatchObject({ code: 'ERR_ENDOPHYTE_PAUSED' })
  await expect(state).rejects.toMatchObject({ code: 'ERR_ENDOPHYTE_PAUSED' })
  const resumed = guest.event('resumed')
  await guest.qemu.qmp.execute('cont')
  await resumed
  await guest.qemu.stopAndSaveState().state
  await guest.qemu.cont()
  await guest.line(/^tick /)
})

test('a stream that QEMU cannot load is an error that says why, and QEMU is gone', async () => {
  await using active = await makeGuest(host)
  await active.qemu.start()
  const head = await active.qemu.saveHead()
  const state = await active.qemu.stopAndSaveState().state
  await using backup = await makeGuest(host, { role: 'wait' })
  await backup.qemu.start()
  const stream = joinStream(head, state)
  const failed = backup.qemu.load(stream.subarray(0, stream.length - 1_000))
  await expect(failed).rejects.toMatchObject({ code: 'ERR_ENDOPHYTE_MACHINE_STATE', doing: 'load' })
  await backup.qemu.exited
  await using other = await makeGuest(host)
  await other.qemu.start()
  await expect(other.qemu.load(stream)).rejects.toMatchObject({
    reason: 'this QEMU does not wait for a state',
  })
})

test('QEMU killed from outside: everything that waits is rejected', async () => {
  await using guest = await makeGuest(host)
  await guest.qemu.start()
  await guest.qemu.cont()
  const exited = guest.event('exited')
  process.kill(guest.qemu.pid, 'SIGKILL')
  expect(await exited).toEqual({ signal: 'SIGKILL' })
  expect(() => guest.qemu.qmp).toThrow('QEMU is gone')
  expect(() => guest.qemu.stopAndSaveState()).toThrow('QEMU is gone')
  await expect(guest.qemu.cont()).rejects.toMatchObject({ code: 'ERR_ENDOPHYTE_CLOSED' })
  await expect(guest.qemu.start()).rejects.toMatchObject({ code: 'ERR_ENDOPHYTE_CLOSED' })
})

test('QEMU that does not start says why', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'mycelium-test-'))
  try {
    const kernelPath = join(folder, 'no-kernel')
    await using missing = await makeGuest(host, { kernelPath })
    await expect(missing.qemu.start()).rejects.toMatchObject({ code: 'ENOENT' })
    await writeFile(kernelPath, 'this is no kernel')
    await using bad = await makeGuest(host, { kernelPath })
    await expect(bad.qemu.start()).rejects.toMatchObject({
      code: 'ERR_ENDOPHYTE_QEMU_START',
      output: expect.stringContaining('kernel') as string,
    })
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('stopping before, during and after the start leaves nothing', async () => {
  const before = readdirSync('/proc/self/fd').length
  const unused = await makeGuest(host)
  await unused.qemu.stop()
  await expect(unused.qemu.start()).rejects.toMatchObject({ code: 'ERR_ENDOPHYTE_CLOSED' })
  await unused[Symbol.asyncDispose]()
  const reason = new Error('enough')
  const aborted = await makeGuest(host)
  const controller = new AbortController()
  const starting = aborted.qemu.start({ signal: controller.signal })
  controller.abort(reason)
  await expect(starting).rejects.toBe(reason)
  await aborted[Symbol.asyncDispose]()
  const twice = await makeGuest(host)
  await twice.qemu.start()
  const { pid } = twice.qemu
  await Promise.all([twice.qemu.stop(), twice.qemu.stop()])
  await expect(stat(`/proc/${pid}`)).rejects.toMatchObject({ code: 'ENOENT' })
  await twice[Symbol.asyncDispose]()
  expect(readdirSync('/proc/self/fd').length).toBe(before)
})

test('an unprivileged QEMU can do it all', async ({ skip }) => {
  skip(process.getuid?.() !== 0, 'only root can give QEMU another user')
  // `nobody` of Debian: may not enter the cache folder with kernel and initrd.
  const user = { uid: 65_534, gid: 65_534 }
  const runtimeFolder = await mkdtemp(join(tmpdir(), 'mycelium-test-'))
  try {
    await chmod(runtimeFolder, 0o711)
    await using guest = await makeGuest(host, { user, runtimeFolder })
    await guest.qemu.start()
    expect(procNumber(`/proc/${guest.qemu.pid}/status`, 'Uid')).toBe(user.uid)
    expect(procNumber(`/proc/${guest.qemu.pid}/status`, 'Seccomp')).toBe(2)
    await guest.qemu.cont()
    await guest.line(/^tick /)
    expect((await guest.qemu.saveHead()).length).toBeGreaterThan(100_000)
    expect(await readdir(runtimeFolder)).toEqual([])
    expect((await guest.qemu.stopAndSaveState().state).length).toBeGreaterThan(1_000)
    await guest.qemu.cont()
    await guest.line(/^tick /)
  } finally {
    await rm(runtimeFolder, { recursive: true })
  }
})
