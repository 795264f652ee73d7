import { expect, test } from 'vitest'
import {
  QMP_LINE_BYTES_MAX,
  QMP_PENDING_MAX,
  QmpSession,
  type QmpEffect,
} from '../../src/core/qmp-session.ts'

const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, ' +
  '"capabilities": ["oob"]}}\r\n'

function receive(session: QmpSession, text: string): QmpEffect[] {
  return session.step({ type: 'bytes', bytes: new TextEncoder().encode(text) })
}

function greeted(): QmpSession {
  const session = new QmpSession()
  receive(session, GREETING)
  return session
}

test('the greeting names the version', () => {
  expect(receive(new QmpSession(), GREETING)).toEqual([
    { type: 'greeting', version: { major: 7, minor: 2, micro: 22, package: 'Debian' } },
  ])
})

test('commands go out as one text, replies are matched by id', () => {
  const session = greeted()
  const commands = [
    { execute: 'stop' },
    { execute: 'xen-save-devices-state', arguments: { filename: '/x', live: false } },
  ]
  expect(session.step({ type: 'commands', commands })).toEqual([
    {
      type: 'write',
      ids: [1, 2],
      text:
        '{"execute":"stop","id":1}\n' +
        '{"execute":"xen-save-devices-state","arguments":{"filename":"/x","live":false},"id":2}\n',
    },
  ])
  expect(
    receive(
      session,
      '{"timestamp": {"seconds": 2, "microseconds": 500000}, "event": "STOP"}\r\n' +
        '{"return": {}, "id": 1}\r\n' +
        '{"id": 2, "error": {"class": "GenericError", "desc": "no"}}\r\n',
    ),
  ).toEqual([
    { type: 'event', event: { name: 'STOP', data: {}, unixMs: 2_500 } },
    { type: 'returned', id: 1, value: {} },
    { type: 'failed', id: 2, qmpClass: 'GenericError', description: 'no' },
  ])
})

test('a reply frees its place; one command too many sends nothing', () => {
  const session = greeted()
  const commands = Array.from({ length: QMP_PENDING_MAX }, () => ({ execute: 'stop' }))
  expect(session.step({ type: 'commands', commands })[0]?.type).toBe('write')
  expect(session.step({ type: 'commands', commands: [{ execute: 'stop' }] })).toEqual([
    { type: 'full' },
  ])
  receive(session, '{"return": {}, "id": 1}\n')
  expect(session.step({ type: 'commands', commands: [{ execute: 'cont' }] })).toEqual([
    {
      type: 'write',
      ids: [QMP_PENDING_MAX + 1],
      text: `{"execute":"cont","id":${QMP_PENDING_MAX + 1}}\n`,
    },
  ])
})

test.each([
  ['no JSON', 'hello\n', 'a line is no JSON'],
  ['no UTF-8', Uint8Array.of(0x22, 0xff, 0x22, 0x0a), 'a line is no JSON'],
  ['an array', '[]\n', 'a line is no JSON object'],
  ['a reply to nothing', '{"return": {}, "id": 9}\n', /^a reply to no command of ours came/],
  ['a reply without id', '{"return": {}}\n', /^a reply to no command of ours came/],
  ['a reply that says nothing', '{"id": 1}\n', 'a reply is neither a result nor an error'],
  ['an event without name', '{"event": 1}\n', 'an event has no name'],
  ['an event without object', '{"event": "STOP", "data": 1}\n', 'an event has no name'],
  [
    'an event with a bad time',
    '{"event": "STOP", "timestamp": {"seconds": "1"}}\n',
    'the event STOP has a bad time',
  ],
])('refuses %s, and everything after it', (_name, input, reason) => {
  const session = greeted()
  session.step({ type: 'commands', commands: [{ execute: 'stop' }] })
  const bytes = typeof input === 'string' ? new TextEncoder().encode(input) : input
  const effects = session.step({ type: 'bytes', bytes })
  expect(effects).toEqual([{ type: 'broken', reason: expect.stringMatching(reason) as string }])
  expect(receive(session, '{"return": {}, "id": 1}\n')).toEqual([])
  expect(session.step({ type: 'commands', commands: [{ execute: 'stop' }] })).toEqual([])
})

test.each([
  ['{"return": {}}\n', 'no QMP greeting came'],
  ['{"QMP": {"version": {"qemu": {"major": -1, "minor": 2, "micro": 3}}}}\n', /names no version/],
])('refuses a connection that does not begin with a greeting', (text, reason) => {
  expect(receive(new QmpSession(), text)).toEqual([
    { type: 'broken', reason: expect.stringMatching(reason) as string },
  ])
})

test('a line at the bound, and one byte past it', () => {
  const frame = (length: number): string => {
    const start = '{"event":"X","data":{"x":"'
    return `${start}${'y'.repeat(length - start.length - 3)}"}}`
  }
  const atBound = receive(greeted(), `${frame(QMP_LINE_BYTES_MAX)}\n`)
  expect(atBound[0]?.type).toBe('event')
  const past = [{ type: 'broken', reason: `a line is longer than ${QMP_LINE_BYTES_MAX} bytes` }]
  expect(receive(greeted(), `${frame(QMP_LINE_BYTES_MAX + 1)}\n`)).toEqual(past)
  // Without its end too: what never ends must not be collected.
  expect(receive(greeted(), frame(QMP_LINE_BYTES_MAX + 1))).toEqual(past)
})
