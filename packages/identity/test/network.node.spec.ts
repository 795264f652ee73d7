import { afterEach, describe, expect, test } from 'vitest'
import type { NetworkId } from '../src/core/model.ts'
import { JoinError } from '../src/errors.ts'
import type { CreateTokenInit } from '../src/membership.ts'
import { dial, isConnected, startNode, until } from './kit/libp2p-node.ts'
import type { TestNode, TestNodeInit } from './kit/libp2p-node.ts'

const nodes: TestNode[] = []

async function start(init?: TestNodeInit): Promise<TestNode> {
  const node = await startNode(init)
  nodes.push(node)
  return node
}

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.destroy()))
})

/** By a token of `issuer`, dialled at the address inside it. */
async function join(node: TestNode, issuer: TestNode, init?: CreateTokenInit): Promise<NetworkId> {
  const { text } = await issuer.membership.createToken(init)
  return joinBy(node, issuer, text)
}

function joinBy(node: TestNode, issuer: TestNode, text: string): Promise<NetworkId> {
  const known = new Map(
    issuer.libp2p.getMultiaddrs().map((address) => [address.toString(), address]),
  )
  return node.membership.join(text, {
    dial: async (address) => {
      const multiaddr = known.get(address)
      if (multiaddr === undefined) throw new Error(`not an address of the issuer: ${address}`)
      await node.libp2p.dial(multiaddr)
    },
  })
}

const membersOf = (node: TestNode): readonly string[] =>
  node.membership.status().members.map((member) => member.node)

describe('three nodes', () => {
  test('form a network; without the first, the second renews, admits, revokes', async () => {
    const [first, second, third, fourth] = [
      await start(),
      await start(),
      await start(),
      await start(),
    ]
    const network = await first.membership.createNetwork({ name: 'home' })
    expect(await join(second, first)).toBe(network)
    await until([second], () => second.membership.status().network?.isAuthority === true)
    expect(membersOf(second)).toEqual([first.membership.node])
    // The dialling side is done first: its last message is on the way.
    await until([first], () => membersOf(first).includes(second.membership.node))

    await first.destroy()
    await until([second], () => !isConnected(second, first), 'the loss of the first')

    expect(await join(third, second)).toBe(network)
    expect(await join(fourth, second, { nodeType: 'hypha' })).toBe(network)
    expect(second.membership.status().network?.authorities).toContain(third.membership.node)
    expect(second.membership.status().network?.authorities).not.toContain(fourth.membership.node)

    const before = fourth.membership.status().network?.certificate.serial
    await fourth.membership.renew()
    expect(fourth.membership.status().network?.certificate.serial).not.toEqual(before)

    await dial(third, fourth)
    await third.membership.revoke({ node: fourth.membership.node }, 'removed')
    await until([second, third], () => !isConnected(second, fourth) && !isConnected(third, fourth))
    await until([fourth], () => fourth.libp2p.getConnections().length === 0)
    await expect(dial(fourth, second)).rejects.toThrow('revoked')
    await expect(dial(fourth, third)).rejects.toThrow('revoked')
    await expect(dial(third, fourth)).rejects.toThrow('revoked')
    expect(second.audit).toContainEqual(
      expect.objectContaining({
        event: 'member:refused',
        node: fourth.membership.node,
        reason: 'revoked',
      }),
    )
  })

  test('of another network, and strangers, are refused by all and learn only that', async () => {
    const [first, second, foreign, stranger] = [
      await start(),
      await start(),
      await start(),
      await start(),
    ]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first)
    await foreign.membership.createNetwork({ name: 'next door' })
    for (const member of [first, second]) {
      await expect(dial(foreign, member)).rejects.toThrow('refused by the peer: wrong-network')
      await expect(dial(member, foreign)).rejects.toThrow('wrong-network')
      // Without a network there is nothing to say.
      await expect(dial(stranger, member)).rejects.toThrow('member of no network')
      await expect(dial(member, stranger)).rejects.toThrow('wrong-network')
      expect(member.audit).toContainEqual(
        expect.objectContaining({
          event: 'member:refused',
          reason: 'wrong-network',
          isStranger: true,
        }),
      )
    }
    expect(foreign.libp2p.getConnections()).toEqual([])
    expect(stranger.libp2p.getConnections()).toEqual([])
    await until([first], () => membersOf(first).join() === second.membership.node)
  })
})

describe('a token', () => {
  test('lets one node in, and tells the next why not', async () => {
    const [first, second, third] = [await start(), await start(), await start()]
    await first.membership.createNetwork({ name: 'home' })
    const { text, id } = await first.membership.createToken()
    await joinBy(second, first, text)
    const refusal = joinBy(third, first, text)
    await expect(refusal).rejects.toThrow(JoinError)
    await expect(refusal).rejects.toThrow('the token was used by another node before')
    expect(first.membership.tokens()).toMatchObject([
      { id, state: 'used', usedBy: second.membership.node },
    ])
    expect(third.membership.state).toBeUndefined()
  })

  test('that was revoked, or is of another network, says so in one line', async () => {
    const [first, second, foreign] = [await start(), await start(), await start()]
    await first.membership.createNetwork({ name: 'home' })
    await foreign.membership.createNetwork({ name: 'next door' })
    const { text, id } = await first.membership.createToken()
    expect(await first.membership.revokeToken(id)).toBe(true)
    await expect(joinBy(second, first, text)).rejects.toThrow(
      'could not join: the token was revoked',
    )
    await expect(joinBy(foreign, first, text)).rejects.toMatchObject({
      code: 'ERR_IDENTITY_TOKEN_FOREIGN',
    })
  })
})

describe('facts', () => {
  test('made while a member was away come when it returns', async () => {
    const [first, second, third] = [await start(), await start(), await start()]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first)
    await join(third, first)
    await second.libp2p.hangUp(first.libp2p.peerId)
    await until([first], () => !isConnected(first, second))
    await first.membership.revoke({ node: third.membership.node }, 'removed')
    const key = third.membership.publicKey
    expect(second.membership.state?.isNodeRevoked(key)).toBe(false)
    await dial(second, first)
    await until([second], () => second.membership.state?.isNodeRevoked(key) === true)
  })

  test('about a compromised node bring all others a new isolation key', async () => {
    const [first, second, third] = [await start(), await start(), await start()]
    await first.membership.createNetwork({ name: 'home' })
    await join(second, first)
    await join(third, first)
    await first.membership.revoke({ node: third.membership.node }, 'compromised')
    const hashes = (node: TestNode): number =>
      node.membership.state?.isolationHashes(Date.now() / 1000).length ?? 0
    await until([second], () => hashes(second) === 2)
    await second.libp2p.hangUp(first.libp2p.peerId)
    await until([first], () => !isConnected(first, second))
    await dial(second, first)
    await until([first], () => isConnected(first, second))
    expect(isConnected(first, third)).toBe(false)
  })
})

describe('a network of two founders and a threshold of two', () => {
  test('admits only while both are there', async () => {
    const [one, two, three, four] = [await start(), await start(), await start(), await start()]
    const init = { name: 'home', authorityThreshold: 2 }
    const proposal = await one.membership.proposeNetwork(init, [two.membership.node])
    await expect(one.membership.foundNetwork(proposal)).rejects.toMatchObject({
      code: 'ERR_IDENTITY_SIGNATURE',
    })
    await expect(three.membership.signNetwork(proposal)).rejects.toThrow('none of the founders')
    await one.membership.foundNetwork(await two.membership.signNetwork(proposal))
    await join(two, one)
    await join(three, one)
    expect(one.membership.status().network?.authorities).toHaveLength(3)
    await two.destroy()
    await three.destroy()
    await until([one], () => membersOf(one).length === 0)
    await expect(join(four, one)).rejects.toThrow('nobody can be admitted at present')
  })
})

describe('leaving', () => {
  test('ends the membership everywhere, and the node may come again by a new token', async () => {
    const [first, second] = [await start(), await start()]
    const network = await first.membership.createNetwork({ name: 'home' })
    await join(second, first, { nodeType: 'rhizomorph' })
    expect(await second.membership.leave()).toBe(true)
    expect(second.membership.state).toBeUndefined()
    await until([first], () => !isConnected(first, second))
    expect(await join(second, first)).toBe(network)
  })
})
