import { networkInterfaces } from 'node:os'
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Connection } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import type { NodeId } from '@mycelium/interface'
import { afterEach, describe, expect, it } from 'vitest'
import type { Fabric, FabricInit } from '../src/index.ts'
import { introduce, isUp, meshed, newFabric, newKey, whenever } from './kit/hosts.ts'

const started: Fabric[] = []

afterEach(async () => {
  await Promise.all(started.splice(0).map((fabric) => fabric.stop()))
})

async function start(init: Partial<FabricInit> = {}): Promise<Fabric> {
  const fabric = await newFabric(init)
  started.push(fabric)
  await fabric.start()
  return fabric
}

async function pair(init: Partial<FabricInit> = {}): Promise<[Fabric, Fabric]> {
  const both: [Fabric, Fabric] = [await start(init), await start()]
  introduce(both)
  await meshed(both)
  return both
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (message: Uint8Array): string => new TextDecoder().decode(message)

describe('connections', () => {
  it('only one side knows the other: both come to know, and see the way', async () => {
    const [a, b] = [await start(), await start()]
    const told = new Promise((resolve) => {
      b.addEventListener('peer:addresses', ({ detail }) => resolve(detail), { once: true })
    })
    a.learn(b.nodeId, b.addresses)
    await meshed([a, b])
    expect(await told).toEqual({ peer: a.nodeId, addresses: a.addresses.map(withoutId) })
    expect(b.known).toEqual([{ peer: a.nodeId, addresses: a.addresses.map(withoutId) }])
    expect(a.peers).toMatchObject([{ peer: b.nodeId, isOutbound: true, isRelayed: false }])
    expect(b.peers).toMatchObject([{ peer: a.nodeId, isOutbound: false, isRelayed: false }])
  })

  it('both dial at once: one connection remains, the same at both, and is used', async () => {
    const [a, b] = [await start(), await start()]
    const [toA, toB] = [a.transport('test'), b.transport('test')]
    toA.handle(async (_, message) => message)
    toB.handle(async (_, message) => message)
    const doubled = happening([a, b], 'connection:open', () => {
      return connections(a, b).length === 2 && connections(b, a).length === 2
    })
    const dialled = await Promise.all([dial(a, b), dial(b, a)])
    expect(dialled.map(({ direction }) => direction)).toEqual(['outbound', 'outbound'])
    await doubled
    const single = (): boolean => connections(a, b).length === 1 && connections(b, a).length === 1
    await happening([a, b], 'connection:close', single)
    const [smaller, greater] = a.nodeId < b.nodeId ? [a, b] : [b, a]
    expect(smaller.peers).toMatchObject([{ isOutbound: true }])
    expect(greater.peers).toMatchObject([{ isOutbound: false }])
    expect(text(await toA.request(b.nodeId, bytes('here')))).toBe('here')
    expect(text(await toB.request(a.nodeId, bytes('there')))).toBe('there')
  })

  it('a round trip is measured by heartbeats', async () => {
    const [a, b] = await pair({ heartbeatMs: 100 })
    const { promise, resolve } = Promise.withResolvers<number>()
    const ask = (): void => {
      const ms = a.roundTripMs(b.nodeId)
      if (ms === undefined) setImmediate(ask)
      else resolve(ms)
    }
    ask()
    expect(await promise).toBeGreaterThan(0)
    expect(a.peers[0]?.roundTripMs).toBeGreaterThan(0)
  })

  it('a peer of another id at the address: refused', async () => {
    const [a, b] = [await start(), await start()]
    const { nodeId } = await newFabric()
    const dialled = a.libp2p.dial(multiaddr(`${withoutId(b.addresses[0] ?? '')}/p2p/${nodeId}`))
    await expect(dialled).rejects.toThrow()
    expect(a.peers).toEqual([])
  })

  const hasIpv6 = Object.values(networkInterfaces()).some((addresses) =>
    addresses?.some(({ address }) => address === '::1'),
  )
  it.skipIf(!hasIpv6)('IPv6, beside IPv4 (skipped without ::1)', async () => {
    const a = await start({ listen: ['/ip6/::1/tcp/0', '/ip4/127.0.0.1/tcp/0'] })
    const [b, c] = [await start({ listen: ['/ip6/::1/tcp/0'] }), await start({ listen: [] })]
    expect(a.addresses.map((address) => address.split('/')[1])).toEqual(['ip6', 'ip4'])
    a.learn(b.nodeId, b.addresses)
    c.learn(a.nodeId, a.addresses.slice(0, 1))
    await whenever([a, b, c], () => a.peers.length === 2)
    for (const { address } of a.peers) expect(address).toMatch(/^\/ip6\/::1\//)
  })
})

describe('the gate', () => {
  it('drop: down at once, refused from then on; readmit: up again', async () => {
    const [a, b] = await pair()
    const transport = a.transport('test')
    const log: string[] = []
    b.addEventListener('peer:down', () => log.push('b: down'))
    a.addEventListener('peer:up', () => log.push('a: up'))
    a.drop(b.nodeId, 'revoked')
    expect(a.peers).toEqual([])
    expect(transport.peers()).toEqual([])
    expect(transport.send(b.nodeId, bytes('x'))).toBe(false)
    await whenever([a, b], () => !isUp(b, a.nodeId))
    expect(log).toEqual(['b: down'])
    // The other goes on calling.
    await refusals(b, a, 3)
    expect(log).not.toContain('a: up')
    a.learn(b.nodeId, b.addresses)
    expect(a.known).toEqual([])
    a.readmit(b.nodeId)
    introduce([a, b])
    await meshed([a, b])
    expect(log).toContain('a: up')
  })

  it('mayConnect keeps a peer out, calling and called', async () => {
    const banned = new Set<NodeId>()
    const [a, b] = [await start({ mayConnect: (peer) => !banned.has(peer) }), await start()]
    banned.add(b.nodeId)
    let opened = 0
    a.libp2p.addEventListener('connection:open', () => opened++)
    await expect(dial(a, b)).rejects.toMatchObject({ name: 'DialDeniedError' })
    await refusals(b, a, 2)
    // Refused by the host itself, before a connection is one.
    expect(opened).toBe(0)
    banned.clear()
    introduce([a, b])
    await meshed([a, b])
  })

  it('no message of a peer is heard once it was dropped, not even of the same chunk', async () => {
    const [a, b] = await pair()
    const [toA, toB] = [a.transport('test'), b.transport('test')]
    const heard: string[] = []
    toA.addEventListener('message', ({ detail }) => {
      heard.push(text(detail.message))
      a.drop(detail.from, 'revoked')
    })
    for (let number = 0; number < 10; number++) toB.send(a.nodeId, bytes(`message ${number}`))
    await whenever([b], () => !isUp(b, a.nodeId))
    expect(heard).toEqual(['message 0'])
  })

  it('drop in the middle of an event of the same peer', async () => {
    const [a, b] = [await start(), await start()]
    const log: string[] = []
    a.addEventListener('peer:up', ({ detail }) => {
      a.drop(detail.peer, 'not this one')
      log.push(`up, then ${a.peers.length}`)
    })
    a.addEventListener('peer:down', () => log.push('down'))
    a.learn(b.nodeId, b.addresses)
    await whenever([a], () => log.includes('down'))
    expect(log).toEqual(['up, then 0', 'down'])
  })
})

describe('life', () => {
  it('an address that is taken: ERR_FABRIC_LISTEN', async () => {
    const a = await start()
    const listen = a.addresses.map(withoutId)
    const b = await newFabric({ listen })
    await expect(b.start()).rejects.toMatchObject({ code: 'ERR_FABRIC_LISTEN', addresses: listen })
    await b.stop()
  })

  it('stop: peers hear of it, nothing works, a second life is refused', async () => {
    const [a, b] = await pair()
    const transport = a.transport('test')
    const stopped = a.stop()
    expect(transport.send(b.nodeId, bytes('x'))).toBe(false)
    await whenever([b], () => !isUp(b, a.nodeId))
    await Promise.all([stopped, a.stop()])
    expect(a.peers).toEqual([])
    await expect(transport.request(b.nodeId, bytes('x'))).rejects.toMatchObject({
      code: 'ERR_TRANSPORT_UNREACHABLE',
    })
    await expect(a.start()).rejects.toMatchObject({ code: 'ERR_FABRIC_STOPPED' })
  })

  it('stop during start, and before it', async () => {
    const a = await newFabric()
    const starting = a.start().catch((error: unknown) => error)
    await a.stop()
    const outcome = await starting
    if (outcome !== undefined) expect(outcome).toMatchObject({ code: 'ERR_FABRIC_STOPPED' })
    const b = await newFabric()
    await b.stop()
    await expect(b.start()).rejects.toMatchObject({ code: 'ERR_FABRIC_STOPPED' })
  })

  it('services of the caller, and announced addresses', async () => {
    const privateKey = await newKey()
    const announce = ['/dns4/example.net/tcp/4001']
    const services = { greeter: () => ({ greet: () => 'hello' }) }
    const a = await start({ privateKey, announce, services })
    expect(a.addresses).toEqual([`${announce[0]}/p2p/${a.nodeId}`])
    expect(a.libp2p.services).toMatchObject({ greeter: { greet: expect.any(Function) } })
  })

  it('what is wrong in its settings is told at once', async () => {
    const privateKey = await newKey()
    const wrong: readonly (readonly [RegExp, Partial<FabricInit>])[] = [
      [/^privateKey must be Ed25519/, { privateKey: await generateKeyPair('secp256k1') }],
      [/^heartbeatMs/, { heartbeatMs: 99 }],
      [/^pingTimeoutMs/, { pingTimeoutMs: 1.5 }],
      [/^dialDelayMsMax/, { dialDelayMsMax: 249 }],
      [/^listen must be multiaddrs/, { listen: ['127.0.0.1:80'] }],
      [/^announce must have at most 16/, { announce: Array.from({ length: 17 }, () => '/ip4/1') }],
      [/^peers must be multiaddrs/, { peers: [{ peer: 'x' as NodeId, addresses: [''] }] }],
    ]
    for (const [message, init] of wrong) {
      await expect(newFabric({ privateKey, ...init })).rejects.toThrow(message)
    }
    const a = await newFabric({ privateKey })
    a.transport('taken')
    expect(() => a.transport('taken')).toThrow(/^name must be new/)
    expect(() => a.transport('Not a name')).toThrow(TypeError)
    expect(() => a.transport('x', { versions: ['1'] })).toThrow(/^versions/)
    expect(() => a.transport('x', { versions: ['1.0', '1.0'] })).toThrow(/^versions must differ/)
    expect(() => a.transport('x', { versions: [] })).toThrow(RangeError)
    expect(() => a.transport('x', { messageBytesMax: 4_194_305 })).toThrow(/^messageBytesMax/)
    expect(() => a.transport('x', { queueBytesMax: 100 })).toThrow(/^queueBytesMax/)
    expect(() => a.transport('x', { handlersMax: 0 })).toThrow(/^handlersMax/)
    expect(() => a.libp2p).toThrow(/^fabric must be started/)
    for (let index = 1; index < 64; index++) a.transport(`t${index}`)
    expect(() => a.transport('one-more')).toThrow(RangeError)
    await a.stop()
  })
})

function withoutId(address: string): string {
  return address.replace(/\/p2p\/\w+$/, '')
}

function connections(one: Fabric, other: Fabric): Connection[] {
  return one.libp2p
    .getConnections()
    .filter(({ remotePeer, status }) => remotePeer.toString() === other.nodeId && status === 'open')
}

async function dial(from: Fabric, to: Fabric): Promise<Connection> {
  return await from.libp2p.dial(to.addresses.map((address) => multiaddr(address)))
}

/** Asks at each such event of any of them. */
async function happening(
  fabrics: readonly Fabric[],
  type: 'connection:open' | 'connection:close',
  holds: () => boolean,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const ask = (): void => {
    if (holds()) resolve()
  }
  for (const { libp2p } of fabrics) libp2p.addEventListener(type, ask)
  ask()
  await promise
  for (const { libp2p } of fabrics) libp2p.removeEventListener(type, ask)
}

/** `from` calls so many times, and every time is refused: at once, or as soon as it is in. */
async function refusals(from: Fabric, to: Fabric, count: number): Promise<void> {
  for (let call = 0; call < count; call++) {
    try {
      await dial(from, to)
    } catch {
      continue
    }
    await happening([from], 'connection:close', () => connections(from, to).length === 0)
  }
}
