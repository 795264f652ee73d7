import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, expect, it } from 'vitest'
import type { Fabric, FabricInit } from '../src/index.ts'
import { isUp, newFabric, whenever } from './kit/hosts.ts'

const started: Fabric[] = []

afterEach(async () => {
  await Promise.all(started.splice(0).map((fabric) => fabric.stop()))
})

async function start(init: Partial<FabricInit> = {}): Promise<Fabric> {
  const fabric = await newFabric(init)
  started.push(fabric)
  fabric.transport('test').handle(async (_, message) => message)
  await fabric.start()
  return fabric
}

it('over a relay, between two that cannot reach each other', async () => {
  const relay = await start({ relay: true })
  const via = `${relay.addresses[0]}/p2p-circuit`
  // It listens nowhere but at the relay, which it must know for that.
  const hidden = await start({ listen: [via] })
  const caller = await start({ listen: [] })
  await whenever([relay], () => isUp(relay, hidden.nodeId))
  caller.learn(hidden.nodeId, [via])
  await whenever([caller, hidden], () => isUp(caller, hidden.nodeId) && isUp(hidden, caller.nodeId))
  expect(caller.peers.find(({ peer }) => peer === hidden.nodeId)).toMatchObject({ isRelayed: true })
  const question = new TextEncoder().encode('through the middle')
  const transport = caller.transport('test-2')
  hidden.transport('test-2').handle(async (_, message) => message)
  expect(await transport.request(hidden.nodeId, question)).toEqual(question)
  // More than a relay grants to strangers.
  const long = new Uint8Array(transport.messageBytesMax).fill(7)
  expect(await transport.request(hidden.nodeId, long)).toEqual(long)
})

/** Whether this machine hears its own multicast at all: containers often do not. */
async function hasMulticast(port: number): Promise<boolean> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  try {
    socket.bind(port)
    await once(socket, 'listening')
    socket.addMembership('224.0.0.251')
    socket.send('x', port, '224.0.0.251')
    await once(socket, 'message', { signal: AbortSignal.timeout(2_000) })
    return true
  } catch {
    return false
  } finally {
    socket.close()
  }
}

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4')
  socket.bind(0)
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}

it('by mDNS, without being told of each other', async ({ skip }) => {
  const port = await freeUdpPort()
  if (!(await hasMulticast(port))) skip('this machine does not hear its own multicast')
  const mdns = { port, interval: 1_000 }
  const listen = ['/ip4/0.0.0.0/tcp/0']
  const [a, b] = [await start({ mdns, listen }), await start({ mdns, listen })]
  await whenever([a, b], () => isUp(a, b.nodeId) && isUp(b, a.nodeId))
})
