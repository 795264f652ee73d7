/** The same facts give the same state: in any order, with some of them twice, at once or singly. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeEnvelope } from '../../src/core/envelope.ts'
import { decodeFact } from '../../src/core/facts.ts'
import { createNetworkState } from '../../src/core/facts-state.ts'
import type { Crypto, Signer, Statement } from '../../src/core/model.ts'
import type { NetworkState } from '../../src/core/network-state.ts'
import {
  bytesOf,
  crypto,
  NOW,
  paperNetwork,
  sealedFact,
  sealedRotation,
  signerOf,
  type FactInit,
} from '../kit/documents.ts'

/** Of one exchange. */
const BYTES_MAX = 20_000

const signers = [1, 2, 3, 4, 5].map(signerOf)
const signerAt = (index: number): Signer => signers[index % signers.length] ?? signerOf(1)
const networks = [
  paperNetwork({ nodes: [signerAt(0)] }),
  paperNetwork({ nodes: [signerAt(0), signerAt(1)], threshold: 2 }),
] as const

/** Signatures have tests of their own; here they would take nearly all of the time. */
const trusting: Crypto = { ...crypto, verify: () => true }

const who = fc.nat(4)
/** More often one that is an authority from the start. */
const issuers = fc.constantFrom(0, 0, 0, 1, 1, 2, 3, 4)
const fill = fc.nat(2)
const reason = fc.constantFrom('left' as const, 'removed' as const, 'compromised' as const)
const statement: fc.Arbitrary<Statement> = fc.oneof(
  {
    weight: 6,
    arbitrary: who.map((n) => ({ kind: 'authority-added', node: signerAt(n).publicKey }) as const),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(who, fc.nat(9))
      .map(
        ([n, lastNumber]) =>
          ({ kind: 'authority-removed', node: signerAt(n).publicKey, lastNumber }) as const,
      ),
  },
  fill.map((n) => ({ kind: 'token-revoked', tokenId: bytesOf(16, n) }) as const),
  fc
    .tuple(who, reason)
    .map(
      ([n, why]) => ({ kind: 'node-revoked', node: signerAt(n).publicKey, reason: why }) as const,
    ),
  fill.map(
    (n) =>
      ({
        kind: 'isolation-rotated',
        isolationHash: bytesOf(32, n),
        overlapUntil: NOW + 9,
      }) as const,
  ),
  who.map((n) => {
    const rotation = {
      network: networks[0].id,
      number: 1,
      oldKey: signerOf(0).publicKey,
      newKey: signerAt(n).publicKey,
      at: NOW,
      overlapUntil: NOW + 9,
      cause: 'emergency' as const,
    }
    const by = signerAt(n + 1)
    return { kind: 'key-rotated', rotation: sealedRotation(rotation, [signerAt(n), by]) } as const
  }),
)

const facts: fc.Arbitrary<readonly FactInit[]> = fc.array(
  fc
    .record({
      issuer: issuers,
      number: fc.integer({ min: 1, max: 9 }),
      at: fc.constantFrom(NOW, NOW + 3, NOW + 6),
      statement,
      coSigners: fc.uniqueArray(who, { maxLength: 3 }),
    })
    .map(({ issuer, coSigners, ...rest }) => ({
      ...rest,
      issuer: signerAt(issuer),
      coSigners: rest.statement.kind.startsWith('authority')
        ? coSigners.filter((one) => one !== issuer).map(signerAt)
        : [],
    })),
  { minLength: 1, maxLength: 24, size: 'max' },
)

/** All that can be asked of a state. */
function pictureOf(state: NetworkState): object {
  return {
    authorities: state.authorities,
    rotations: state.rotations,
    isolation: [NOW, NOW + 8, NOW + 10].map((now) => state.isolationHashes(now)),
    spent: [0, 1, 2].map((n) => state.isTokenSpent(bytesOf(16, n))),
    revoked: signers.map(({ publicKey }) => state.isNodeRevoked(publicKey)),
    vector: [...state.vector()].toSorted(([one], [other]) => (one < other ? -1 : 1)),
    facts: state
      .facts()
      .map((envelope) => Buffer.from(envelope).toString('hex'))
      .toSorted(),
    held: state.heldCount,
  }
}

const scenario = fc.record({ facts, network: fc.constantFrom(...networks) }).chain((init) => {
  const envelopes = init.facts.map((one) => sealedFact(init.network.id, one))
  const orders = fc.array(fc.nat(Math.max(0, envelopes.length - 1)), { maxLength: 30 })
  return fc.record({
    network: fc.constant(init.network),
    envelopes: fc.constant(envelopes),
    order: orders.map((order) => [
      ...order.flatMap((index) => envelopes.slice(index, index + 1)),
      ...envelopes.toReversed(),
    ]),
  })
})

describe('the state of a network', () => {
  it('is a function of the set of facts', () => {
    const seen = { removed: 0, authorities: 0, disputes: 0 }
    fc.assert(
      fc.property(scenario, ({ network, envelopes, order }) => {
        const create = (given: readonly Uint8Array[]): NetworkState =>
          createNetworkState({ crypto: trusting }, { genesis: network.envelope, facts: given })
        const atOnce = create(envelopes)
        const singly = create([])
        for (const envelope of order) singly.add(envelope, NOW)
        const picture = pictureOf(atOnce)
        expect(pictureOf(singly)).toEqual(picture)
        expect(pictureOf(create(order))).toEqual(picture)
        // What counts is complete: whoever gets it alone knows the same.
        const copy = create(atOnce.missing(new Map(), Infinity))
        expect({ ...pictureOf(copy), held: 0 }).toEqual({ ...picture, held: 0 })
        expect(atOnce.missing(copy.vector(), Infinity)).toEqual([])
        if (atOnce.authorities.length > network.nodes.length) seen.authorities++
        if (network.nodes.some(({ publicKey }) => !hasKey(atOnce, publicKey))) seen.removed++
        if (new Set(atOnce.facts().map(slotIn)).size < atOnce.factCount) seen.disputes++
      }),
      // Fewer, and chance leaves one of the counts below too small: of 600 runs one had 16.
      { numRuns: 1_200 },
    )
    // The scenarios are worth something.
    for (const [name, count] of Object.entries(seen)) expect(count, name).toBeGreaterThan(20)
  })

  it('is the same for two members that met after each heard a part', () => {
    fc.assert(
      fc.property(scenario, fc.nat(24), ({ network, envelopes }, cut) => {
        const [one, other] = [envelopes.slice(0, cut), envelopes.slice(cut)].map((given) => {
          const state = createNetworkState(
            { crypto: trusting },
            { genesis: network.envelope, facts: given },
          )
          return state
        })
        if (one === undefined || other === undefined) return
        for (let round = 0; round < 8; round++) {
          const toOther = one.missing(other.vector(), BYTES_MAX)
          const toOne = other.missing(one.vector(), BYTES_MAX)
          for (const envelope of toOther) other.add(envelope, NOW)
          for (const envelope of toOne) one.add(envelope, NOW)
        }
        const whole = createNetworkState(
          { crypto: trusting },
          { genesis: network.envelope, facts: envelopes },
        )
        for (const state of [one, other]) {
          expect({ ...pictureOf(state), held: 0 }).toEqual({ ...pictureOf(whole), held: 0 })
        }
      }),
      // Fewer, and chance leaves one of the counts below too small: of 600 runs one had 16.
      { numRuns: 1_200 },
    )
  })
})

const hasKey = (state: NetworkState, key: Uint8Array): boolean =>
  state.authorities.some((one) => Buffer.from(one).equals(key))

const slotIn = (envelope: Uint8Array): string => {
  const { issuer, number } = decodeFact(decodeEnvelope(envelope).body)
  return `${Buffer.from(issuer).toString('hex')}:${number}`
}
