import { createSeededRandom } from '@mycelium/simulator'
import { describe, expect, test } from 'vitest'
import { HANDSHAKE_TIMEOUT_MS } from '../../src/constants.ts'
import { decodeMessage } from '../../src/core/messages.ts'
import { createTries } from '../../src/core/tries.ts'
import { newInitiator, newResponder, runPair, timeAt } from '../kit/handshake-pair.ts'
import type { PairInit } from '../kit/handshake-pair.ts'
import { refusal } from '../kit/handshake-words.ts'
import { createTestMember, createTestNetwork, NOW, WEEK_S } from '../kit/network.ts'

const random = createSeededRandom(7, 'attacks')
const network = createTestNetwork(random.fork('network'))
const foreign = createTestNetwork(random.fork('foreign'))

function pairOf(changes: Partial<PairInit> = {}): PairInit {
  const initiator = createTestMember(network)
  const responder = createTestMember(network)
  return { random: random.fork('nonces'), initiator, responder, ...changes }
}

describe('somebody in the middle', () => {
  test('with keys of its own: both ends see it, and neither the other', () => {
    const middle = network.newSigner().publicKey
    const init = pairOf()
    const { initiator, responder } = runPair({
      ...init,
      initiator: { ...init.initiator, sees: middle },
      responder: { ...init.responder, sees: middle },
    })
    expect(refusal(responder)).toBe('by self: wrong-network')
    expect(refusal(initiator)).toBe('by peer: wrong-network')
  })

  test('who is a member itself, and passes the claims of others on', () => {
    // The middle makes the proofs itself, and passes the claim of the victim on as its own.
    const middle = createTestMember(network)
    const victim = createTestMember(network)
    const toMiddle = runPair(pairOf({ initiator: victim, responder: middle }))
    const claim = toMiddle.frames.find(
      ({ from, frame }) => from === 'initiator' && decodeMessage(frame)?.kind === 'claim',
    )
    const { responder } = runPair(
      pairOf({
        initiator: middle,
        tamper: (frame, from) => [
          from === 'initiator' && decodeMessage(frame)?.kind === 'claim' ? claim!.frame : frame,
        ],
      }),
    )
    expect(refusal(responder)).toBe('by self: certificate-of-another')
  })

  test('who replays a whole handshake is refused at the first proof', () => {
    const init = pairOf()
    const recorded = runPair(init).frames.filter(({ from }) => from === 'initiator')
    const responder = newResponder(init)
    const answers = recorded.map(({ frame }) => responder.step({ kind: 'frame', frame }, timeAt(0)))
    expect(answers.flat().map((effect) => effect.kind)).toEqual(['send', 'send', 'refused'])
    expect(answers[1]?.at(-1)).toMatchObject({ reason: 'wrong-network' })
  })

  test('who replays the answers of a responder is refused at its proof', () => {
    const init = pairOf()
    const recorded = runPair(init).frames.filter(({ from }) => from === 'responder')
    const initiator = newInitiator(init)
    initiator.step({ kind: 'start' }, timeAt(0))
    const effects = recorded.flatMap(({ frame }) =>
      initiator.step({ kind: 'frame', frame }, timeAt(0)),
    )
    expect(effects.at(-1)).toMatchObject({ kind: 'refused', reason: 'wrong-network' })
  })
})

describe('messages', () => {
  test('out of order are refused in every stage, by both', () => {
    const init = pairOf()
    const { frames } = runPair(init)
    const of = (name: string): readonly Uint8Array[] =>
      frames.filter(({ from }) => from === name).map(({ frame }) => frame)
    for (const role of ['initiator', 'responder'] as const) {
      const right = of(role === 'initiator' ? 'responder' : 'initiator')
      const all = frames.map(({ frame }) => frame)
      for (let stage = 0; stage < right.length; stage++) {
        for (const wrong of all) {
          if (decodeMessage(wrong)?.kind === decodeMessage(right[stage]!)?.kind) continue
          const { [role]: outcome } = runPair({
            ...init,
            tamper: countingFrom(role === 'initiator' ? 'responder' : 'initiator', stage, wrong),
          })
          expect(refusal(outcome)).toBe('by self: malformed')
        }
      }
    }
  })

  function countingFrom(
    sender: 'initiator' | 'responder',
    stage: number,
    wrong: Uint8Array,
  ): NonNullable<PairInit['tamper']> {
    let count = 0
    return (frame, from) => [from === sender && count++ === stage ? wrong : frame]
  }

  test('after the end change nothing', () => {
    const init = pairOf()
    const responder = newResponder(init)
    responder.step({ kind: 'malformed' }, timeAt(0))
    expect(responder.isEnded).toBe(true)
    expect(responder.nextDeadline()).toBeUndefined()
    const { frames } = runPair(init)
    expect(responder.step({ kind: 'frame', frame: frames[0]!.frame }, timeAt(0))).toEqual([])
  })

  test('that do not come are waited for until the deadline', () => {
    const init = pairOf()
    for (const handshake of [newInitiator(init), newResponder(init)]) {
      expect(handshake.nextDeadline()).toBe(HANDSHAKE_TIMEOUT_MS)
      expect(handshake.step({ kind: 'tick' }, timeAt(HANDSHAKE_TIMEOUT_MS - 1))).toEqual([])
      const effects = handshake.step({ kind: 'tick' }, timeAt(HANDSHAKE_TIMEOUT_MS))
      expect(effects.at(-1)).toEqual({ kind: 'refused', reason: 'timeout', isByPeer: false })
    }
  })
})

describe('wrong tries', () => {
  test('are slowed after 5 in a minute, and nothing is read meanwhile', () => {
    const tries = createTries()
    const stranger = createTestMember(foreign)
    const init = pairOf({ initiator: stranger })
    const attempt = { ...init, responder: { ...init.responder, tries } }
    for (let count = 0; count < 5; count++) {
      expect(refusal(runPair(attempt).responder)).toBe('by self: wrong-network')
    }
    const recorded = runPair(init).frames.filter(({ from }) => from === 'initiator')
    const responder = newResponder(attempt)
    const effects = recorded.flatMap(({ frame }) =>
      responder.step({ kind: 'frame', frame }, timeAt(0)),
    )
    expect(effects.map(({ kind }) => kind)).toEqual(['send'])
    expect(responder.nextDeadline()).toBe(250)
    expect(responder.step({ kind: 'malformed' }, timeAt(249))).toEqual([])
    expect(responder.step({ kind: 'tick' }, timeAt(250)).map(({ kind }) => kind)).toEqual([
      'send',
      'refused',
    ])
  })

  test('of others at the same address do not slow a member', () => {
    const tries = createTries()
    const init = pairOf({ initiator: createTestMember(foreign) })
    for (let count = 0; count < 20; count++) {
      runPair({ ...init, responder: { ...init.responder, tries } })
    }
    const member = pairOf()
    const { responder } = runPair({ ...member, responder: { ...member.responder, tries } })
    expect(responder).toHaveProperty('proven')
  })
})

describe('an expired certificate on a connection that stands', () => {
  test('goes on, marked as degraded', () => {
    const member = createTestMember(network, { notBefore: NOW - WEEK_S, notAfter: NOW - 3600 })
    const init = pairOf({ initiator: member })
    const { responder, initiator } = runPair({
      ...init,
      initiator: { ...init.initiator, expired: 'degrade' },
      responder: { ...init.responder, expired: 'degrade' },
    })
    expect(responder).toMatchObject({ proven: { isDegraded: true } })
    expect(initiator).toMatchObject({ proven: { isDegraded: false } })
  })

  test('renews itself in a mode of its own, within the time of grace', () => {
    const signer = network.newSigner()
    const renewing = (notAfter: number): PairInit => {
      const member = createTestMember(network, { notBefore: notAfter - WEEK_S, notAfter }, signer)
      const certificate = network.certify(signer.publicKey)
      const init = pairOf({ initiator: { ...member, mode: 'renew' } })
      return { ...init, responder: { ...init.responder, renew: () => ({ certificate }) } }
    }
    const { initiator, responder, stored, order } = runPair(renewing(NOW - 3600))
    expect(responder).toMatchObject({ proven: { isDegraded: false, mode: 'renew' } })
    expect(initiator).toHaveProperty('proven')
    expect(stored).toHaveLength(1)
    expect(order.indexOf('initiator store')).toBeLessThan(order.indexOf('initiator proven'))
    // The side that renews wants a member that is one.
    const expired = createTestMember(network, { notBefore: NOW - WEEK_S, notAfter: NOW - 3600 })
    const both = renewing(NOW - 3600)
    const lame = runPair({ ...both, responder: { ...both.responder, ...expired } })
    expect(refusal(lame.initiator)).toBe('by self: certificate-expired')
    const late = runPair(renewing(NOW - 31 * 24 * 3600))
    expect(refusal(late.responder)).toBe('by self: certificate-expired')
  })
})
