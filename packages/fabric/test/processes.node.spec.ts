import { describe, expect, it } from 'vitest'
import type { Fabric } from '../src/index.ts'
import { introduce, isUp, meshed, newFabric, newKey, whenever } from './kit/hosts.ts'
import { NodeProcess } from './kit/process.ts'

const HEARTBEATS = { heartbeatMs: 300, pingTimeoutMs: 500 }

async function startAll(count: number): Promise<Fabric[]> {
  const fabrics = await Promise.all(Array.from({ length: count }, () => newFabric(HEARTBEATS)))
  for (const fabric of fabrics) fabric.transport('test')
  await Promise.all(fabrics.map((fabric) => fabric.start()))
  introduce(fabrics)
  return fabrics
}

function withoutId(address: string): string {
  return address.replace(/\/p2p\/\w+$/, '')
}

describe('five nodes, one of them a process', () => {
  it('killed: all hear of it; started again: all heal, by its calls or by theirs', async () => {
    const fabrics = await startAll(4)
    const key = await newKey()
    const peers = fabrics.map(({ nodeId, addresses }) => ({ peer: nodeId, addresses }))
    const init = { key, listen: ['/ip4/127.0.0.1/tcp/0'], peers, heartbeatMs: 300 }
    let child = await NodeProcess.start(init)
    const seesIt = (fabric: Fabric): boolean => isUp(fabric, child.nodeId)
    await Promise.all([meshed(fabrics), whenever(fabrics, () => fabrics.every(seesIt))])
    // Once it has told where it listens, they can call it.
    await whenever(fabrics, () => fabrics.every(({ known }) => known.length === 4))
    const listen = child.addresses.map(withoutId)

    await child.kill()
    await whenever(fabrics, () => !fabrics.some(seesIt))
    await meshed(fabrics)
    child = await NodeProcess.start({ ...init, listen })
    await whenever(fabrics, () => fabrics.every(seesIt))

    await child.kill()
    await whenever(fabrics, () => !fabrics.some(seesIt))
    // This time it knows nobody.
    child = await NodeProcess.start({ ...init, listen, peers: [] })
    await whenever(fabrics, () => fabrics.every(seesIt))
    for (const fabric of fabrics) {
      const question = new TextEncoder().encode(fabric.nodeId)
      const other = fabric.transport('again')
      await expect(other.request(child.nodeId, question)).rejects.toMatchObject({
        code: 'ERR_TRANSPORT_UNREACHABLE',
      })
    }
    expect(await child.end()).toBe(0)
    await Promise.all(fabrics.map((fabric) => fabric.stop()))
  })

  it('frozen: found out by heartbeats; thawed: connected again', async () => {
    const [fabric] = await startAll(1)
    if (fabric === undefined) throw new Error('not started')
    const peers = [{ peer: fabric.nodeId, addresses: fabric.addresses }]
    const init = { key: await newKey(), listen: ['/ip4/127.0.0.1/tcp/0'], peers }
    await using child = await NodeProcess.start({ ...init, heartbeatMs: 300 })
    await whenever([fabric], () => isUp(fabric, child.nodeId))
    child.signal('SIGSTOP')
    await whenever([fabric], () => !isUp(fabric, child.nodeId))
    child.signal('SIGCONT')
    await whenever([fabric], () => isUp(fabric, child.nodeId))
    await fabric.stop()
  })
})
