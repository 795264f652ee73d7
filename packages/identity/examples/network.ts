/** Two libp2p nodes that become one network, and nobody else gets in. */
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { createFileStore, createMembership } from '@mycelium/identity'
import { createLibp2p } from 'libp2p'

async function startNode(folder: string) {
  const m = await createMembership({ store: await createFileStore({ folder }) })
  const node = await createLibp2p({
    privateKey: privateKeyFromRaw(m.nodePrivateKey()),
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    streamMuxers: [yamux()],
    connectionEncrypters: [m.secure(tls())],
    services: { membership: m.service },
  })
  return { m, node }
}

const first = await startNode('first')
const second = await startNode('second')
const stranger = await startNode('stranger')

await first.m.createNetwork({ name: 'meadow' })
const { text } = await first.m.createToken({ ttlMs: 600_000, nodeType: 'sclerotium-dynamic' })

// Elsewhere: dial: (address) => node.dial(multiaddr(address)), with @multiformats/multiaddr.
await second.m.join(text, { dial: () => second.node.dial(first.node.getMultiaddrs()) })
console.log('second:', second.m.status().network?.name, second.m.status().network?.isAuthority)

await stranger.m.createNetwork({ name: 'forest' })
const refusal = await stranger.node.dial(first.node.getMultiaddrs()).then(
  () => 'let in',
  (error: Error) => error.message,
)
console.log('stranger:', refusal)
if (refusal === 'let in' || second.m.state === undefined) process.exitCode = 1

for (const { m, node } of [first, second, stranger]) {
  await node.stop()
  await m[Symbol.asyncDispose]()
}
