import assert from 'node:assert/strict'
import type { ComplianceCase, NodeId } from '../base.ts'
import {
  assertBytes,
  bytesOf,
  Inbox,
  nextEvent,
  patterned,
  rejectsWith,
  rest,
  textOf,
  transportCase,
} from './message-transport-kit.ts'
import type { MessageTransportSetup } from './message-transport-setup.ts'

/** More of the longest messages than any queue of a peer may hold. */
const SENDS_UNTIL_FULL_MAX = 10_000

const STRANGER = 'stranger' as NodeId

const delivering = [
  transportCase('each knows the two others and not itself', async ({ a, b, c }) => {
    const names = [a.self, b.self, c.self]
    for (const one of [a, b, c]) {
      const others = names.filter((name) => name !== one.self)
      assert.deepEqual([...one.peers()].toSorted(), others.toSorted())
    }
  }),
  transportCase('a message arrives once, with its sender, nowhere else', async ({ a, b, c }) => {
    const [atA, atB, atC] = [new Inbox(a), new Inbox(b), new Inbox(c)]
    assert.equal(a.send(b.self, bytesOf('to b')), true)
    assert.equal(b.send(a.self, bytesOf('to a')), true)
    await Promise.all([atA.until(1), atB.until(1)])
    await rest()
    assert.deepEqual(atA.texts, ['to a'])
    assert.deepEqual(atB.texts, ['to b'])
    assert.equal(atA.messages[0]?.from, b.self)
    assert.equal(atB.messages[0]?.from, a.self)
    assert.deepEqual(atC.texts, [])
  }),
  transportCase('a message never arrives inside of send', async ({ a, b }) => {
    const atB = new Inbox(b)
    a.send(b.self, bytesOf('x'))
    assert.equal(atB.messages.length, 0)
    await atB.until(1)
  }),
  transportCase('what was sent is a copy', async ({ a, b }) => {
    const atB = new Inbox(b)
    const buffer = bytesOf('before')
    a.send(b.self, buffer)
    buffer.fill(0)
    await atB.until(1)
    assert.deepEqual(atB.texts, ['before'])
    atB.messages[0]?.message.fill(0)
    a.send(b.self, bytesOf('again'))
    await atB.until(2)
    assert.equal(atB.texts[1], 'again')
  }),
  transportCase('several parts are one message', async ({ a, b }) => {
    const atB = new Inbox(b)
    const parts = (function* (): Generator<Uint8Array> {
      yield bytesOf('one, ')
      yield new Uint8Array(0)
      yield bytesOf('two')
    })()
    assert.equal(a.send(b.self, parts), true)
    assert.equal(a.send(b.self, []), true)
    await atB.until(2)
    assert.deepEqual(atB.texts, ['one, two', ''])
  }),
  transportCase('the longest message arrives, one byte more is a RangeError', async ({ a, b }) => {
    const atB = new Inbox(b)
    const longest = patterned(a.messageBytesMax, 7)
    assert.equal(a.send(b.self, longest), true)
    await atB.until(1)
    assertBytes(atB.messages[0]?.message ?? new Uint8Array(0), longest)
    const parts = [longest, new Uint8Array(1)]
    assert.throws(() => a.send(b.self, parts), RangeError)
    await assert.rejects(a.request(b.self, parts), RangeError)
  }),
  transportCase('two to one peer arrive in order', async ({ a, b }) => {
    const atB = new Inbox(b)
    const sent: string[] = []
    for (let number = 0; sent.length < 1_000; number++) {
      const text = `${number} ${'x'.repeat((number * 37) % 3_000)}`
      if (a.send(b.self, bytesOf(text))) sent.push(text)
      else await atB.until(sent.length)
    }
    await atB.until(sent.length)
    assert.deepEqual(atB.texts, sent)
  }),
  transportCase('to oneself or to a stranger: false', async ({ a }) => {
    assert.equal(a.send(a.self, bytesOf('x')), false)
    assert.equal(a.send(STRANGER, bytesOf('x')), false)
    await rejectsWith(a.request(a.self, bytesOf('x')), { code: 'ERR_TRANSPORT_UNREACHABLE' })
    await rejectsWith(a.request(STRANGER, bytesOf('x')), { code: 'ERR_TRANSPORT_UNREACHABLE' })
  }),
  transportCase('a full queue drops what is new, of that peer alone', async ({ a, b, c }) => {
    const [atB, atC] = [new Inbox(b), new Inbox(c)]
    let accepted = 0
    const text = (number: number): Uint8Array => {
      const message = patterned(a.messageBytesMax, number)
      new DataView(message.buffer).setUint32(0, number)
      return message
    }
    while (accepted < SENDS_UNTIL_FULL_MAX && a.send(b.self, text(accepted))) accepted++
    assert.ok(accepted > 0 && accepted < SENDS_UNTIL_FULL_MAX, `${accepted} were accepted`)
    assert.equal(a.send(c.self, bytesOf('still')), true)
    await Promise.all([atB.until(accepted), atC.until(1)])
    await rest()
    assert.equal(atB.messages.length, accepted)
    for (const [number, { message }] of atB.messages.entries()) assertBytes(message, text(number))
    assert.equal(a.send(b.self, bytesOf('room again')), true)
    await atB.until(accepted + 1)
  }),
]

const connecting = [
  transportCase('a cut is told at both ends; then nobody is there', async (cast) => {
    const { setup, a, b, c } = cast
    const seenDown = [nextEvent(a, 'peer:down'), nextEvent(b, 'peer:down')]
    await setup.disconnect(a.self, b.self)
    assert.deepEqual(await Promise.all(seenDown), [{ peer: b.self }, { peer: a.self }])
    assert.deepEqual(a.peers(), [c.self])
    assert.deepEqual(b.peers(), [c.self])
    assert.equal(a.send(b.self, bytesOf('x')), false)
    await rejectsWith(a.request(b.self, bytesOf('x')), { code: 'ERR_TRANSPORT_UNREACHABLE' })
    const atC = new Inbox(c)
    assert.equal(a.send(c.self, bytesOf('others stay')), true)
    await atC.until(1)
  }),
  transportCase('connected again: told at both ends, and all works', async (cast) => {
    const { setup, a, b } = cast
    b.handle(async (_, message) => message)
    for (let round = 0; round < 3; round++) {
      await setup.disconnect(a.self, b.self)
      const seenUp = [nextEvent(a, 'peer:up'), nextEvent(b, 'peer:up')]
      await setup.connect(a.self, b.self)
      assert.deepEqual(await Promise.all(seenUp), [{ peer: b.self }, { peer: a.self }])
      const answer = await a.request(b.self, bytesOf(`round ${round}`))
      assert.equal(textOf(answer), `round ${round}`)
    }
  }),
  transportCase('peers() agrees with events when they are told', async ({ setup, a, b }) => {
    const log: string[] = []
    a.addEventListener('peer:down', ({ detail: { peer } }) => {
      log.push(`down ${a.peers().includes(peer)} ${a.send(peer, bytesOf('x'))}`)
    })
    a.addEventListener('peer:up', ({ detail: { peer } }) => {
      log.push(`up ${a.peers().includes(peer)} ${a.send(peer, bytesOf('welcome'))}`)
    })
    const atB = new Inbox(b)
    await setup.disconnect(a.self, b.self)
    await setup.connect(a.self, b.self)
    await atB.until(1)
    assert.deepEqual(log, ['down false false', 'up true true'])
    assert.deepEqual(atB.texts, ['welcome'])
  }),
  transportCase('no message comes from a peer that is down', async ({ setup, a, b }) => {
    let isUp = true
    let early = 0
    b.addEventListener('peer:down', () => {
      isUp = false
    })
    b.addEventListener('peer:up', () => {
      isUp = true
    })
    b.addEventListener('message', () => {
      if (!isUp) early++
    })
    for (let round = 0; round < 5; round++) {
      for (let number = 0; number < 50; number++) a.send(b.self, patterned(1_000, number))
      await setup.disconnect(a.self, b.self)
      await rest()
      await setup.connect(a.self, b.self)
    }
    assert.equal(early, 0)
  }),
]

export const messageCases: readonly ComplianceCase<MessageTransportSetup>[] = [
  ...delivering,
  ...connecting,
]
