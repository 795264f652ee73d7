import { chmod, mkdir, stat, symlink, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import type { BulkChannel, NodeId } from '@mycelium/interface'
import { bulkChannelCases, type BulkChannelSetup } from '@mycelium/interface/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { GREETING_MAX, UNACCEPTED_MAX } from '../src/channel-acceptor.ts'
import { createSystemRandom } from '../src/system-random.ts'
import { createUnixChannels, type UnixChannels } from '../src/unix-channels.ts'
import {
  ACCEPTOR,
  Cable,
  JumpingClock,
  OPENER,
  removeFolder,
  setupOver,
  temporaryFolder,
  TEST_INIT,
} from './channel-harness.ts'

/** Two folders, so that a cable fits between the opener's and the acceptor's. */
async function setup(): Promise<BulkChannelSetup> {
  const folder = await temporaryFolder()
  const clock = new JumpingClock()
  const deps = { clock, random: createSystemRandom() }
  const folders = { opener: join(folder, 'o'), acceptor: join(folder, 'a') }
  const opener = createUnixChannels(deps, { ...TEST_INIT, local: OPENER, folder: folders.opener })
  const acceptor = createUnixChannels(deps, {
    ...TEST_INIT,
    local: ACCEPTOR,
    folder: folders.acceptor,
  })
  await Promise.all([opener.start(), acceptor.start()])
  const cable = new Cable({ path: acceptor.socketPath(ACCEPTOR) })
  await cable.listen({ path: opener.socketPath(ACCEPTOR) })
  const dispose = async (): Promise<void> => {
    await Promise.all([opener.stop(), acceptor.stop()])
    await removeFolder(folder)
  }
  return await setupOver({ opener, acceptor, cable, clock, dispose })
}

describe('a channel over unix sockets keeps the contract', () => {
  for (const { name, run } of bulkChannelCases) it(name, () => run(setup))
})

describe('createUnixChannels', () => {
  const random = createSystemRandom()
  let base: string
  let clock: JumpingClock
  const nodes: UnixChannels[] = []

  beforeEach(async () => {
    base = await temporaryFolder()
    clock = new JumpingClock()
  })
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map(async (node) => await node.stop()))
    await removeFolder(base)
  })

  const create = (name: string, init: object = {}): UnixChannels => {
    const local = name as NodeId
    const folder = join(base, 's')
    const node = createUnixChannels({ clock, random }, { ...TEST_INIT, local, folder, ...init })
    nodes.push(node)
    return node
  }
  const started = async (name: string): Promise<UnixChannels> => {
    const node = create(name)
    await node.start()
    return node
  }
  const codeOf = async (promise: Promise<unknown>): Promise<unknown> =>
    await promise.then(
      () => 'resolved',
      (error: unknown) => (error as { code?: unknown }).code,
    )
  const closed = async (socket: Socket): Promise<void> => {
    socket.on('error', () => {})
    if (!socket.closed) {
      await new Promise((resolve) => {
        socket.once('close', resolve)
      })
    }
  }

  it('makes its folder 0700 and its socket 0600, and removes the socket', async () => {
    const node = await started('a')
    expect((await stat(join(base, 's'))).mode & 0o777).toBe(0o700)
    expect((await stat(node.socketPath('a' as NodeId))).mode & 0o777).toBe(0o600)
    await node.stop()
    await expect(stat(node.socketPath('a' as NodeId))).rejects.toThrow(/ENOENT/)
  })

  it('refuses a folder that others can enter, or that is none', async () => {
    const folder = join(base, 's')
    await mkdir(folder)
    await chmod(folder, 0o750)
    expect(await codeOf(create('a').start())).toBe('ERR_RAM_SOCKET_FOLDER')
    await chmod(folder, 0o700)
    await started('a')
    await symlink(folder, join(base, 'link'))
    const linked = create('b', { folder: join(base, 'link') })
    expect(await codeOf(linked.start())).toBe('ERR_RAM_SOCKET_FOLDER')
  })

  it('takes over the socket of a dead process, not that of a living one', async () => {
    const first = await started('a')
    expect(await codeOf(create('a').start())).toBe('ERR_RAM_SOCKET_FOLDER')
    await first.stop()
    const dead = new Promise<void>((resolve) => {
      // A socket file without a listener, as SIGKILL leaves it.
      void writeFile(first.socketPath('a' as NodeId), '').then(resolve)
    })
    await dead
    await started('a')
  })

  it('checks the length of the path and the name, at the bound', () => {
    const name = (bytes: number): string => 'n'.repeat(bytes - join(base, 's', '.sock').length)
    expect(() => create(name(107))).not.toThrow()
    expect(() => create(name(108))).toThrow(RangeError)
    for (const wrong of ['', '.', '../x', 'a/b', 'a\0b']) {
      expect(() => create(wrong)).toThrow(TypeError)
    }
  })

  it('ERR_BULK_UNREACHABLE: nobody there; ERR_BULK_REFUSED: nobody listens for it', async () => {
    const opener = create('o')
    expect(await codeOf(opener.open(ACCEPTOR, 'x/1'))).toBe('ERR_BULK_UNREACHABLE')
    const acceptor = await started(ACCEPTOR)
    expect(await codeOf(opener.open(ACCEPTOR, 'x/1'))).toBe('ERR_BULK_REFUSED')
    acceptor.accept('y/')
    expect(await codeOf(opener.open(ACCEPTOR, 'x/1'))).toBe('ERR_BULK_REFUSED')
    const controller = new AbortController()
    const accepted = acceptor.accept('x/', { signal: controller.signal })[Symbol.asyncIterator]()
    const channel = await opener.open(ACCEPTOR, 'x/1')
    expect((await accepted.next()).value).toMatchObject({ purpose: 'x/1', remote: 'o' })
    const next = accepted.next()
    controller.abort(new Error('enough'))
    await expect(next).rejects.toThrow('enough')
    expect(await accepted.next()).toEqual({ done: true, value: undefined })
    expect(await codeOf(opener.open(ACCEPTOR, 'x/2'))).toBe('ERR_BULK_REFUSED')
    expect(channel.state).toBe('open') // an accepted channel outlives the listening
  })

  it('the listener with the longest prefix gets the channel', async () => {
    const acceptor = await started(ACCEPTOR)
    const short = acceptor.accept('x')[Symbol.asyncIterator]()
    const long = acceptor.accept('x/y/')[Symbol.asyncIterator]()
    const opener = create('o')
    await opener.open(ACCEPTOR, 'x/y/1')
    await opener.open(ACCEPTOR, 'x/z')
    expect((await long.next()).value).toMatchObject({ purpose: 'x/y/1' })
    expect((await short.next()).value).toMatchObject({ purpose: 'x/z' })
  })

  it('at most 16 unaccepted channels, then peers are refused', async () => {
    const acceptor = await started(ACCEPTOR)
    const accepted = acceptor.accept('x/')[Symbol.asyncIterator]()
    const opener = create('o')
    const opened: BulkChannel[] = []
    for (let count = 0; count < UNACCEPTED_MAX; count++) {
      opened.push(await opener.open(ACCEPTOR, `x/${count}`))
    }
    expect(await codeOf(opener.open(ACCEPTOR, 'x/more'))).toBe('ERR_BULK_REFUSED')
    expect((await accepted.next()).value).toMatchObject({ purpose: 'x/0' })
    await opener.open(ACCEPTOR, 'x/again')
    // Leaving: whoever was not taken is let go.
    const gone = new Promise((resolve) => {
      opened[5]?.addEventListener('closed', ({ detail }) => resolve(detail.reason))
    })
    await accepted.return?.()
    expect(await gone).toMatchObject({ code: 'ERR_BULK_ABORTED' })
  })

  it('purpose and remote are checked at their bounds', async () => {
    const acceptor = await started(ACCEPTOR)
    acceptor.accept('')
    const opener = create('o')
    await opener.open(ACCEPTOR, 'é'.repeat(128))
    await expect(opener.open(ACCEPTOR, `${'é'.repeat(128)}x`)).rejects.toThrow(RangeError)
    await expect(opener.open(ACCEPTOR, '')).rejects.toThrow(RangeError)
  })

  it('a peer process that lost the session says so: ERR_BULK_SESSION_LOST', async () => {
    const acceptor = await started(ACCEPTOR)
    acceptor.accept('x/')
    const opener = create('o')
    const cable = new Cable({ path: acceptor.socketPath(ACCEPTOR) })
    const elsewhere = create('p', { folder: join(base, 'cable') })
    await elsewhere.start()
    await cable.listen({ path: elsewhere.socketPath(ACCEPTOR) })
    const through = create('q', { folder: join(base, 'cable') })
    const channel = await through.open(ACCEPTOR, 'x/1')
    const ended = new Promise((resolve) => {
      channel.addEventListener('closed', ({ detail }) => resolve(detail.reason))
    })
    cable.cut()
    // The same address, another process: it has never heard of the session.
    await acceptor.stop()
    const reborn = await started(ACCEPTOR)
    reborn.accept('x/')
    cable.mend()
    expect(await ended).toMatchObject({ code: 'ERR_BULK_SESSION_LOST' })
    expect(await codeOf(channel.send(Uint8Array.of(1)))).toBe('ERR_BULK_SESSION_LOST')
    expect(opener).toBeDefined()
    await cable.close()
  })

  it('a stranger that sends nonsense, or nothing, is cut off and costs little', async () => {
    const acceptor = await started(ACCEPTOR)
    acceptor.accept('x/')
    const path = acceptor.socketPath(ACCEPTOR)
    const nonsense = connect({ path })
    nonsense.write('GET / HTTP/1.1\r\n\r\n')
    await closed(nonsense)
    const silent = Array.from({ length: GREETING_MAX }, () => connect({ path }))
    await Promise.all(
      silent.map(
        async (socket) =>
          await new Promise((resolve) => {
            socket.once('connect', resolve)
          }),
      ),
    )
    await closed(connect({ path })) // one too many
    clock.jump(TEST_INIT.connectMs)
    await Promise.all(silent.map(closed))
    await create('o').open(ACCEPTOR, 'x/1')
  })

  it('stop aborts its channels, at both ends, and is idempotent', async () => {
    const acceptor = await started(ACCEPTOR)
    const accepted = acceptor.accept('x/')[Symbol.asyncIterator]()
    const opener = create('o')
    const channel = await opener.open(ACCEPTOR, 'x/1')
    const { value: other } = await accepted.next()
    const seen = new Promise((resolve) => {
      channel.addEventListener('closed', ({ detail }) => resolve(detail.reason))
    })
    await Promise.all([acceptor.stop(), acceptor.stop()])
    expect(other).toMatchObject({ state: 'closed' })
    expect(await seen).toMatchObject({ code: 'ERR_BULK_ABORTED' })
    expect(await accepted.next()).toEqual({ done: true, value: undefined })
  })

  it('abort of an open: signal.reason', async () => {
    const reason = new Error('no more')
    const opener = create('o')
    const signal = AbortSignal.abort(reason)
    await expect(opener.open(ACCEPTOR, 'x/1', { signal })).rejects.toBe(reason)
    const controller = new AbortController()
    const opening = opener.open(ACCEPTOR, 'x/1', { signal: controller.signal })
    controller.abort(reason)
    await expect(opening).rejects.toBe(reason)
    await expect(create('b').start({ signal })).rejects.toBe(reason)
  })

  it('both ends use the smaller bounds', async () => {
    const acceptor = create(ACCEPTOR, { bufferBytesMax: 2 ** 16, messageBytesMax: 2 ** 12 })
    await acceptor.start()
    acceptor.accept('x/')
    const channel = await create('o').open(ACCEPTOR, 'x/1')
    expect(channel).toMatchObject({ bufferBytesMax: 2 ** 16, messageBytesMax: 2 ** 12 })
  })

  it('bounds of the configuration are checked', () => {
    for (const init of [
      { bufferBytesMax: 15 },
      { bufferBytesMax: 2 ** 32 },
      { bufferBytesMax: 1_600, messageBytesMax: 1_501 },
      { messageBytesMax: 0 },
      { graceMs: 0 },
      { keepAliveMs: 100, silenceMs: 199 },
      { backoffMs: 5, backoffMsMax: 4 },
    ]) {
      expect(() => create('a', init), JSON.stringify(init)).toThrow(RangeError)
    }
    create('a', { bufferBytesMax: 1_600, messageBytesMax: 1_500 })
    create('a', { keepAliveMs: 100, silenceMs: 200, backoffMs: 5, backoffMsMax: 5 })
  })
})
