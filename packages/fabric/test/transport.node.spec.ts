import type { NodeId } from '@mycelium/interface'
import { messageTransportCases, type MessageTransportSetup } from '@mycelium/interface/testing'
import { describe, it } from 'vitest'
import type { Fabric } from '../src/index.ts'
import { ElasticClock, introduce, isUp, meshed, newFabric, whenever } from './kit/hosts.ts'

const HANDLERS_MAX = 8

async function setup(): Promise<MessageTransportSetup> {
  const clock = new ElasticClock()
  const make = (): Promise<Fabric> => newFabric({ heartbeatMs: 600_000 }, clock)
  const fabrics = await Promise.all([make(), make(), make()])
  const transports = fabrics.map((fabric) =>
    fabric.transport('test', { handlersMax: HANDLERS_MAX, messageBytesMax: 100_000 }),
  )
  await Promise.all(fabrics.map((fabric) => fabric.start()))
  introduce(fabrics)
  await meshed(fabrics)
  const find = (node: NodeId): Fabric => {
    const fabric = fabrics.find(({ nodeId }) => nodeId === node)
    if (fabric === undefined) throw new TypeError(`node must be a member, got ${node}`)
    return fabric
  }
  return {
    transports,
    handlersMax: HANDLERS_MAX,
    disconnect: async (one, other) => {
      const both = [find(one), find(other)]
      find(other).forget(one)
      find(one).drop(other, 'test')
      await whenever(both, () => !isUp(find(one), other) && !isUp(find(other), one))
    },
    connect: async (one, other) => {
      const both = [find(one), find(other)]
      find(one).readmit(other)
      introduce(both)
      await meshed(both)
    },
    elapse: async (ms) => clock.elapse(ms),
    [Symbol.asyncDispose]: async () => {
      await Promise.all(fabrics.map((fabric) => fabric.stop()))
    },
  }
}

describe('a transport over libp2p keeps the contract', () => {
  for (const { name, run } of messageTransportCases) it(name, () => run(setup))
})
