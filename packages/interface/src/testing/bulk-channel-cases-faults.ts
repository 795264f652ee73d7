import assert from 'node:assert/strict'
import type { ComplianceCase } from '../base.ts'
import type { BulkChannel } from '../bulk-channel.ts'
import {
  caseOf,
  expectCode,
  fullBytes,
  nextEvent,
  numbered,
  numberOf,
  range,
  rest,
  sendUntilFull,
  takeNumbers,
  until,
} from './bulk-channel-kit.ts'
import type { BulkChannelSetup } from './bulk-channel-setup.ts'

const suspending = [
  caseOf('a gap is told by state and events, at both ends', async (setup) => {
    const { opener, acceptor } = setup
    const ends = [opener, acceptor]
    const suspended = ends.map((end) => nextEvent(end, 'suspended'))
    const resumed = ends.map((end) => nextEvent(end, 'resumed'))
    await setup.suspend()
    assert.ok(ends.every(({ state }) => state === 'suspended'))
    assert.ok(ends.every((end) => end.stats().linksUp === 0))
    for (const detail of (await Promise.all(suspended)) as { since: number }[]) {
      assert.equal(typeof detail.since, 'number')
    }
    await setup.resume()
    assert.ok(ends.every(({ state }) => state === 'open'))
    for (const detail of (await Promise.all(resumed)) as { gapMs: number }[]) {
      assert.ok(detail.gapMs >= 0)
    }
  }),
  caseOf('while suspended the buffer fills and then send waits', async (setup) => {
    const { opener, acceptor } = setup
    await setup.suspend()
    const sent = sendUntilFull(opener)
    await until(() => opener.stats().acceptedBytes >= fullBytes(opener))
    await rest()
    const { acceptedBytes, acknowledgedBytes } = opener.stats()
    assert.ok(acceptedBytes <= opener.bufferBytesMax)
    assert.equal(acknowledgedBytes, 0)
    await setup.resume()
    assert.deepEqual(await takeNumbers(acceptor.receive(), sent.length), range(0, sent.length))
    await Promise.all(sent)
  }),
  caseOf('exactly once and in order over many gaps, both ways, both classes', async (setup) => {
    const { opener, acceptor } = setup
    const count = 400
    const runs = [exchange(opener, acceptor, count), exchange(acceptor, opener, count)]
    for (let gap = 0; gap < 8; gap++) {
      await setup.suspend()
      await setup.resume()
    }
    await Promise.all(runs)
    await Promise.all([opener.flush(), acceptor.flush()])
    for (const end of [opener, acceptor]) {
      const { acceptedBytes, acknowledgedBytes, resentBytes } = end.stats()
      assert.equal(acceptedBytes, acknowledgedBytes)
      assert.ok(resentBytes >= 0)
    }
    assert.equal(acceptor.stats().receivedBytes, opener.stats().acceptedBytes)
    assert.equal(opener.stats().receivedBytes, acceptor.stats().acceptedBytes)
  }),
  caseOf('onReleased comes once though the message may go twice', async (setup) => {
    const { opener, acceptor } = setup
    const count = 60
    const released = new Array<number>(count).fill(0)
    const received = takeNumbers(acceptor.receive(), count)
    const sent = range(0, count).map(async (number) => {
      const message = numbered(number, opener.messageBytesMax)
      const onReleased = (): void => {
        released[number] = (released[number] ?? 0) + 1
        message.fill(0xdd)
      }
      await opener.send(message, { onReleased })
    })
    for (let gap = 0; gap < 4; gap++) {
      await setup.suspend()
      await setup.resume()
    }
    assert.deepEqual(await received, range(0, count))
    await Promise.all(sent)
    await opener.flush()
    assert.ok(released.every((times) => times === 1))
  }),
  caseOf('close during a gap waits for its end', async (setup) => {
    const { opener, acceptor } = setup
    await setup.suspend()
    await opener.send(numbered(1))
    const closed = opener.close()
    await setup.resume()
    const numbers: number[] = []
    for await (const { bytes } of acceptor.receive()) numbers.push(numberOf(bytes))
    await closed
    assert.deepEqual(numbers, [1])
  }),
]

/** `count` messages of each class, checked at the receiver. */
async function exchange(from: BulkChannel, to: BulkChannel, count: number): Promise<void> {
  const send = async (priority: 'control' | 'bulk'): Promise<void> => {
    for (const number of range(0, count)) await from.send(numbered(number, 1_024), { priority })
  }
  const sent = Promise.all([send('control'), send('bulk')])
  const next = { control: 0, bulk: 0 }
  const messages = to.receive()
  while (next.control + next.bulk < 2 * count) {
    const { value } = await messages.next()
    assert.ok(value, 'the channel ended early')
    assert.equal(numberOf(value.bytes), next[value.priority]++)
  }
  await sent
}

const losing = [
  caseOf('a gap longer than the grace time: ERR_BULK_SESSION_LOST for all', async (setup) => {
    const { opener, acceptor } = setup
    const events = [opener, acceptor].map((end) => nextEvent(end, 'closed'))
    const received = expectCode(acceptor.receive().next(), 'ERR_BULK_SESSION_LOST')
    await setup.suspend()
    let released = 0
    const onReleased = (): void => {
      released++
    }
    await opener.send(numbered(1), { onReleased })
    const waiting = Promise.allSettled(sendUntilFull(opener))
    const flushed = expectCode(opener.flush(), 'ERR_BULK_SESSION_LOST')
    await setup.lose()
    await Promise.all([received, flushed])
    assert.equal(released, 1)
    for (const outcome of await waiting) {
      if (outcome.status === 'rejected') {
        assert.equal((outcome.reason as { code?: string }).code, 'ERR_BULK_SESSION_LOST')
      }
    }
    for (const detail of (await Promise.all(events)) as { reason?: { code?: string } }[]) {
      assert.equal(detail.reason?.code, 'ERR_BULK_SESSION_LOST')
    }
    for (const end of [opener, acceptor]) {
      assert.equal(end.state, 'closed')
      await expectCode(end.send(numbered(1)), 'ERR_BULK_SESSION_LOST')
      await end.close()
    }
  }),
  caseOf('what was delivered before the loss can still be read', async (setup) => {
    const { opener, acceptor } = setup
    for (const number of range(0, 5)) await opener.send(numbered(number))
    await opener.flush()
    await setup.lose()
    const messages = acceptor.receive()
    assert.deepEqual(await takeNumbers(messages, 5), range(0, 5))
    await expectCode(messages.next(), 'ERR_BULK_SESSION_LOST')
  }),
  caseOf('a close that cannot flush because of the loss says so', async (setup) => {
    const { opener } = setup
    await setup.suspend()
    await opener.send(numbered(1))
    const closed = expectCode(opener.close(), 'ERR_BULK_SESSION_LOST')
    await setup.lose()
    await closed
  }),
]

export const faultCases: readonly ComplianceCase<BulkChannelSetup>[] = [...suspending, ...losing]
