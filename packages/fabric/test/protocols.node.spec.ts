import type { Stream } from '@libp2p/interface'
import type { NodeId } from '@mycelium/interface'
import { afterEach, describe, expect, it } from 'vitest'
import type { Fabric, FabricTransport, TransportInit } from '../src/index.ts'
import { encodeFrame } from '../src/wire.ts'
import { introduce, meshed, newFabric } from './kit/hosts.ts'

const started: Fabric[] = []

afterEach(async () => {
  await Promise.all(started.splice(0).map((fabric) => fabric.stop()))
})

/** Connected nodes, each with a transport of one name. */
async function connected(
  ...inits: readonly TransportInit[]
): Promise<{ readonly fabrics: Fabric[]; readonly transports: FabricTransport[] }> {
  const fabrics = await Promise.all(inits.map(() => newFabric()))
  started.push(...fabrics)
  const transports = fabrics.map((fabric, index) => fabric.transport('test', inits[index]))
  for (const transport of transports) transport.handle(async (_, message) => message)
  await Promise.all(fabrics.map((fabric) => fabric.start()))
  introduce(fabrics)
  await meshed(fabrics)
  return { fabrics, transports }
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (message: Uint8Array): string => new TextDecoder().decode(message)

function at<T>(list: readonly T[], index: number): T {
  const item = list[index]
  if (item === undefined) throw new RangeError(`index must exist, got ${index}`)
  return item
}

describe('versions', () => {
  const BOTH = { versions: ['1.1', '1.0'] }
  const OLD = { versions: ['1.0'] }

  it('a node of the version before is understood, both ways', async () => {
    const { transports } = await connected(BOTH, OLD, BOTH)
    const [newer, older, newest] = [at(transports, 0), at(transports, 1), at(transports, 2)]
    expect(older.protocols).toEqual(['/mycelium/test/1.0'])
    expect(newer.versionOf(older.self)).toBeUndefined()
    for (const [asker, asked] of [
      [newer, older],
      [older, newer],
      [newer, newest],
    ] as const) {
      expect(text(await asker.request(asked.self, bytes('hello')))).toBe('hello')
    }
    expect(newer.versionOf(older.self)).toBe('1.0')
    expect(older.versionOf(newer.self)).toBe('1.0')
    expect(newer.versionOf(newest.self)).toBe('1.1')
    const heard = nextMessage(older)
    newer.send(older.self, bytes('news'))
    expect(await heard).toBe('news')
  })

  it('nothing in common: not delivered, and messages are dropped for a while', async () => {
    const { transports } = await connected(BOTH, { versions: ['2.0'] })
    const [one, other] = [at(transports, 0), at(transports, 1)]
    const unreachable = { code: 'ERR_TRANSPORT_UNREACHABLE' }
    await expect(one.request(other.self, bytes('x'))).rejects.toMatchObject(unreachable)
    expect(one.send(other.self, bytes('x'))).toBe(false)
    await expect(one.request(other.self, bytes('x'))).rejects.toMatchObject(unreachable)
  })

  it('a peer without that protocol; one that gets it later', async () => {
    const { fabrics, transports } = await connected({}, {})
    const [a, b] = [at(fabrics, 0), at(fabrics, 1)]
    const asking = a.transport('later')
    const question = asking.request(b.nodeId, bytes('x'))
    await expect(question).rejects.toMatchObject({ code: 'ERR_TRANSPORT_UNREACHABLE' })
    const { promise, resolve } = Promise.withResolvers<NodeId>()
    b.transport('later').handle(async (from) => {
      resolve(from)
      return []
    })
    await asking.request(b.nodeId, bytes('x'))
    expect(await promise).toBe(a.nodeId)
    expect(at(transports, 0).peers()).toEqual([b.nodeId])
  })
})

describe('a peer that breaks the rules', () => {
  const MESSAGE_BYTES_MAX = 1_000

  /** A stream to the transport of `to`, in the hands of somebody without manners. */
  async function rawStream(from: Fabric, to: Fabric): Promise<Stream> {
    const [connection] = from.libp2p
      .getConnections()
      .filter(({ remotePeer }) => remotePeer.toString() === to.nodeId)
    if (connection === undefined) throw new Error('not connected')
    return await connection.newStream('/mycelium/test/1.0')
  }

  function reset(stream: Stream): Promise<void> {
    return new Promise((resolve) => {
      stream.addEventListener('close', () => resolve(), { once: true })
    })
  }

  const question = encodeFrame('question', 7n, [bytes('x')])
  it.each([
    ['a frame that is too long', Uint8Array.of(0xff, 0xff, 0xff, 0xff)],
    ['an unknown kind', Uint8Array.of(0, 0, 0, 9, 77, 0, 0, 0, 0, 0, 0, 0, 0)],
    ['garbage', new Uint8Array(100).fill(1)],
    ['a question twice', Buffer.concat([question, question])],
  ])('%s: its stream is reset, others go on', async (_, garbage) => {
    const init = { messageBytesMax: MESSAGE_BYTES_MAX }
    const { fabrics, transports } = await connected(init, init)
    const stream = await rawStream(at(fabrics, 0), at(fabrics, 1))
    const closed = reset(stream)
    stream.send(garbage)
    await closed
    const [a, b] = [at(transports, 0), at(transports, 1)]
    expect(text(await a.request(b.self, bytes('still here')))).toBe('still here')
    expect(text(await b.request(a.self, bytes('still here')))).toBe('still here')
  })

  it('answers that nobody asked for are nobody’s', async () => {
    const { fabrics, transports } = await connected({}, {})
    const stream = await rawStream(at(fabrics, 0), at(fabrics, 1))
    const heard = nextMessage(at(transports, 1))
    stream.send(encodeFrame('answer', 3n, [bytes('forged')]))
    stream.send(encodeFrame('refusal', 4n, [bytes('ERR_FORGED')]))
    stream.send(encodeFrame('cancel', 5n, []))
    stream.send(encodeFrame('message', undefined, [bytes('after all that')]))
    expect(await heard).toBe('after all that')
  })

  it('more streams than allowed: the ones above are reset', async () => {
    const { fabrics } = await connected({}, {})
    const streams: Stream[] = []
    for (let index = 0; index < 4; index++) {
      streams.push(await rawStream(at(fabrics, 0), at(fabrics, 1)))
    }
    const outcome = rawStream(at(fabrics, 0), at(fabrics, 1)).then(async (stream) => {
      if (stream.status === 'open') await reset(stream)
    })
    await outcome.catch(() => {})
    expect(streams.every(({ status }) => status === 'open')).toBe(true)
  })

  it('who floods with questions is refused, within bounds', async () => {
    const { fabrics, transports } = await connected({}, {})
    const asked = at(transports, 1)
    const stream = await rawStream(at(fabrics, 0), at(fabrics, 1))
    const heard = nextMessage(asked)
    for (let id = 0n; id < 20_000n; id++) {
      if (stream.send(encodeFrame('question', id, [bytes('x')]))) continue
      await stream.onDrain()
    }
    stream.send(encodeFrame('message', undefined, [bytes('done')]))
    expect(await heard).toBe('done')
    const asker = at(transports, 0)
    expect(text(await asker.request(asked.self, bytes('still here')))).toBe('still here')
  })
})

function nextMessage(transport: FabricTransport): Promise<string> {
  return new Promise((resolve) => {
    const listener = ({ detail }: { readonly detail: { readonly message: Uint8Array } }): void => {
      resolve(text(detail.message))
    }
    transport.addEventListener('message', listener, { once: true })
  })
}
