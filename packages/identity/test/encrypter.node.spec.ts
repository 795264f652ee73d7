import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { ConnectionEncrypter, Libp2p, MessageStream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { afterEach, describe, expect, test } from 'vitest'
import { HALF_OPEN_MAX, HALF_OPEN_PER_ADDRESS_MAX } from '../src/constants.ts'
import { addFrameHeader, createFrameReader } from '../src/core/frames.ts'
import { decodeMessage, encodeMessage } from '../src/core/messages.ts'
import { HANDSHAKE_PROTOCOL, hostOf } from '../src/connection-encrypter.ts'
import { createSystemClock } from '../src/system.ts'
import { dial, isConnected, startNode, until } from './kit/libp2p-node.ts'
import type { TestNode, TestNodeInit } from './kit/libp2p-node.ts'

const PROTOCOL = `${HANDSHAKE_PROTOCOL}/tls/1.0.0`
type Multiaddr = ReturnType<Libp2p['getMultiaddrs']>[number]

/** Code of `/p2p/`. */
const P2P = 421

const stops: (() => unknown)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

async function start(init: TestNodeInit = {}): Promise<TestNode> {
  const node = await startNode(init)
  stops.push(node.destroy)
  return node
}

/** A node that does TLS as it should, and what it likes behind it. */
async function startAttacker(
  behind: (stream: MessageStream, isInbound: boolean) => void,
): Promise<Libp2p> {
  const node = await createLibp2p({
    privateKey: await generateKeyPair('Ed25519'),
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
    connectionEncrypters: [
      (components): ConnectionEncrypter => {
        const inner = tls()(components)
        const secure =
          (isInbound: boolean) =>
          async (...[connection, options]: Parameters<ConnectionEncrypter['secureInbound']>) => {
            const secured = isInbound
              ? await inner.secureInbound(connection, options)
              : await inner.secureOutbound(connection, options)
            behind(secured.connection, isInbound)
            // Libp2p must not begin to speak: what goes over the stream is ours.
            const closed = Promise.withResolvers<never>()
            secured.connection.addEventListener('close', () => closed.reject(new Error('closed')))
            return closed.promise
          }
        return {
          protocol: PROTOCOL,
          secureInbound: secure(true),
          secureOutbound: secure(false),
        }
      },
    ],
  })
  stops.push(() => node.stop())
  return node
}

const addressOf = (node: { getMultiaddrs(): Multiaddr[] }): Multiaddr => {
  const [address] = node.getMultiaddrs()
  if (address === undefined) throw new Error('it does not listen')
  return address
}

const reasonsOf = (node: TestNode): readonly (string | undefined)[] =>
  node.audit.filter(({ event }) => event === 'member:refused').map(({ reason }) => reason)

describe('somebody in the middle with TLS keys of its own', () => {
  test('passes every byte on, and is refused by both, who stay strangers to it', async () => {
    const [first, second] = [await start(), await start()]
    await first.membership.createNetwork({ name: 'home' })
    const { text } = await first.membership.createToken()
    await second.membership.join(text, { dial: () => second.libp2p.dial(addressOf(first.libp2p)) })
    await second.libp2p.hangUp(first.libp2p.peerId)
    await until([first], () => !isConnected(first, second))

    const outbound = Promise.withResolvers<MessageStream>()
    const seen: (string | undefined)[] = []
    const middle = await startAttacker((stream, isInbound) => {
      if (!isInbound) {
        outbound.resolve(stream)
        return
      }
      // Its own connection to the victim's peer; everything is passed on, both ways.
      void middle.dial(addressOf(first.libp2p)).catch(() => undefined)
      const reader = createFrameReader()
      void outbound.promise.then((other) => {
        stream.addEventListener('message', ({ data }) => {
          reader.push(data.subarray())
          for (let one = reader.next(); one instanceof Uint8Array; one = reader.next()) {
            seen.push(decodeMessage(one)?.kind)
          }
          other.send(data)
        })
        other.addEventListener('message', ({ data }) => stream.send(data))
        other.addEventListener('close', () => stream.abort(new Error('closed')))
      })
    })
    // Told the right node, TLS itself sees through it; told only an address, the proof does.
    const bare = addressOf(middle).decapsulateCode(P2P)
    const wrong = bare.encapsulate(`/p2p/${first.membership.node}`)
    await expect(second.libp2p.dial(wrong)).rejects.toThrow()
    await expect(second.libp2p.dial(bare)).rejects.toThrow('wrong-network')
    expect(reasonsOf(first)).toContain('wrong-network')
    expect(seen).toEqual(['hello', 'proof'])
    expect(isConnected(second, first)).toBe(false)
  })
})

describe('behind a right TLS', () => {
  const first = async (): Promise<TestNode> => {
    const node = await start()
    await node.membership.createNetwork({ name: 'home' })
    return node
  }

  test('bytes that are no handshake are refused, and no protocol is ever offered', async () => {
    const member = await first()
    const answers: (string | undefined)[] = []
    const garbage: readonly Uint8Array[] = [
      new Uint8Array([0, 0]),
      new Uint8Array([0xff, 0xff, 1, 2, 3]),
      addFrameHeader(new Uint8Array(100)),
      addFrameHeader(new TextEncoder().encode('\x13/multistream/1.0.0\n')),
    ]
    for (const bytes of garbage) {
      const attacker = await startAttacker((stream) => {
        const reader = createFrameReader()
        stream.addEventListener('message', ({ data }) => {
          reader.push(data.subarray())
          const frame = reader.next()
          if (frame instanceof Uint8Array) answers.push(JSON.stringify(decodeMessage(frame)))
        })
        stream.send(bytes)
      })
      await expect(attacker.dial(addressOf(member.libp2p))).rejects.toThrow()
    }
    await until([member], () => reasonsOf(member).length === garbage.length)
    expect(new Set(reasonsOf(member))).toEqual(new Set(['malformed']))
    expect(new Set(answers)).toEqual(new Set(['{"kind":"refused"}']))
    expect(member.libp2p.getConnections()).toEqual([])
  })

  test('a hello that is cut in its middle, and then the end of the stream', async () => {
    const member = await first()
    const hello = addFrameHeader(
      encodeMessage({ kind: 'hello', mode: 'member', min: 1, max: 1, nonce: new Uint8Array(32) }),
    )
    const attacker = await startAttacker((stream) => {
      stream.send(hello.subarray(0, hello.byteLength - 1))
      setImmediate(() => void stream.close().catch(() => undefined))
    })
    await expect(attacker.dial(addressOf(member.libp2p))).rejects.toThrow()
    await until([member], () => reasonsOf(member).includes('malformed'))
  })

  test('a handshake replayed from another connection', async () => {
    const [member, other] = [await first(), await start()]
    const { text } = await member.membership.createToken()
    await other.membership.join(text, { dial: () => other.libp2p.dial(addressOf(member.libp2p)) })
    await other.libp2p.hangUp(member.libp2p.peerId)
    // What the member says to somebody that it dials is recorded, then sent to another member.
    const recorded: Uint8Array[] = []
    const listener = await startAttacker((stream) => {
      const reader = createFrameReader()
      stream.addEventListener('message', ({ data }) => {
        reader.push(data.subarray())
        for (let one = reader.next(); one instanceof Uint8Array; one = reader.next()) {
          recorded.push(one)
          if (recorded.length > 1) return stream.abort(new Error('enough'))
          const answer = { kind: 'welcome-hello', min: 1, max: 1, version: 1 } as const
          stream.send(addFrameHeader(encodeMessage({ ...answer, nonce: new Uint8Array(32) })))
        }
      })
    })
    await expect(other.libp2p.dial(addressOf(listener))).rejects.toThrow()
    expect(recorded.map((frame) => decodeMessage(frame)?.kind)).toEqual(['hello', 'proof'])
    const replayer = await startAttacker((stream) => {
      for (const frame of recorded) stream.send(addFrameHeader(frame))
    })
    await expect(replayer.dial(addressOf(member.libp2p))).rejects.toThrow()
    await until([member], () => reasonsOf(member).includes('wrong-network'))
  })
})

describe('without the proof of membership', () => {
  test('ordinary encryption is not spoken at all', async () => {
    const member = await start()
    await member.membership.createNetwork({ name: 'home' })
    const plain = await createLibp2p({
      transports: [tcp()],
      streamMuxers: [yamux()],
      connectionEncrypters: [tls()],
    })
    stops.push(() => plain.stop())
    await expect(plain.dial(addressOf(member.libp2p))).rejects.toThrow()
    expect(member.libp2p.getConnections()).toEqual([])
  })

  test('a libp2p node with another key than the membership’s is refused to be made', async () => {
    const { membership } = await start()
    const options = {
      privateKey: await generateKeyPair('Ed25519'),
      connectionEncrypters: [membership.secure(tls())],
    }
    await expect(createLibp2p(options)).rejects.toThrow('privateKey: libp2p has another key')
  })
})

describe('a flood of half-open handshakes', () => {
  /** Speaks until the encryption is chosen, and says no more. */
  async function halfOpen(address: Multiaddr, localAddress: string): Promise<Socket> {
    const [, , host = '', , port = ''] = address.toString().split('/')
    const socket = connect({ host, port: Number(port), localAddress })
    stops.push(() => socket.destroy())
    socket.on('error', () => undefined)
    await once(socket, 'connect')
    const line = (text: string): Buffer => Buffer.from(`\x00${text}\n`)
    for (const text of ['/multistream/1.0.0', PROTOCOL]) {
      const bytes = line(text)
      bytes[0] = bytes.length - 1
      socket.write(bytes)
    }
    return socket
  }

  test('takes so many places and no more; then members get in again', async () => {
    // No deadline ever comes: places get free because the flood hangs up.
    const clock = { ...createSystemClock(), schedule: () => () => undefined }
    const [member, other] = [await start({ clock }), await start()]
    await member.membership.createNetwork({ name: 'home' })
    const address = addressOf(member.libp2p)
    const { text } = await member.membership.createToken()
    await other.membership.join(text, { dial: () => other.libp2p.dial(address) })
    await other.libp2p.hangUp(member.libp2p.peerId)

    const flood = async (count: number, from: string): Promise<readonly Socket[]> =>
      Promise.all(Array.from({ length: count }, () => halfOpen(address, from)))
    const sockets = [...(await flood(HALF_OPEN_PER_ADDRESS_MAX + 8, '127.0.0.2'))]
    await until([member], () => reasonsOf(member).length === 8)
    sockets.push(...(await flood(HALF_OPEN_MAX - HALF_OPEN_PER_ADDRESS_MAX, '127.0.0.3')))
    sockets.push(...(await flood(8, '127.0.0.4')))
    await until([member], () => reasonsOf(member).length === 16)
    expect(new Set(reasonsOf(member))).toEqual(new Set(['busy']))
    await expect(dial(other, member)).rejects.toThrow()

    for (const socket of sockets) socket.destroy()
    // Each that ends is one refusal: the places are free when all have.
    await until([member], () => reasonsOf(member).length >= 16 + 1 + HALF_OPEN_MAX)
    await dial(other, member)
    expect(isConnected(other, member)).toBe(true)
  })
})

test('addresses are told apart by their host', () => {
  expect(hostOf('/ip4/192.0.2.1/tcp/4001/p2p/12D3')).toBe('/ip4/192.0.2.1')
  expect(hostOf('/ip6/2001:db8::1/tcp/4001')).toBe('/ip6/2001:db8::1')
  expect(hostOf('')).toBe('unknown')
})
