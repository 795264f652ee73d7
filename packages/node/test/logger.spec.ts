import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { createLogger, Secret } from '../src/logger.ts'

function loggerOf(form: 'json' | 'text') {
  const lines: string[] = []
  const write = (line: string): void => {
    lines.push(line)
  }
  return { lines, logger: createLogger({ level: 'info', form, write, unixMs: () => 0 }) }
}

const time = '1970-01-01T00:00:00.000Z'

describe('logger', () => {
  it('writes objects for programs and lines for people', () => {
    const json = loggerOf('json')
    const fields = { peer: 'a', epoch: 7n, error: new Error('it broke'), list: [1, 2] }
    json.logger.log('info', 'peer up', fields)
    expect(json.lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      {
        time,
        level: 'info',
        event: 'peer up',
        peer: 'a',
        epoch: '7',
        error: 'it broke',
        list: '[1,2]',
      },
    ])
    const text = loggerOf('text')
    text.logger.log('warn', 'peer up', { peer: 'a', why: 'two words' })
    expect(text.lines).toEqual([`${time} warn  peer up peer=a why="two words"`])
  })

  it('keeps one event on one line, and cuts long text', () => {
    const { lines, logger } = loggerOf('text')
    logger.log('info', 'e', { text: `a\nb${'x'.repeat(5_000)}` })
    expect(lines[0]).not.toContain('\n')
    expect(lines[0]?.length).toBeLessThan(2_200)
  })

  it('changes its level while it runs', () => {
    const { lines, logger } = loggerOf('text')
    logger.log('debug', 'unseen')
    logger.level = 'debug'
    logger.log('debug', 'seen')
    logger.level = 'error'
    logger.log('warn', 'unseen')
    expect(lines).toEqual([`${time} debug seen`])
  })

  it('never shows a secret', () => {
    const { lines, logger } = loggerOf('json')
    const secret = new Secret('hunter2')
    logger.log('info', 'e', { secret, nested: { secret } })
    const shown = [...lines, String(secret), JSON.stringify({ secret }), inspect({ secret })]
    for (const text of shown) {
      expect(text).not.toContain('hunter2')
      expect(text).toContain('[secret]')
    }
    expect(secret.reveal()).toBe('hunter2')
  })
})
