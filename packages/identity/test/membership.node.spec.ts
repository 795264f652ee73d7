import { afterEach, describe, expect, test } from 'vitest'
import { SESSION_MARGIN_MS, SESSION_MS } from '../src/constants.ts'
import type { CreateTokenInit } from '../src/membership.ts'
import { createMemoryDisk } from '../src/testing/memory-store.ts'
import { dial, isConnected, startNode, until } from './kit/libp2p-node.ts'
import type { TestNode, TestNodeInit } from './kit/libp2p-node.ts'
import { createShiftedClock } from './kit/shifted-clock.ts'

const DAY_MS = 24 * 3_600_000
const nodes: TestNode[] = []

async function start(init?: TestNodeInit): Promise<TestNode> {
  const node = await startNode(init)
  nodes.push(node)
  return node
}

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.destroy()))
})

async function join(node: TestNode, issuer: TestNode, init?: CreateTokenInit): Promise<void> {
  const { text } = await issuer.membership.createToken(init)
  await node.membership.join(text, { dial: () => dial(node, issuer) })
  await until([issuer], () => issuer.membership.status().members.length > 0)
}

function bound(target: object, key: string | symbol): unknown {
  const value: unknown = Reflect.get(target, key, target)
  return typeof value === 'function' ? (value.bind(target) as unknown) : value
}

const serialOf = (node: TestNode): string =>
  node.membership.status().network?.certificate.serial.join() ?? ''

describe('a session', () => {
  test('is proved again each hour, and streams go on', async () => {
    const clock = createShiftedClock()
    const [first, second] = [await start({ clock }), await start({ clock })]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first)
    const echoed: string[] = []
    await first.libp2p.handle('/echo/1.0', (stream) => {
      stream.addEventListener('message', ({ data }) => void stream.send(data))
    })
    const stream = await second.libp2p.dialProtocol(first.libp2p.peerId, '/echo/1.0')
    stream.addEventListener('message', ({ data }) => {
      echoed.push(new TextDecoder().decode(data.subarray()))
    })
    const proofs = (node: TestNode): number =>
      node.audit.filter(({ event }) => event === 'member:proven').length
    for (const hour of [1, 2, 3]) {
      clock.leap(SESSION_MS - SESSION_MARGIN_MS)
      await until([first, second], () => proofs(first) > hour && proofs(second) > hour)
    }
    stream.send(new TextEncoder().encode('still here'))
    await until([second], () => echoed.join('') === 'still here')
    expect(second.libp2p.getConnections()).toHaveLength(1)
  })

  test('that was not proved again in time ends with its connection', async () => {
    const clock = createShiftedClock()
    const [first, second] = [await start({ clock }), await start({ clock })]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first)
    clock.leap(SESSION_MS)
    await until([first, second], () => !isConnected(first, second) && !isConnected(second, first))
  })

  test('of a member with an expired certificate goes on; others are refused', async () => {
    const clock = createShiftedClock()
    const [first, second, third] = [
      await start({ clock }),
      await start({ clock }),
      await start({ clock }),
    ]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first, { nodeType: 'hypha' })
    await join(third, first, { nodeType: 'hypha' })
    await dial(third, second)
    await until([second], () => second.membership.status().members.length === 2)
    await first.destroy()
    clock.leapWall(8 * DAY_MS)
    const degraded = (node: TestNode): boolean =>
      node.membership.status().members.some(({ isDegraded }) => isDegraded)
    clock.leap(SESSION_MS - SESSION_MARGIN_MS)
    await until([second, third], () => degraded(second) && degraded(third), 'degradation')
    expect(isConnected(second, third)).toBe(true)
    expect(second.membership.status().network?.isDegraded).toBe(true)
    await third.libp2p.hangUp(second.libp2p.peerId)
    await until([second], () => !isConnected(second, third))
    await expect(dial(third, second)).rejects.toThrow('certificate-expired')
  })
})

describe('a certificate', () => {
  test('is renewed when a third of its time has passed, by whoever is an authority', async () => {
    const clock = createShiftedClock()
    const [first, second] = [await start({ clock }), await start({ clock })]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first, { nodeType: 'hypha', roles: ['storage'] })
    const before = [serialOf(first), serialOf(second)]
    clock.leapWall(2 * DAY_MS)
    await first.membership.renew()
    expect(serialOf(second)).toBe(before[1])
    clock.leapWall(0.4 * DAY_MS)
    await until([second], () => serialOf(second) !== before[1])
    expect(second.membership.status().network?.certificate).toMatchObject({
      nodeType: 'hypha',
      roles: ['storage'],
    })
    expect(serialOf(first)).not.toBe(before[0])
  })

  test('that expired while its holder was switched off is renewed by an authority', async () => {
    const clock = createShiftedClock()
    const [first, second] = [await start({ clock }), await start({ clock })]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first, { nodeType: 'hypha' })
    await second.libp2p.hangUp(first.libp2p.peerId)
    await until([first], () => !isConnected(first, second))
    clock.leapWall(10 * DAY_MS)
    await first.membership.renew()
    const before = serialOf(second)
    await dial(second, first)
    await until([first], () => isConnected(first, second))
    expect(serialOf(second)).not.toBe(before)
    expect(second.membership.status().network?.isDegraded).toBe(false)
  })

  test('that was renewed is the one that counts: revoking it ends connections', async () => {
    const [first, second] = [await start(), await start()]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first, { nodeType: 'hypha' })
    const proofs = first.audit.filter(({ event }) => event === 'member:proven').length
    await second.membership.renew()
    await until(
      [first],
      () => first.audit.filter(({ event }) => event === 'member:proven').length > proofs,
    )
    const { serial } = second.membership.status().network!.certificate
    await first.membership.revoke({ serial }, 'removed')
    await until([first, second], () => !isConnected(first, second) && !isConnected(second, first))
  })

  test('that was revoked is not renewed', async () => {
    const [first, second] = [await start(), await start()]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first, { nodeType: 'hypha' })
    const { serial } = second.membership.status().network!.certificate
    await first.membership.revoke({ serial }, 'removed')
    await until([first, second], () => !isConnected(first, second) && !isConnected(second, first))
    await expect(dial(second, first)).rejects.toThrow('revoked')
    await expect(second.membership.renew()).rejects.toMatchObject({
      code: 'ERR_IDENTITY_THRESHOLD',
    })
  })
})

describe('a member that was away', () => {
  test('accepts who was certified by an authority that it never heard of', async () => {
    const [first, second, third] = [await start(), await start(), await start()]
    await first.membership.createNetwork({ name: 'home' })
    await join(third, first, { nodeType: 'hypha' })
    await third.libp2p.hangUp(first.libp2p.peerId)
    await until([first], () => !isConnected(first, third))
    await join(second, first)
    await first.destroy()
    await second.membership.renew()
    expect(third.membership.status().network?.authorities).toEqual([first.membership.node])
    await dial(third, second)
    await until([second, third], () => isConnected(second, third) && isConnected(third, second))
    expect(third.membership.status().network?.authorities).toContain(second.membership.node)
  })
})

describe('a rotation of the isolation key', () => {
  test('gives members the new one, by which they meet when the old one has ended', async () => {
    const clock = createShiftedClock()
    const [first, second] = [await start({ clock }), await start({ clock })]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first)
    await first.membership.rotateIsolationKey()
    const keys = (): number =>
      second.membership.state?.isolationHashes(clock.unixMs() / 1000).length ?? 0
    await until([second], () => keys() === 2)
    await until([second], () => second.membership.status().network?.lacksIsolationKey === false)
    await second.libp2p.hangUp(first.libp2p.peerId)
    await until([first], () => !isConnected(first, second))
    clock.leapWall(1.1 * DAY_MS)
    expect(keys()).toBe(1)
    await dial(second, first)
    await until([first], () => isConnected(first, second))
  })
})

describe('a rotation of the network key', () => {
  test('by its holder, or by the authorities when the holder is gone, reaches all', async () => {
    const [first, second, third] = [await start(), await start(), await start()]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first)
    await join(third, first)
    await dial(third, second)
    const rotations = (node: TestNode): number => node.membership.status().network!.rotations
    await first.membership.rotateNetworkKey('scheduled')
    await until([second, third], () => rotations(second) === 1 && rotations(third) === 1)
    await expect(second.membership.rotateNetworkKey('scheduled')).rejects.toMatchObject({
      code: 'ERR_IDENTITY_NOT_AUTHORITY',
    })
    await first.destroy()
    await second.membership.rotateNetworkKey('emergency')
    await until([third], () => rotations(third) === 2)
    await second.membership.renew()
    // Its certificate is of an epoch that nobody who was away can know: it is brought along.
    expect(second.membership.status().network?.certificate.epoch).toBe(2)
  })
})

describe('a rotation of a node’s key', () => {
  test('takes its membership and its place as an authority along', async () => {
    const disk = createMemoryDisk()
    const [first, second] = [await start(), await start({ store: disk.open() })]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first, { roles: ['storage'] })
    const old = second.membership.node
    const next = await second.membership.rotateNodeKey()
    await until([first], () => {
      const authorities = first.membership.status().network?.authorities ?? []
      return authorities.includes(next) && !authorities.includes(old)
    })
    // It goes on under the old key until it is started anew.
    expect(isConnected(second, first)).toBe(true)
    await second.membership.renew()
    await second.destroy()
    const again = await start({ store: disk.open() })
    expect(again.membership.node).toBe(next)
    await dial(again, first)
    await until([first], () => isConnected(first, again))
    await until([again], () => again.membership.status().network?.isAuthority === true)
    expect(again.membership.status().network).toMatchObject({
      certificate: { roles: ['storage'] },
    })
  })

  test('of the only authority, without anybody else', async () => {
    const disk = createMemoryDisk()
    const first = await start({ store: disk.open() })
    await first.membership.createNetwork({ name: 'home' })
    const next = await first.membership.rotateNodeKey()
    await first.destroy()
    const again = await start({ store: disk.open() })
    expect(again.membership.node).toBe(next)
    expect(again.membership.status().network?.authorities).toEqual([next])
    const second = await start()
    await join(second, again)
  })

  test('that a crash cut in two is finished at the next start', async () => {
    const disk = createMemoryDisk()
    const store = disk.open()
    // The power goes when the next key is noted, before it is in its place.
    const failing = new Proxy(store, {
      get(target, key) {
        if (key !== 'write') return bound(target, key)
        return (...[name, bytes]: Parameters<typeof store.write>) => {
          const isFirst = name !== 'node-key' || target.disk.written.includes('genesis') === false
          if (!isFirst) return Promise.reject(new Error('no power'))
          return target.write(name, bytes)
        }
      },
    })
    const first = await start({ store: failing })
    await first.membership.createNetwork({ name: 'home' })
    await expect(first.membership.rotateNodeKey()).rejects.toThrow('no power')
    disk.crash()
    await first.libp2p.stop()
    const again = await start({ store: disk.open() })
    expect(again.membership.node).not.toBe(first.membership.node)
    expect(again.membership.status().network?.authorities).toEqual([again.membership.node])
    const second = await start()
    await join(second, again)
  })
})

describe('a disk', () => {
  test('holds a token’s use before the welcome goes out, and after a crash', async () => {
    const disk = createMemoryDisk()
    const first = await start({ store: disk.open() })
    await first.membership.createNetwork({ name: 'home' })
    const { text } = await first.membership.createToken()
    const [second, third] = [await start(), await start()]
    const release = disk.hold()
    const joining = second.membership.join(text, { dial: () => dial(second, first) })
    // As far as the use of the token: it waits for the disk.
    await until([second], () => second.libp2p.getDialQueue().length === 1)
    expect(second.membership.state).toBeUndefined()
    release()
    await joining
    disk.crash()
    await first.libp2p.stop()
    const again = await start({ store: disk.open() })
    expect(again.membership.node).toBe(first.membership.node)
    expect(again.membership.tokens()).toMatchObject([
      { state: 'used', usedBy: second.membership.node },
    ])
    const refused = third.membership.join(text, { dial: () => dial(third, again) })
    await expect(refused).rejects.toThrow('the token was used by another node before')
    // The node that used it comes in by its certificate.
    await dial(second, again)
    await until([again], () => isConnected(again, second))
  })

  test('that does not take a token’s use: its holder stays outside', async () => {
    const store = createMemoryDisk().open()
    let isFull = false
    const full = new Proxy(store, {
      get(target, key) {
        if (key !== 'write') return bound(target, key)
        return (...[name, bytes]: Parameters<typeof store.write>) =>
          isFull && name === 'tokens'
            ? Promise.reject(new Error('no space'))
            : target.write(name, bytes)
      },
    })
    const [first, second] = [await start({ store: full }), await start()]
    await first.membership.createNetwork({ name: 'home' })
    const { text } = await first.membership.createToken()
    isFull = true
    const joining = second.membership.join(text, { dial: () => dial(second, first) })
    await expect(joining).rejects.toThrow('nobody can be admitted at present')
    expect(second.membership.state).toBeUndefined()
  })

  test('that does not take it: nobody is admitted, and the token stays good', async () => {
    const disk = createMemoryDisk()
    const first = await start({ store: disk.open() })
    await first.membership.createNetwork({ name: 'home' })
    const { text } = await first.membership.createToken()
    const second = await start()
    disk.failure = new Error('no space')
    const join = (): Promise<unknown> =>
      second.membership.join(text, { dial: () => dial(second, first) })
    await expect(join()).rejects.toThrow('nobody can be admitted at present')
    expect(first.membership.tokens()).toMatchObject([{ state: 'open' }])
    disk.failure = undefined
    await join()
    await until([first], () => isConnected(first, second))
  })
})
