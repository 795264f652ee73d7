import assert from 'node:assert/strict'
import type { ComplianceCase } from '../base.ts'
import type { BulkChannel, BulkPriority } from '../bulk-channel.ts'
import {
  caseOf,
  controlBytesMax,
  expectCode,
  numbered,
  numberOf,
  range,
  rest,
  sendUntilFull,
  take,
  takeNumbers,
  untilFull,
} from './bulk-channel-kit.ts'
import type { BulkChannelSetup } from './bulk-channel-setup.ts'

const SENDS_WAITING_MAX = 1_024
const PRIORITIES: readonly BulkPriority[] = ['control', 'bulk']

const order = [
  caseOf('both ends know themselves, each other, the purpose and the bounds', async (setup) => {
    const { opener, acceptor } = setup
    assert.equal(opener.local, acceptor.remote)
    assert.equal(opener.remote, acceptor.local)
    assert.equal(opener.purpose, acceptor.purpose)
    for (const { state, messageBytesMax, bufferBytesMax } of [opener, acceptor]) {
      assert.equal(state, 'open')
      assert.ok(messageBytesMax >= 1 && messageBytesMax <= bufferBytesMax)
    }
  }),
  caseOf('messages of one class arrive in order, in both directions at once', async (setup) => {
    const { opener, acceptor } = setup
    const run = async (from: BulkChannel, to: BulkChannel): Promise<void> => {
      const sent = range(0, 300).map(async (number) => await from.send(numbered(number)))
      assert.deepEqual(await takeNumbers(to.receive(), 300), range(0, 300))
      await Promise.all(sent)
    }
    await Promise.all([run(opener, acceptor), run(acceptor, opener)])
  }),
  caseOf('a message arrives with its class, its boundaries and all its bytes', async (setup) => {
    const { opener, acceptor } = setup
    const longest = controlBytesMax(opener)
    const sizes = [1, 3, 4, 100, longest - 1, longest]
    for (const priority of PRIORITIES) {
      for (const size of sizes) void opener.send(numbered(size, size), { priority })
    }
    const got = await take(acceptor.receive(), sizes.length * 2)
    for (const priority of PRIORITIES) {
      const ofClass = got.filter((message) => message.priority === priority)
      assert.deepEqual(
        ofClass.map(({ bytes }) => Buffer.from(bytes)),
        sizes.map((size) => Buffer.from(numbered(size, size))),
      )
    }
  }),
  caseOf('several parts are sent as one message', async ({ opener, acceptor }) => {
    const whole = numbered(7, 100)
    const parts = [whole.subarray(0, 1), whole.subarray(1, 1), whole.subarray(1, 60)]
    await opener.send([...parts, whole.subarray(60)])
    await opener.send(new Set([whole]))
    assert.deepEqual(await takeNumbers(acceptor.receive(), 2), [7, 7])
  }),
  caseOf('control overtakes bulk that waits for its turn', async ({ opener, acceptor }) => {
    const bulk = sendUntilFull(opener)
    await untilFull(opener)
    await opener.send(numbered(1), { priority: 'control' })
    const messages = acceptor.receive()
    const seen: BulkPriority[] = []
    while (seen.length < bulk.length && seen.at(-1) !== 'control') {
      seen.push(...(await take(messages, 1)).map(({ priority }) => priority))
    }
    assert.equal(seen.at(-1), 'control')
    assert.ok(seen.length < bulk.length, 'control came after all bulk')
    await takeNumbers(messages, bulk.length - seen.length + 1)
    await Promise.all(bulk)
  }),
]

const bounds = [
  caseOf('nobody reads: at most one buffer here and one there is accepted', async (setup) => {
    const { opener, acceptor } = setup
    const sent = sendUntilFull(opener)
    const bound = opener.bufferBytesMax
    await untilFull(opener)
    await rest()
    const { acceptedBytes, acknowledgedBytes } = opener.stats()
    assert.ok(acceptedBytes - acknowledgedBytes <= bound, 'unacknowledged bytes here')
    assert.ok(acknowledgedBytes <= acceptor.bufferBytesMax, 'unread bytes there')
    assert.deepEqual(await takeNumbers(acceptor.receive(), sent.length), range(0, sent.length))
    await Promise.all(sent)
  }),
  caseOf('control is accepted while the buffer is full of bulk', async ({ opener, acceptor }) => {
    const bulk = sendUntilFull(opener)
    await untilFull(opener)
    await opener.send(numbered(5, controlBytesMax(opener)), { priority: 'control' })
    await takeNumbers(acceptor.receive(), bulk.length + 1)
    await Promise.all(bulk)
  }),
  caseOf('credit returns when the next message is pulled', async ({ opener, acceptor }) => {
    const sent = sendUntilFull(opener)
    await untilFull(opener)
    const before = opener.stats().acknowledgedBytes
    const messages = acceptor.receive()
    await take(messages, 1)
    await rest()
    assert.equal(opener.stats().acknowledgedBytes, before)
    await take(messages, sent.length - 1)
    await Promise.all(sent)
  }),
  caseOf('credit returns for memory that the receiver has given away', async (setup) => {
    const { opener, acceptor } = setup
    const sent = sendUntilFull(opener)
    await untilFull(opener)
    const messages = acceptor.receive()
    for (let count = 0; count < sent.length; count++) {
      const [message] = await take(messages, 1)
      const { buffer, byteLength } = message?.bytes ?? new Uint8Array()
      // It belongs to the receiver, who may pass it on to a thread; not what lies beside it.
      if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
    }
    await Promise.all(sent)
  }),
  caseOf('more than 1,024 waiting calls: ERR_BULK_QUEUE_FULL', async ({ opener, acceptor }) => {
    const sent = sendUntilFull(opener)
    await untilFull(opener)
    const { acceptedBytes } = opener.stats()
    const waiting = sent.length - acceptedBytes / opener.messageBytesMax
    assert.ok(waiting > 0)
    const more = range(sent.length, SENDS_WAITING_MAX - waiting)
    const small = more.map(async (number) => await opener.send(numbered(number)))
    let released = 0
    const onReleased = (): void => {
      released++
    }
    await expectCode(opener.send(numbered(0), { onReleased }), 'ERR_BULK_QUEUE_FULL')
    assert.equal(released, 1)
    const count = sent.length + small.length
    assert.deepEqual(await takeNumbers(acceptor.receive(), count), range(0, count))
    await Promise.all([...sent, ...small])
  }),
  caseOf('empty and too long messages: RangeError', async ({ opener, acceptor }) => {
    const tooLong = new Uint8Array(opener.messageBytesMax + 1)
    const messages = acceptor.receive()
    let released = 0
    const options = {
      onReleased: (): void => {
        released++
      },
    }
    for (const message of [new Uint8Array(0), [], [new Uint8Array(0)], tooLong]) {
      await assert.rejects(opener.send(message, options), RangeError)
      await assert.rejects(opener.send(message), RangeError)
    }
    const tooLongControl = new Uint8Array(controlBytesMax(opener) + 1)
    await assert.rejects(opener.send(tooLongControl, { priority: 'control' }), RangeError)
    assert.equal(released, 4)
    await opener.send(new Uint8Array(opener.messageBytesMax))
    assert.equal((await take(messages, 1))[0]?.bytes.byteLength, opener.messageBytesMax)
    await opener.send(numbered(1))
    assert.deepEqual(await takeNumbers(messages, 1), [1])
  }),
]

const buffers = [
  caseOf('without onReleased the sender may change its buffer at once', async (setup) => {
    const { opener, acceptor } = setup
    await setup.suspend()
    for (const number of range(0, 10)) {
      const message = numbered(number)
      await opener.send(message)
      message.fill(0xff)
    }
    await setup.resume()
    assert.deepEqual(await takeNumbers(acceptor.receive(), 10), range(0, 10))
  }),
  caseOf('onReleased comes exactly once, after the delivery', async ({ opener, acceptor }) => {
    const released = new Map<number, number>()
    const count = 100
    for (const number of range(0, count)) {
      const message = numbered(number, 1_000)
      await opener.send(message, {
        onReleased: () => {
          released.set(number, (released.get(number) ?? 0) + 1)
          message.fill(0xee)
        },
      })
    }
    await opener.flush()
    assert.deepEqual(await takeNumbers(acceptor.receive(), count), range(0, count))
    assert.deepEqual([...released.keys()], range(0, count))
    assert.ok([...released.values()].every((times) => times === 1))
  }),
  caseOf('a received message belongs to the receiver', async ({ opener, acceptor }) => {
    const messages = acceptor.receive()
    for (const number of range(0, 20)) await opener.send(numbered(number))
    const got = await take(messages, 20)
    got[0]?.bytes.fill(0xff)
    assert.deepEqual(
      got.slice(1).map(({ bytes }) => numberOf(bytes)),
      range(1, 19),
    )
  }),
  caseOf('flush resolves when what was accepted before is delivered', async (setup) => {
    const { opener, acceptor } = setup
    await opener.flush()
    for (const number of range(0, 50)) await opener.send(numbered(number))
    await opener.flush()
    const { acceptedBytes, acknowledgedBytes } = opener.stats()
    assert.equal(acknowledgedBytes, acceptedBytes)
    assert.equal(acceptor.stats().receivedBytes, acceptedBytes)
    assert.equal(opener.stats().linksUp, 1)
  }),
]

const aborts = [
  caseOf('abort before acceptance withdraws, after it has no effect', async (setup) => {
    const { opener, acceptor } = setup
    const accepted = new AbortController()
    const sent = sendUntilFull(opener)
    await untilFull(opener)
    const waiting = new AbortController()
    let released = 0
    const withdrawn = opener.send(numbered(999), {
      signal: waiting.signal,
      onReleased: () => {
        released++
      },
    })
    const last = opener.send(numbered(sent.length), { signal: accepted.signal })
    const reason = new Error('changed my mind')
    waiting.abort(reason)
    await assert.rejects(withdrawn, reason)
    assert.equal(released, 1)
    const messages = acceptor.receive()
    const numbers = await takeNumbers(messages, sent.length)
    await last
    accepted.abort()
    numbers.push(...(await takeNumbers(messages, 1)))
    assert.deepEqual(numbers, range(0, sent.length + 1))
    assert.equal(released, 1)
    await Promise.all(sent)
  }),
  caseOf('a signal aborted before: nothing is sent or waited for', async (setup) => {
    const { opener, acceptor } = setup
    const reason = new Error('too late')
    const signal = AbortSignal.abort(reason)
    await assert.rejects(opener.send(numbered(1), { signal }), reason)
    await assert.rejects(opener.flush({ signal }), reason)
    await opener.send(numbered(2))
    assert.deepEqual(await takeNumbers(acceptor.receive(), 1), [2])
  }),
  caseOf('abort of a flush stops the waiting, not the channel', async (setup) => {
    const { opener, acceptor } = setup
    await setup.suspend()
    await opener.send(numbered(1))
    const controller = new AbortController()
    const flushed = opener.flush({ signal: controller.signal })
    const reason = new Error('enough')
    controller.abort(reason)
    await assert.rejects(flushed, reason)
    await setup.resume()
    await opener.flush()
    assert.deepEqual(await takeNumbers(acceptor.receive(), 1), [1])
  }),
]

export const flowCases: readonly ComplianceCase<BulkChannelSetup>[] = [
  ...order,
  ...bounds,
  ...buffers,
  ...aborts,
]
