import assert from 'node:assert/strict'
import type { ComplianceCase } from '../base.ts'
import {
  aborted,
  assertBytes,
  bytesOf,
  Inbox,
  isOpen,
  patterned,
  rejectsWith,
  rest,
  SlowHandler,
  textOf,
  transportCase,
} from './message-transport-kit.ts'
import type { MessageTransportSetup } from './message-transport-setup.ts'

/** The contract's limit of a request without a signal. */
const REQUEST_LIMIT_MS = 10_000

const LOST = { code: 'ERR_TRANSPORT_LOST' }

function refused(remoteCode: string): { readonly code: string; readonly remoteCode: string } {
  return { code: 'ERR_TRANSPORT_REFUSED', remoteCode }
}

const answering = [
  transportCase('one answer to one question, of the longest bytes', async ({ a, b }) => {
    const asked: string[] = []
    b.handle(async (from, message) => {
      asked.push(from)
      return [message.subarray(1), message.subarray(0, 1)]
    })
    const question = patterned(a.messageBytesMax, 3)
    const answer = await a.request(b.self, question)
    assertBytes(answer, Buffer.concat([question.subarray(1), question.subarray(0, 1)]))
    assert.deepEqual(asked, [a.self])
    assert.equal((await a.request(b.self, [])).length, 0)
  }),
  transportCase('answers may come in any order, each to its question', async ({ a, b }) => {
    const handler = new SlowHandler(b)
    const answers = ['x', 'y', 'z'].map(async (text) =>
      textOf(await a.request(b.self, bytesOf(text))),
    )
    await handler.until(3)
    for (const index of [2, 0, 1]) handler.answer(index)
    assert.deepEqual(await Promise.all(answers), ['answer to x', 'answer to y', 'answer to z'])
  }),
  transportCase('a handler may ask the asker; messages go on meanwhile', async ({ a, b }) => {
    const atB = new Inbox(b)
    a.handle(async (_, message) => bytesOf(`${textOf(message)} from a`))
    b.handle(async (from) => bytesOf(`${textOf(await b.request(from, bytesOf('greetings')))}!`))
    const answer = a.request(b.self, bytesOf('who?'))
    a.send(b.self, bytesOf('meanwhile'))
    assert.equal(textOf(await answer), 'greetings from a!')
    await atB.until(1)
    assert.deepEqual(atB.texts, ['meanwhile'])
  }),
  transportCase('a question is no message, a message no question', async ({ a, b }) => {
    const atB = new Inbox(b)
    let asked = 0
    b.handle(async () => {
      asked++
      return []
    })
    await a.request(b.self, bytesOf('question'))
    a.send(b.self, bytesOf('message'))
    await atB.until(1)
    assert.deepEqual(atB.texts, ['message'])
    assert.equal(asked, 1)
  }),
]

const refusing = [
  transportCase('nobody handles: refused', async ({ a, b }) => {
    await rejectsWith(a.request(b.self, bytesOf('x')), refused('ERR_TRANSPORT_NO_HANDLER'))
  }),
  transportCase('a handler that throws refuses, with its code alone', async ({ a, b }) => {
    b.handle(async (_, message) => {
      const coded = Object.assign(new Error('secret'), { code: 'ERR_TEST_NO' })
      if (textOf(message) === 'coded') throw coded
      throw new RangeError('secret')
    })
    await rejectsWith(a.request(b.self, bytesOf('coded')), refused('ERR_TEST_NO'))
    await rejectsWith(a.request(b.self, bytesOf('bare')), refused('ERR_TRANSPORT_HANDLER'))
    const error: unknown = await a.request(b.self, bytesOf('coded')).catch((thrown) => thrown)
    assert.ok(error instanceof Error && !error.message.includes('secret'))
  }),
  transportCase('a handler that throws at once, or answers nonsense, refuses', async (cast) => {
    const { a, b } = cast
    const remove = b.handle(() => {
      throw Object.assign(new Error('no'), { code: 'not a code: \n' })
    })
    await rejectsWith(a.request(b.self, bytesOf('x')), refused('ERR_TRANSPORT_HANDLER'))
    remove()
    b.handle(async () => undefined as unknown as Uint8Array)
    await rejectsWith(a.request(b.self, bytesOf('x')), refused('ERR_TRANSPORT_HANDLER'))
  }),
  transportCase('an answer that is too long: refused', async ({ a, b }) => {
    b.handle(async () => new Uint8Array(b.messageBytesMax + 1))
    await rejectsWith(a.request(b.self, bytesOf('x')), refused('ERR_TRANSPORT_ANSWER_TOO_LONG'))
  }),
  transportCase('at most one handler; removed once, for good', async ({ a, b }) => {
    const remove = b.handle(async () => bytesOf('first'))
    assert.throws(() => b.handle(async () => bytesOf('second')), TypeError)
    assert.equal(textOf(await a.request(b.self, [])), 'first')
    remove()
    await rejectsWith(a.request(b.self, []), refused('ERR_TRANSPORT_NO_HANDLER'))
    b.handle(async () => bytesOf('third'))
    remove()
    assert.equal(textOf(await a.request(b.self, [])), 'third')
  }),
  transportCase('bounded for each peer: one more is refused', async ({ setup, a, b, c }) => {
    const { handlersMax } = setup
    const handler = new SlowHandler(b)
    const ask = async (from: typeof a, text: string): Promise<string> =>
      textOf(await from.request(b.self, bytesOf(text)))
    const texts = Array.from({ length: handlersMax }, (_, index) => `question ${index}`)
    const answers = texts.map((text) => ask(a, text))
    await handler.until(handlersMax)
    await rejectsWith(ask(a, 'one more'), refused('ERR_TRANSPORT_BUSY'))
    const ofAnother = ask(c, 'from another')
    await handler.until(handlersMax + 1)
    handler.answerAll()
    assert.deepEqual(
      await Promise.all(answers),
      texts.map((text) => `answer to ${text}`),
    )
    assert.equal(await ofAnother, 'answer to from another')
    const again = ask(a, 'room again')
    await handler.until(handlersMax + 2)
    handler.answerAll()
    assert.equal(await again, 'answer to room again')
  }),
]

const losing = [
  transportCase('a cut while the peer works: lost here, aborted there', async (cast) => {
    const { setup, a, b } = cast
    const handler = new SlowHandler(b)
    const lost = rejectsWith(a.request(b.self, bytesOf('x')), LOST)
    await handler.until(1)
    await setup.disconnect(a.self, b.self)
    await lost
    const [question] = handler.questions
    assert.ok(question !== undefined)
    await aborted(question.signal)
    await setup.connect(a.self, b.self)
    handler.answerAll()
    await rest()
  }),
  transportCase('an asker that aborts: its reason here, aborted there', async ({ a, b }) => {
    const handler = new SlowHandler(b)
    const controller = new AbortController()
    const reason = new Error('changed my mind')
    const options = { signal: controller.signal }
    const gone = assert.rejects(a.request(b.self, bytesOf('x'), options), reason)
    await handler.until(1)
    assert.equal(handler.questions[0]?.signal.aborted, false)
    controller.abort(reason)
    await gone
    await aborted(handler.questions[0]?.signal ?? AbortSignal.abort())
    const answer = a.request(b.self, bytesOf('y'))
    await handler.until(2)
    handler.answerAll()
    assert.equal(textOf(await answer), 'answer to y')
  }),
  transportCase('aborted before it began: nothing is sent', async ({ a, b }) => {
    const handler = new SlowHandler(b)
    const reason = new Error('no')
    const options = { signal: AbortSignal.abort(reason) }
    await assert.rejects(a.request(b.self, bytesOf('x'), options), reason)
    await rest()
    assert.equal(handler.questions.length, 0)
  }),
  transportCase('without a signal the limit is 10 s', async ({ setup, a, b }) => {
    const handler = new SlowHandler(b)
    const answer = a.request(b.self, bytesOf('x'))
    const lost = rejectsWith(answer, LOST)
    await handler.until(1)
    // Half of a second for what real time passes between.
    await setup.elapse(REQUEST_LIMIT_MS - 500)
    assert.equal(await isOpen(answer), true)
    await setup.elapse(500)
    await lost
    await aborted(handler.questions[0]?.signal ?? AbortSignal.abort())
  }),
  transportCase('with a signal there is no other limit', async ({ setup, a, b }) => {
    const handler = new SlowHandler(b)
    const options = { signal: new AbortController().signal }
    const answer = a.request(b.self, bytesOf('x'), options)
    await handler.until(1)
    await setup.elapse(2 * REQUEST_LIMIT_MS)
    assert.equal(await isOpen(answer), true)
    handler.answerAll()
    assert.equal(textOf(await answer), 'answer to x')
  }),
]

export const requestCases: readonly ComplianceCase<MessageTransportSetup>[] = [
  ...answering,
  ...refusing,
  ...losing,
]
