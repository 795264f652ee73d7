/** The README's tables say what the code does. */
import { readFileSync } from 'node:fs'
import { CodedError } from '@mycelium/interface'
import { describe, expect, it } from 'vitest'
import * as constants from '../src/constants.ts'
import * as errors from '../src/errors.ts'
import * as ram from '../src/index.ts'

const read = (file: string): string => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')
const readme = read('README.md')

/** Cells of the tables of a chapter, without their heads. */
function tableOf(chapter: string): string[][] {
  const [, text = ''] = readme.split(`\n## ${chapter}\n`)
  const [body = ''] = text.split('\n## ')
  return body
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| -+/.test(line))
    .slice(1)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
}
const bare = (cell = ''): string => cell.replaceAll('`', '')

type ErrorClass = new (...args: readonly string[]) => CodedError

describe('the errors', () => {
  const classes = Object.entries(errors) as unknown as readonly (readonly [string, ErrorClass])[]

  it('are all exported, named as their classes, and in the table with their codes', () => {
    const codes = classes.map(([name, ErrorClass]) => {
      const error = new ErrorClass('one', 'two')
      expect(error).toBeInstanceOf(CodedError)
      expect(error.name).toBe(name)
      expect(Object.entries(ram), name).toContainEqual([name, ErrorClass])
      return `${error.code} ${name}`
    })
    const rows = tableOf('Errors').map(([code, name]) => `${bare(code)} ${bare(name)}`)
    expect(rows.sort()).toEqual(codes.sort())
    expect(new Set(rows).size).toBe(rows.length)
  })
})

describe('the events', () => {
  it('in the table are those of the types', () => {
    const source = read('src/index.ts')
    const eventsOf = (name: string): string[] => {
      const [, rest = ''] = source.split(`export interface ${name} {`)
      const [body = ''] = rest.split('\n}')
      return [...body.matchAll(/^ {2}(?:readonly )?'?([a-z:]+)'?: /gm)].map(
        ([, event = '']) => event,
      )
    }
    const table = (of: string): string[] =>
      tableOf('Events')
        .filter(([owner]) => owner === of)
        .map(([, event]) => bare(event))
    expect(table('primary')).toEqual(eventsOf('RamPrimaryEvents'))
    expect(table('backup')).toEqual(eventsOf('RamBackupEvents'))
    expect(table('primary').length + table('backup').length).toBe(6)
  })
})

describe('the exports', () => {
  it('that can be called are in the table', () => {
    const [, text = ''] = readme.split('\n## API\n')
    const [api = ''] = text.split('\n## ')
    const functions = Object.entries(ram)
      .filter(([, value]) => typeof value === 'function')
      .map(([name]) => name)
      .filter((name) => !name.endsWith('Error'))
    for (const name of functions) expect(api, name).toContain(`\`${name}(`)
  })
})

describe('the limits', () => {
  it('are the constants', () => {
    const limits = tableOf('Limits').map((cells) => cells.join(' '))
    const expected = [
      `${constants.REGION_BYTES_MAX / 2 ** 40} TiB`,
      `${constants.BACKUPS_MAX}, and ${constants.LOST_BACKUPS_MAX} more`,
      `attachment ${constants.MESSAGE_BYTES_MAX / 2 ** 20} MiB - 4 KiB`,
      `at most ${constants.CHUNK_BYTES_MAX / 2 ** 20} MiB`,
      `at most ${constants.JOIN_PAGES_MAX.toLocaleString('en')} pages`,
      `after ${constants.FILL_FACTOR_MAX} times`,
      `between ${constants.RESYNC_MAX}, then`,
      `flush ${constants.DETACH_MS_MAX / 1e3} s`,
    ]
    for (const text of expected) {
      expect(
        limits.some((limit) => limit.includes(text)),
        text,
      ).toBe(true)
    }
    expect(constants.ATTACHMENT_BYTES_MAX).toBe(constants.MESSAGE_BYTES_MAX - 4096)
  })

  it('of the wire format are the ones of its source', () => {
    const [, head = ''] = read('src/wire.ts').split('| offset | bytes | head |\n')
    const [table = ''] = head.split('\n */')
    const rows = [...table.matchAll(/\| (\d+) \| (\d+) \|/g)].map(([, at, size]) => `${at} ${size}`)
    const shown = [...readme.matchAll(/^\| (\d+) +\| (\d+) +\| /gm)].map(
      ([, at, size]) => `${at} ${size}`,
    )
    expect(shown).toEqual(rows)
    expect(rows).toHaveLength(12)
  })
})
