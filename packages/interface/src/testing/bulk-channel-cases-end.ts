import assert from 'node:assert/strict'
import type { Bytes, ComplianceCase } from '../base.ts'
import {
  caseOf,
  expectCode,
  nextEvent,
  numbered,
  numberOf,
  range,
  sendUntilFull,
  take,
  takeNumbers,
  untilFull,
} from './bulk-channel-kit.ts'
import type { BulkChannelSetup } from './bulk-channel-setup.ts'

const closing = [
  caseOf('close flushes; the peer reads everything, then its loop ends', async (setup) => {
    const { opener, acceptor } = setup
    const events = [nextEvent(opener, 'closed'), nextEvent(acceptor, 'closed')]
    for (const number of range(0, 100)) await opener.send(numbered(number))
    await opener.close()
    assert.equal(opener.stats().acknowledgedBytes, 6_400)
    const numbers: number[] = []
    for await (const { bytes } of acceptor.receive()) numbers.push(numberOf(bytes))
    assert.deepEqual(numbers, range(0, 100))
    assert.deepEqual(await Promise.all(events), [{}, {}])
    assert.equal(opener.state, 'closed')
    assert.equal(acceptor.state, 'closed')
  }),
  caseOf('close is idempotent, at both ends, at once', async ({ opener, acceptor }) => {
    await opener.send(numbered(1))
    await acceptor.send(numbered(2))
    await Promise.all([opener.close(), acceptor.close(), opener.close()])
    await opener.close()
    await acceptor.close()
    await opener[Symbol.asyncDispose]()
    assert.equal(opener.state, 'closed')
    assert.equal(acceptor.state, 'closed')
  }),
  caseOf('after close: ERR_BULK_CLOSED at both ends', async ({ opener, acceptor }) => {
    const closed = nextEvent(acceptor, 'closed')
    await opener.close()
    await closed
    for (const channel of [opener, acceptor]) {
      let released = 0
      const onReleased = (): void => {
        released++
      }
      await expectCode(channel.send(numbered(1), { onReleased }), 'ERR_BULK_CLOSED')
      await expectCode(channel.flush(), 'ERR_BULK_CLOSED')
      assert.equal(released, 1)
    }
  }),
  caseOf('close refuses calls that still wait, each released once', async (setup) => {
    const { opener, acceptor } = setup
    const sent = sendUntilFull(opener)
    await untilFull(opener)
    const accepted = opener.stats().acceptedBytes / opener.messageBytesMax
    const outcomes = Promise.allSettled(sent)
    const closed = opener.close()
    const numbers: number[] = []
    for await (const { bytes } of acceptor.receive()) numbers.push(numberOf(bytes))
    await closed
    assert.deepEqual(numbers, range(0, accepted))
    const refused = (await outcomes).filter(({ status }) => status === 'rejected')
    assert.equal(refused.length, sent.length - accepted)
  }),
  caseOf('abort of a close falls back to abort', async ({ opener, acceptor }) => {
    const sent = Promise.allSettled(sendUntilFull(opener))
    await untilFull(opener)
    const seen = nextEvent(acceptor, 'closed')
    const controller = new AbortController()
    const closed = opener.close({ signal: controller.signal })
    const reason = new Error('no time')
    controller.abort(reason)
    await assert.rejects(closed, reason)
    assert.equal(opener.state, 'closed')
    await seen
    await expectCode(acceptor.send(numbered(1)), 'ERR_BULK_ABORTED')
    await sent
  }),
  caseOf('leaving the loop early closes the channel', async ({ opener, acceptor }) => {
    const closed = nextEvent(opener, 'closed')
    for (const number of range(0, 10)) await opener.send(numbered(number))
    for await (const { bytes } of acceptor.receive()) {
      if (numberOf(bytes) === 3) break
    }
    assert.equal(acceptor.state, 'closed')
    assert.deepEqual(await closed, {})
    await expectCode(opener.send(numbered(1)), 'ERR_BULK_CLOSED')
  }),
  caseOf('both leave their loops at once with full buffers', async ({ opener, acceptor }) => {
    const sends = [...sendUntilFull(opener), ...sendUntilFull(acceptor)]
    const outcomes = Promise.allSettled(sends)
    const leave = async (channel: typeof opener): Promise<void> => {
      for await (const { bytes } of channel.receive()) {
        assert.equal(numberOf(bytes), 0)
        break
      }
    }
    await Promise.all([leave(opener), leave(acceptor)])
    await outcomes
    assert.equal(opener.state, 'closed')
    assert.equal(acceptor.state, 'closed')
  }),
]

const aborting = [
  caseOf('abort: here ERR_BULK_CLOSED with the cause, there ERR_BULK_ABORTED', async (setup) => {
    const { opener, acceptor } = setup
    const here = nextEvent(opener, 'closed')
    const there = nextEvent(acceptor, 'closed')
    const released = new Promise<void>((resolve) => {
      void opener.send(numbered(1), { onReleased: resolve })
    })
    const pulled = acceptor.receive()
    const reason = new Error('fire')
    opener.abort(reason)
    opener.abort(new Error('again'))
    assert.equal(opener.state, 'closed')
    await released
    assert.deepEqual(await here, { reason })
    const seen = await there
    assert.ok(seen !== null && typeof seen === 'object' && 'reason' in seen)
    await expectCode(Promise.reject(seen.reason as Error), 'ERR_BULK_ABORTED')
    await expectCode(opener.send(numbered(1)), 'ERR_BULK_CLOSED')
    await expectCode(acceptor.send(numbered(1)), 'ERR_BULK_ABORTED')
    await expectCode(drain(pulled), 'ERR_BULK_ABORTED')
    await opener.close()
    await acceptor.close()
  }),
  caseOf('abort settles whoever waits', async ({ opener, acceptor }) => {
    const sent = sendUntilFull(opener)
    const seen = nextEvent(acceptor, 'closed')
    const outcomes = Promise.allSettled(sent)
    await untilFull(opener)
    const flushed = expectCode(opener.flush(), 'ERR_BULK_CLOSED')
    const received = opener.receive().next()
    const receivedCode = expectCode(received, 'ERR_BULK_CLOSED')
    opener.abort(new Error('fire'))
    await Promise.all([flushed, receivedCode])
    assert.ok((await outcomes).some(({ status }) => status === 'rejected'))
    await seen
    await acceptor.close()
  }),
]

async function drain(messages: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of messages);
}

const consuming = [
  caseOf('one consumer: a second gets ERR_BULK_CONSUMED', async ({ opener, acceptor }) => {
    const first = acceptor.receive()
    await expectCode(acceptor.receive().next(), 'ERR_BULK_CONSUMED')
    await expectCode(drain(acceptor.source), 'ERR_BULK_CONSUMED')
    await opener.send(numbered(1))
    assert.deepEqual(await takeNumbers(first, 1), [1])
  }),
  caseOf('it-pipe: source and sink; the end of a sink ends the source there', async (setup) => {
    const { opener, acceptor } = setup
    const items: Bytes[] = range(0, 20).map((number) => numbered(number))
    items.push([numbered(20).subarray(0, 10), numbered(20).subarray(10)])
    const echo = acceptor.sink(acceptor.source)
    const sunk = opener.sink(items)
    const numbers: number[] = []
    for await (const bytes of opener.source) numbers.push(numberOf(bytes))
    await Promise.all([echo, sunk])
    assert.deepEqual(numbers, range(0, 21))
    assert.equal(opener.state, 'closed')
    assert.equal(acceptor.state, 'closed')
  }),
  caseOf('after a sink ended the other direction still works', async ({ opener, acceptor }) => {
    await opener.sink([numbered(1)])
    await expectCode(opener.send(numbered(2)), 'ERR_BULK_CLOSED')
    const numbers: number[] = []
    for await (const { bytes } of acceptor.receive()) numbers.push(numberOf(bytes))
    assert.deepEqual(numbers, [1])
    await acceptor.send(numbered(3))
    const messages = opener.receive()
    assert.equal(numberOf((await take(messages, 1))[0]?.bytes ?? new Uint8Array(4)), 3)
    await acceptor.close()
    assert.deepEqual(await messages.next(), { value: undefined, done: true })
  }),
  caseOf('a source that throws into a sink aborts the channel', async ({ opener, acceptor }) => {
    const failure = new Error('disk gone')
    const seen = nextEvent(acceptor, 'closed')
    const failing = async function* (): AsyncGenerator<Uint8Array> {
      yield numbered(1)
      throw failure
    }
    await assert.rejects(opener.sink(failing()), failure)
    await seen
    await expectCode(acceptor.send(numbered(1)), 'ERR_BULK_ABORTED')
  }),
]

export const endCases: readonly ComplianceCase<BulkChannelSetup>[] = [
  ...closing,
  ...aborting,
  ...consuming,
]
