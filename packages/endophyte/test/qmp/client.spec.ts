import { duplexPair, type Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { QMP_LINE_BYTES_MAX, QMP_PENDING_MAX } from '../../src/core/qmp-session.ts'
import { QmpBusyError, QmpError, QmpLostError } from '../../src/errors.ts'
import { connectQmp, type QmpClient } from '../../src/qmp/client.ts'

const GREETING = {
  QMP: { version: { qemu: { major: 7, minor: 2, micro: 1 }, package: 'Debian' }, capabilities: [] },
}

interface Command {
  readonly execute: string
  readonly arguments?: object
  readonly id: number
}

/** QEMU's end of the connection, written by the test. */
class FakeQemu {
  readonly #socket: Duplex
  #writes: string[] = []
  #arrived: () => void = () => {}

  constructor(socket: Duplex) {
    this.#socket = socket
    socket.on('error', () => {})
    socket.on('data', (bytes: Uint8Array) => {
      this.#writes.push(Buffer.from(bytes).toString())
      this.#arrived()
    })
  }

  send(...messages: readonly object[]): void {
    this.#socket.write(messages.map((one) => `${JSON.stringify(one)}\r\n`).join(''))
  }

  sendText(text: string): void {
    this.#socket.write(text)
  }

  /** The commands of the next write. */
  async next(): Promise<Command[]> {
    while (this.#writes.length === 0) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
    }
    const text = this.#writes.shift() ?? ''
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Command)
  }

  end(): void {
    this.#socket.end()
  }
}

async function connect(): Promise<{ qemu: FakeQemu; client: QmpClient; socket: Duplex }> {
  const [socket, far] = duplexPair()
  const qemu = new FakeQemu(far)
  const connecting = connectQmp({ socket })
  qemu.send(GREETING)
  const [negotiation] = await qemu.next()
  expect(negotiation?.execute).toBe('qmp_capabilities')
  qemu.send({ return: {}, id: negotiation?.id })
  return { qemu, client: await connecting, socket }
}

test('negotiates and knows the version', async () => {
  const { client } = await connect()
  expect(client.version).toEqual({ major: 7, minor: 2, micro: 1, package: 'Debian' })
})

test('a command, its arguments and its result', async () => {
  const { client, qemu } = await connect()
  const reply = client.execute('migrate', { uri: 'unix:/x' })
  const [command] = await qemu.next()
  expect(command).toMatchObject({ execute: 'migrate', arguments: { uri: 'unix:/x' } })
  qemu.send({ return: { ok: true }, id: command?.id })
  expect(await reply).toEqual({ ok: true })
})

test('a pipeline is one write; events come before later replies', async () => {
  const { client, qemu } = await connect()
  const seen: string[] = []
  client.addEventListener('STOP', () => seen.push('STOP'))
  const [stop, status] = client.pipeline([{ execute: 'stop' }, { execute: 'query-status' }])
  void stop.then(() => seen.push('stopped'))
  const [first, second, ...rest] = await qemu.next()
  expect([first?.execute, second?.execute, rest.length]).toEqual(['stop', 'query-status', 0])
  qemu.send(
    { event: 'STOP', timestamp: { seconds: 1, microseconds: 0 } },
    { return: {}, id: first?.id },
    { return: { running: false, status: 'paused' }, id: second?.id },
  )
  expect((await status).status).toBe('paused')
  expect(seen).toEqual(['STOP', 'stopped'])
})

test('replies in another order find their commands', async () => {
  const { client, qemu } = await connect()
  const replies = client.pipeline([{ execute: 'query-kvm' }, { execute: 'query-status' }])
  const [first, second] = await qemu.next()
  qemu.send({ return: 'second', id: second?.id }, { return: 'first', id: first?.id })
  expect(await Promise.all(replies)).toEqual(['first', 'second'])
})

test("QEMU's refusal is a coded error and leaves the rest alone", async () => {
  const { client, qemu } = await connect()
  const [bad, good] = client.pipeline([{ execute: 'cont' }, { execute: 'query-status' }])
  const [first, second] = await qemu.next()
  qemu.send(
    { id: first?.id, error: { class: 'GenericError', desc: 'not now' } },
    { id: second?.id, return: {} },
  )
  const error = await bad.catch((cause: unknown) => cause)
  expect(error).toBeInstanceOf(QmpError)
  expect(error).toMatchObject({
    code: 'ERR_ENDOPHYTE_QMP',
    command: 'cont',
    qmpClass: 'GenericError',
    description: 'not now',
    message: 'QEMU refused cont: not now (GenericError)',
  })
  await good
})

test('events carry their data; those of other names pass by', async () => {
  const { client, qemu } = await connect()
  const shutdown = new Promise((resolve) => {
    client.addEventListener('SHUTDOWN', ({ detail }) => {
      resolve(detail)
    })
  })
  const timestamp = { seconds: 3, microseconds: 5_000 }
  qemu.send(
    { event: 'NIC_RX_FILTER_CHANGED', data: {}, timestamp },
    { event: 'SHUTDOWN', data: { guest: true, reason: 'guest-shutdown' }, timestamp },
  )
  expect(await shutdown).toEqual({ guest: true, reason: 'guest-shutdown', unixMs: 3_005 })
})

test('a lost connection rejects everything, also what comes later', async () => {
  const { client, qemu } = await connect()
  const waiting = client.pipeline([{ execute: 'stop' }, { execute: 'cont' }])
  await qemu.next()
  qemu.end()
  for (const reply of waiting) {
    await expect(reply).rejects.toMatchObject({ code: 'ERR_ENDOPHYTE_QMP_LOST' })
  }
  await expect(client.execute('stop')).rejects.toBeInstanceOf(QmpLostError)
  expect((await client.closed).reason).toBe('QEMU closed it')
})

test.each([
  ['no JSON', 'hello\r\n', 'a line is no JSON'],
  ['an endless line', 'x'.repeat(QMP_LINE_BYTES_MAX + 1), /longer than/],
])('%s ends the connection', async (_name, text, reason) => {
  const { client, qemu, socket } = await connect()
  const waiting = client.execute('stop')
  qemu.sendText(text)
  await expect(waiting).rejects.toThrow(QmpLostError)
  expect((await client.closed).reason).toMatch(reason)
  expect(socket.destroyed).toBe(true)
})

test('at most so many commands may wait; the next one is refused and not sent', async () => {
  const { client, qemu } = await connect()
  const waiting = client.pipeline(
    Array.from({ length: QMP_PENDING_MAX }, () => ({ execute: 'query-status' }) as const),
  )
  const refused = client.execute('cont')
  await expect(refused).rejects.toBeInstanceOf(QmpBusyError)
  const commands = await qemu.next()
  expect(commands).toHaveLength(QMP_PENDING_MAX)
  qemu.send(...commands.map(({ id }) => ({ return: {}, id })))
  await Promise.all(waiting)
})

test('close is idempotent, rejects what waits and ends the socket', async () => {
  const { client, qemu, socket } = await connect()
  const waiting = client.execute('stop')
  await qemu.next()
  await Promise.all([client.close(), client.close(), client[Symbol.asyncDispose]()])
  await expect(waiting).rejects.toBeInstanceOf(QmpLostError)
  expect(socket.destroyed).toBe(true)
})

test.each([
  [
    'closes',
    (qemu: FakeQemu) => {
      qemu.end()
    },
    'ERR_ENDOPHYTE_QMP_LOST',
  ],
  [
    'sends no greeting',
    (qemu: FakeQemu) => {
      qemu.send({ return: {} })
    },
    'ERR_ENDOPHYTE_QMP_LOST',
  ],
])('connecting fails when QEMU %s', async (_name, act, code) => {
  const [socket, far] = duplexPair()
  const connecting = connectQmp({ socket })
  act(new FakeQemu(far))
  await expect(connecting).rejects.toMatchObject({ code })
  expect(socket.destroyed).toBe(true)
})

test('connecting fails when QEMU refuses to negotiate', async () => {
  const [socket, far] = duplexPair()
  const qemu = new FakeQemu(far)
  const connecting = connectQmp({ socket })
  qemu.send(GREETING)
  const [command] = await qemu.next()
  qemu.send({ id: command?.id, error: { class: 'CommandNotFound', desc: 'what?' } })
  await expect(connecting).rejects.toBeInstanceOf(QmpError)
  expect(socket.destroyed).toBe(true)
})

test('an abort while connecting gives its reason and closes the socket', async () => {
  const reason = new Error('enough')
  for (const early of [true, false]) {
    const [socket] = duplexPair()
    const controller = new AbortController()
    if (early) controller.abort(reason)
    const connecting = connectQmp({ socket }, { signal: controller.signal })
    controller.abort(reason)
    await expect(connecting).rejects.toBe(reason)
    expect(socket.destroyed).toBe(true)
  }
})
