import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { buffer, text } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { createRegion } from '@mycelium/ram'
import { afterEach, describe, test } from 'vitest'
import { findGuard, spawnGuarded } from '../src/guard.ts'
import type { GuardedInit, GuardedProcess } from '../src/guard.ts'
import { clock, isDead, sampleProcess, until, untilTime } from './process-kit.ts'

const BUSY = ['-c', 'while :; do :; done']
/** Pages of 64 KiB are the largest that any machine has. */
const REGION_BYTES = 65_536
/** Long enough to set the scene on a busy machine. */
const TTL_MS = 1_500

/** Nothing that shall happen before the deadline takes so long. */
const TTL_MS_MAX = 60_000

/** For what a busy machine may prevent now and then. */
const ATTEMPTS_MAX = 10

const stack: (() => void)[] = []
afterEach(() => {
  for (const undo of stack.splice(0).reverse()) undo()
})

function createPage(): GuardedInit['page'] {
  const region = createRegion({ bytes: REGION_BYTES, name: 'mycelium-deadline' })
  stack.push(() => region.close())
  return { fd: region.fd, buffer: region.buffer.buffer as ArrayBuffer }
}

async function start(init: Partial<GuardedInit> = {}): Promise<GuardedProcess> {
  const guarded = await spawnGuarded({ command: 'sh', args: BUSY, page: createPage(), ...init })
  stack.push(() => guarded.guard.kill('SIGKILL'))
  return guarded
}

describe('the guarded program', () => {
  test('ends as if it had no guard: by code or by signal', async () => {
    const code = await start({ args: ['-c', 'exit 7'] })
    assert.deepEqual(await code.exited, { code: 7, signal: null, reason: 'exit' })
    const signal = await start({ args: ['-c', 'kill -USR1 $$'] })
    assert.deepEqual(await signal.exited, { code: null, signal: 'SIGUSR1', reason: 'exit' })
  })

  test('that does not exist is one clear error', async () => {
    await assert.rejects(
      start({ command: '/no/such/program', stdio: ['ignore', 'ignore', 'ignore'] }),
      {
        code: 'ERR_ENDOPHYTE_GUARD_START',
        message: 'the guard could not start its program: ENOENT',
      },
    )
  })

  test('has the descriptors it was given and no other, and cannot gain privileges', async () => {
    const args = ['-c', 'ls /proc/self/fd; grep NoNewPrivs /proc/self/status; cat <&3']
    const { guard } = await start({ args, stdio: ['ignore', 'pipe', 'inherit', 'pipe'] })
    const input = guard.stdio[3]
    assert.ok(input !== null && input !== undefined && 'end' in input)
    input.end('through descriptor 3')
    const output = await text(guard.stdout as Readable)
    // 4 is the folder that ls reads.
    assert.deepEqual(output.split('\n'), [
      ...['0', '1', '2', '3', '4'],
      'NoNewPrivs:\t1',
      'through descriptor 3',
    ])
  })

  test('runs as another user without groups', async (context) => {
    if (process.getuid?.() !== 0) context.skip('only root can become another user')
    const groups = process.getgroups?.() ?? []
    stack.push(() => process.setgroups?.(groups))
    process.setgroups?.([...groups, 12_345])
    const { guard } = await start({
      args: ['-c', 'id -u; id -g; id -G'],
      user: { uid: 65_534, gid: 65_533 },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    assert.equal(await text(guard.stdout as Readable), '65534\n65533\n65533\n')
  })

  test('without a guard executable there is a coded error', async () => {
    assert.throws(() => findGuard('/no/such/folder'), {
      code: 'ERR_ENDOPHYTE_NO_GUARD',
      tried: [`/no/such/folder/prebuilds/linux-${process.arch}/mycelium-guard`],
    })
    await assert.rejects(start({ guardPath: '/no/such/guard' }), {
      code: 'ERR_ENDOPHYTE_GUARD_START',
    })
  })

  test('a page that is too small is refused', async () => {
    await assert.rejects(start({ page: { fd: 0, buffer: new ArrayBuffer(4095) } }), RangeError)
  })
})

describe('the deadline', () => {
  test('kills, and not later than it says', async () => {
    const reasons: string[] = []
    // The guard itself kills a little earlier. If it gets no CPU time, the kernel does, in time.
    for (let attempt = 0; attempt < ATTEMPTS_MAX && !reasons.includes('deadline'); attempt++) {
      const guarded = await start()
      const deadline = clock.now() + 300
      guarded.setDeadline(deadline)
      const { signal, reason } = await guarded.exited
      assert.equal(signal, 'SIGKILL')
      assert.ok(isDead(guarded.pid))
      assert.ok(reason === 'deadline' || clock.now() >= deadline, reason)
      reasons.push(reason)
    }
    assert.ok(reasons.includes('deadline'), reasons.join())
  })

  test('that grows in time lets the program live, and the kernel follows', async () => {
    const guarded = await start()
    const until = clock.now() + 2_000
    let deadline = 0
    while (clock.now() < until) {
      deadline = clock.now() + TTL_MS
      guarded.setDeadline(deadline)
      await untilTime(clock.now() + 50)
    }
    assert.ok(!isDead(guarded.pid))
    const armed = guarded.armedUntil ?? 0
    assert.ok(armed > deadline - TTL_MS && armed <= deadline, `${armed} against ${deadline}`)
    guarded.setDeadline(deadline - 1_000)
    guarded.kill()
    assert.equal((await guarded.exited).reason, 'signal')
  })

  test('far beyond the longest time to live kills at once: it is no deadline', async () => {
    const guarded = await start()
    guarded.setDeadline(clock.now() + 1e9)
    assert.equal((await guarded.exited).reason, 'bad-deadline')
  })

  test('must be a time', async () => {
    const guarded = await start()
    for (const at of [NaN, Infinity, 0, -1]) {
      assert.throws(() => guarded.setDeadline(at), RangeError)
    }
    assert.throws(() => guarded.setReleaseMessage(new Uint8Array(1025)), RangeError)
    guarded.setReleaseMessage(new Uint8Array(1024))
  })
})

describe('signals', () => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) {
    test(`${signal} to the guard kills the program`, async () => {
      const guarded = await start()
      guarded.guard.kill(signal)
      assert.deepEqual(await guarded.exited, { code: null, signal: 'SIGKILL', reason: 'signal' })
      assert.equal(sampleProcess(guarded.pid).state, 'gone')
    })
  }

  test('a program whose guard was killed dies with it', async () => {
    const guarded = await start()
    guarded.guard.kill('SIGKILL')
    assert.deepEqual(await guarded.exited, { code: null, signal: 'SIGKILL', reason: 'unknown' })
    assert.ok(isDead(guarded.pid))
  })

  test('a stopped program whose guard was killed dies without being continued', async () => {
    const guarded = await start()
    process.kill(guarded.pid, 'SIGSTOP')
    await until(() => sampleProcess(guarded.pid).state === 'T', 'the program is stopped')
    guarded.guard.kill('SIGKILL')
    await until(() => isDead(guarded.pid), 'the program is dead')
  })
})

describe('with a host process of its own', () => {
  interface Family {
    readonly pids: { readonly pid: number; readonly guardPid: number; readonly hostPid: number }
    readonly deadline: number
    /** What came to the lease server's socket. */
    readonly released: Promise<Buffer>
  }

  async function startHost(ttlMs: number): Promise<Family> {
    const folder = mkdtempSync(join(tmpdir(), 'mycelium-guard-'))
    const path = join(folder, 'release.sock')
    const server = createServer()
    const released = new Promise<Buffer>((resolve) => {
      server.once('connection', (socket) => resolve(buffer(socket)))
    })
    server.listen(path)
    const script = fileURLToPath(new URL('programs/guard-host.ts', import.meta.url))
    const host = spawn(process.execPath, [...process.execArgv, script, `${ttlMs}`, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    stack.push(() => {
      host.kill('SIGKILL')
      server.close()
      rmSync(folder, { recursive: true })
    })
    const lines = createInterface(host.stdout)
    const [line] = (await once(lines, 'line')) as [string]
    const { pid, guardPid, deadline } = JSON.parse(line) as Family['pids'] & Family
    return { pids: { pid, guardPid, hostPid: host.pid ?? 0 }, deadline, released }
  }

  test('the death of the host kills the program, and then the lease is given back', async () => {
    const { pids, released } = await startHost(TTL_MS_MAX)
    process.kill(pids.hostPid, 'SIGKILL')
    assert.equal(`${await released}`, 'release')
    assert.ok(isDead(pids.pid), 'it was dead before the message left')
    await until(() => isDead(pids.guardPid), 'the guard is gone')
  })

  const cases: readonly (readonly ('pid' | 'guardPid' | 'hostPid')[])[] = [
    ['hostPid'],
    ['guardPid'],
    ['pid'],
    ['hostPid', 'guardPid'],
    ['hostPid', 'guardPid', 'pid'],
  ]
  for (const stopped of cases) {
    test(`stopped ${stopped.join(' and ')}: dead without SIGCONT`, async () => {
      const { pids, deadline } = await startHost(TTL_MS)
      for (const who of stopped) process.kill(pids[who], 'SIGSTOP')
      for (const who of stopped) {
        await until(() => sampleProcess(pids[who]).state === 'T', `${who} is stopped`)
      }
      const before = sampleProcess(pids.pid)
      await until(() => isDead(pids.pid), 'the program is dead')
      await until(() => isDead(pids.guardPid), 'the guard is dead too')
      const { state, cpuTicks } = sampleProcess(pids.pid)
      if (stopped.includes('pid') && state !== 'gone') {
        // To die takes some time itself; running in between would be over a hundred.
        assert.ok(cpuTicks - before.cpuTicks <= 2, `ran for ${cpuTicks - before.cpuTicks} ticks`)
      }
      for (const who of ['hostPid', 'guardPid'] as const) {
        if (!isDead(pids[who])) process.kill(pids[who], 'SIGCONT')
      }
      await untilTime(deadline + 100)
      assert.ok(isDead(pids.pid))
      assert.ok(sampleProcess(pids.pid).cpuTicks <= cpuTicks, 'nothing comes back to life')
    })
  }
})

test('guard.ts and deadline_page.h agree on the layout', () => {
  const read = (path: string): string =>
    readFileSync(fileURLToPath(new URL(path, import.meta.url)), 'utf8')
  const header = read('../../../native/src/guard/deadline_page.h')
  const source = read('../src/guard.ts')
  const theirs = [...header.matchAll(/^ {2}Word (\w+);/gm)].map(([, name = '']) =>
    name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
  )
  const table = /const WORD = \{([^}]*)\}/.exec(source)?.[1] ?? ''
  const ours = [...table.matchAll(/(\w+): (\d+)/g)].map(([, name, index]) => [name, Number(index)])
  assert.deepEqual(
    ours,
    [...theirs.entries()].map(([index, name]) => [name, index]),
  )
  assert.equal(ours.length, 12)
})
