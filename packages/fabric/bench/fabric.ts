/**
 * A request through a transport, beside the usual way of libp2p (a stream for each request), over
 * the same connection on loopback, alternating; and how long nodes that know each other take to be
 * connected, each with each.
 */
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Connection } from '@libp2p/interface'
import { createFabric, createSystemClock, createSystemRandom, type Fabric } from '../src/index.ts'

const SAMPLES = 600
const WARM_UP = 100
const FORMATIONS = 5
const NODES = 10
const MESSAGE_BYTES = 64
const PLAIN = '/bench/echo/1.0.0'

const deps = { clock: createSystemClock(), random: createSystemRandom() }

async function startNode(): Promise<Fabric> {
  const privateKey = await generateKeyPair('Ed25519')
  const fabric = createFabric(deps, { privateKey, listen: ['/ip4/127.0.0.1/tcp/0'] })
  await fabric.start()
  return fabric
}

/** Resolves when every one is connected with every other. */
async function meshed(fabrics: readonly Fabric[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const ask = (): void => {
    if (fabrics.every(({ peers }) => peers.length === fabrics.length - 1)) resolve()
  }
  for (const fabric of fabrics) fabric.addEventListener('peer:up', ask)
  for (const one of fabrics) {
    for (const other of fabrics) one.learn(other.nodeId, other.addresses)
  }
  await promise
}

/** One question on a stream of its own. */
async function askPlain(connection: Connection, question: Uint8Array): Promise<void> {
  const stream = await connection.newStream(PLAIN)
  let bytes = 0
  const answered = new Promise<void>((resolve) => {
    stream.addEventListener('message', ({ data }) => {
      bytes += data.byteLength
      if (bytes >= question.length) resolve()
    })
  })
  stream.send(question)
  await answered
  await stream.close()
}

async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now()
  await work()
  return performance.now() - startedAt
}

function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

function summary(samples: readonly number[]): { readonly median: number; readonly spread: number } {
  const spread = quantile(samples, 0.75) - quantile(samples, 0.25)
  return { median: quantile(samples, 0.5), spread }
}

async function benchRequests(): Promise<object> {
  const [a, b] = [await startNode(), await startNode()]
  b.transport('echo').handle(async (_, message) => message)
  await b.libp2p.handle(PLAIN, (stream) => {
    stream.addEventListener('message', ({ data }) => stream.send(data))
    stream.addEventListener('remoteCloseWrite', () => void stream.close())
  })
  const transport = a.transport('echo')
  await meshed([a, b])
  const [connection] = a.libp2p.getConnections()
  if (connection === undefined) throw new Error('not connected')
  const question = new Uint8Array(MESSAGE_BYTES)
  const [ours, plain]: [number[], number[]] = [[], []]
  for (let sample = -WARM_UP; sample < SAMPLES; sample++) {
    const oursMs = await timeMs(() => transport.request(b.nodeId, question))
    const plainMs = await timeMs(() => askPlain(connection, question))
    if (sample < 0) continue
    ours.push(oursMs)
    plain.push(plainMs)
  }
  await Promise.all([a.stop(), b.stop()])
  const { median, spread } = summary(ours)
  return {
    name: `request of ${MESSAGE_BYTES} bytes`,
    unit: 'ms',
    samples: SAMPLES,
    ours: median,
    oursSpread: spread,
    peerName: 'libp2p, a stream each',
    peer: summary(plain).median,
  }
}

/** Beside bare libp2p hosts of the same making, of which one side of each pair dials once. */
async function benchFormation(): Promise<object> {
  const [ours, plain]: [number[], number[]] = [[], []]
  for (let sample = 0; sample < FORMATIONS; sample++) {
    const fabrics = await Promise.all(Array.from({ length: NODES }, startNode))
    ours.push(await timeMs(() => meshed(fabrics)))
    await Promise.all(fabrics.map((fabric) => fabric.stop()))
    const hosts = await Promise.all(Array.from({ length: NODES }, startNode))
    const dials = hosts.flatMap((one, index) =>
      hosts.slice(index + 1).map((other) => ({ from: one.libp2p, to: other.libp2p })),
    )
    const dialAll = (): Promise<unknown> =>
      Promise.all(dials.map(({ from, to }) => from.dial(to.getMultiaddrs())))
    plain.push(await timeMs(dialAll))
    await Promise.all(hosts.map((host) => host.stop()))
  }
  const { median, spread } = summary(ours)
  return {
    name: `${NODES} nodes, each connected with each`,
    unit: 'ms',
    samples: FORMATIONS,
    ours: median,
    oursSpread: spread,
    peerName: 'every pair dialled once',
    peer: summary(plain).median,
  }
}

export async function bench(): Promise<readonly object[]> {
  return [await benchRequests(), await benchFormation()]
}
