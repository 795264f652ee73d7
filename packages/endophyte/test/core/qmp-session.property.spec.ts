import fc from 'fast-check'
import { expect, test } from 'vitest'
import { QmpSession, type QmpEffect } from '../../src/core/qmp-session.ts'

const GREETING = '{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}}}'
const COMMANDS = [{ execute: 'stop' }, { execute: 'cont' }, { execute: 'quit' }]

function session(): QmpSession {
  const made = new QmpSession()
  made.step({ type: 'commands', commands: COMMANDS })
  return made
}

const line = fc.oneof(
  fc.constantFrom('', GREETING, '{"return": 1, "id": 1}', '{"event": "STOP"}', '\0', 'é', '{'),
  fc
    .record({ return: fc.jsonValue(), id: fc.integer({ min: 0, max: 4 }) })
    .map((one) => JSON.stringify(one)),
  fc.record({ event: fc.string(), data: fc.jsonValue() }).map((one) => JSON.stringify(one)),
  fc.jsonValue().map((one) => JSON.stringify(one)),
)

test('where the bytes are cut does not matter', () => {
  const lines = fc.array(line, { maxLength: 10 }).map((all) => [GREETING, ...all].join('\r\n'))
  fc.assert(
    fc.property(lines, fc.array(fc.nat({ max: 400 }), { maxLength: 10 }), (text, cuts) => {
      const bytes = new TextEncoder().encode(text)
      const whole = session().step({ type: 'bytes', bytes })
      const cut = session()
      const pieces: QmpEffect[] = []
      let from = 0
      for (const to of [...cuts.sort((left, right) => left - right), bytes.length]) {
        const piece = bytes.slice(from, Math.max(from, to))
        pieces.push(...cut.step({ type: 'bytes', bytes: piece }))
        piece.fill(0) // the session keeps nothing of what it was given
        from = Math.max(from, to)
      }
      expect(pieces).toEqual(whole)
    }),
    { numRuns: 5_000 },
  )
})

test('any bytes: never throws, breaks once and last, answers each command once at most', () => {
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    line.map((text) => new TextEncoder().encode(`${text}\n`)),
  )
  fc.assert(
    fc.property(fc.array(noise, { maxLength: 12 }), fc.boolean(), (parts, isGreeted) => {
      const one = session()
      if (isGreeted) one.step({ type: 'bytes', bytes: new TextEncoder().encode(`${GREETING}\n`) })
      const effects = parts.flatMap((bytes) => one.step({ type: 'bytes', bytes }))
      const broken = effects.findIndex(({ type }) => type === 'broken')
      if (broken >= 0) expect(broken).toBe(effects.length - 1)
      const ids = effects.flatMap((effect) =>
        effect.type === 'returned' || effect.type === 'failed' ? [effect.id] : [],
      )
      expect(new Set(ids).size).toBe(ids.length)
      for (const id of ids) expect([1, 2, 3]).toContain(id)
    }),
    { numRuns: 20_000 },
  )
})
