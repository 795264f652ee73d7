import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { run } from '../src/cli.ts'
import { BODY_BYTES_MAX } from '../src/admin/server.ts'
import { COMMANDS } from '../src/command.ts'
import { TTL_SECONDS_MAX } from '../src/commands/token.ts'
import { CONFIG_SCHEMA } from '../src/config.ts'
import { PARENT_POLL_MS } from '../src/constants.ts'
import { FAILURES_MAX, RETRY_MS_MAX } from '../src/core/bootstrap.ts'
import { PEERS_MAX } from '../src/core/peer-book.ts'
import { GUEST_OVERHEAD_MIB } from '../src/demo.ts'
import { STOP_MS_MAX } from '../src/demo/child.ts'
import { PATIENCE_MS } from '../src/demo/demo.ts'
import { WAITING_BYTES_MAX } from '../src/demo/event-log.ts'
import { SWEPT_MAX } from '../src/demo/folder.ts'
import * as errors from '../src/errors.ts'
import { WAITING_LOG_BYTES_MAX } from '../src/line-sink.ts'
import { LOG_LINES_KEPT } from '../src/logger.ts'
import { SOCKET_BYTES_MAX } from '../src/paths.ts'
import { AUDIT_ENTRIES_MAX } from '../src/support-bundle.ts'

const count = (number: number): string => number.toLocaleString('en-US')
const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

it('classes and the table of the README agree', () => {
  const rows = [...readme.matchAll(/^\| `(ERR_\w+)` +\| `(\w+)` +\|/gm)].map(([, code, name]) => ({
    code,
    name,
  }))
  const samples = [
    new errors.UsageError('what'),
    new errors.NotReadyError('why'),
    new errors.EndedError('SIGTERM'),
    new errors.AlreadyRunningError('/s'),
    new errors.NotRunningError('/s'),
    new errors.ExistsError('/s'),
  ]
  expect(rows).toEqual(samples.map(({ code, name }) => ({ code, name })))
  const classes = Object.keys(errors).filter((name) => name.endsWith('Error'))
  expect(classes.toSorted()).toEqual(rows.map(({ name }) => name).toSorted())
})

it('every code that has an exit code is in the table of some package', () => {
  const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8')
  const codes = [...read('../src/exit-codes.ts').matchAll(/'(ERR_\w+)'/g)].map(([, code]) => code)
  const packages = ['node', 'endophyte', 'ram', 'identity', 'fabric'].map((name) =>
    read(`../../${name}/README.md`),
  )
  expect(codes.length).toBeGreaterThan(5)
  for (const code of codes) {
    expect(
      packages.some((text) => new RegExp(`^\\| \`${code}\` +\\|`, 'm').test(text)),
      code,
    ).toBe(true)
  }
})

it('the README has the options of the demo, with their defaults', async () => {
  let help = ''
  const write = (text: string): void => void (help += text)
  await run(['demo', '--help'], { stdout: { write }, stderr: { write } })
  const [, list = ''] = help.split(/^(?:Global )?Options:$/m)
  const told = list
    .split(/^ {2}(?=-)/m)
    .slice(1)
    .filter((text) => !text.startsWith('-h'))
    .map((text) => ({
      option: /^(--\S+ <.*?>)/.exec(text)?.[1],
      byDefault: /default:\s+"?([^")]*)/.exec(text)?.[1]?.replaceAll(/\s+/g, ' ') ?? '',
    }))
  const rows = [...readme.matchAll(/^\| `(--\S+ <.*?>)` \|(.*?)\|/gm)].map(
    ([, option, text = '']) => ({ option, byDefault: text.replaceAll('`', '').trim() }),
  )
  expect(rows).toEqual(told)
})

it('the limits in the README are the constants', () => {
  const [, chapter = ''] = readme.split('\n## Limits\n')
  const [table = ''] = chapter.split('\n## ')
  const rows = [...table.matchAll(/^\| (.+) \| (.+) \|$/gm)].slice(2).map(([, ...row]) => row)
  expect(rows).toEqual([
    ['path of the admin socket', `${SOCKET_BYTES_MAX} bytes`],
    ['a request to it', `${BODY_BYTES_MAX / 2 ** 20} MiB`],
    ['how long a token may be used', `${TTL_SECONDS_MAX / 86_400} days`],
    ['other members whose addresses are kept', count(PEERS_MAX)],
    [
      'log lines of a daemon that wait for a slow reader',
      `${WAITING_LOG_BYTES_MAX / 2 ** 20} MiB; what comes on top is dropped and counted`,
    ],
    ['lines of its log that a daemon keeps for `support-bundle`', count(LOG_LINES_KEPT)],
    ['entries of the audit log in a support bundle', count(AUDIT_ENTRIES_MAX)],
    [
      'failures in a row until a node goes on alone',
      `${FAILURES_MAX}, with at most ${RETRY_MS_MAX / 1_000} s between two tries`,
    ],
    ['any one wait of the demo', `${PATIENCE_MS / 60_000} minutes`],
    [
      'events that wait for a slow `--log`',
      `${WAITING_BYTES_MAX / 2 ** 20} MiB; ` +
        'what comes on top is dropped and counted in its last line',
    ],
    ['folders of killed demos that one demo removes', `${SWEPT_MAX}`],
    ['time for a child process to end in order', `${STOP_MS_MAX / 1000} s, then it is killed`],
    ['how long an orphan may live, unless it is `up`', `${PARENT_POLL_MS} ms`],
  ])
})

it('the README says how much memory a guest needs', async () => {
  let help = ''
  const write = (text: string): void => void (help += text)
  await run(['demo', '--help'], { stdout: { write }, stderr: { write } })
  const least = /--memory <MiB> +the guest's memory, (\d+) or more/.exec(help)?.[1]
  expect(readme).toContain(
    `at least ${least} and ${GUEST_OVERHEAD_MIB} more than the working set |`,
  )
})

async function helpOf(...path: string[]): Promise<string> {
  let help = ''
  const write = (text: string): void => void (help += text)
  await run([...path, '--help'], { stdout: { write }, stderr: { write } })
  return help
}

const commandsIn = (help: string): string[] =>
  [...(help.split(/^Commands:$/m)[1] ?? '').matchAll(/^ {2}(\S+)/gm)]
    .map(([, name = '']) => name)
    .filter((name) => name !== 'help')

it('the README has every command, in the words of its help', async () => {
  const told: string[] = []
  for (const name of commandsIn(await helpOf())) {
    const parts = commandsIn(await helpOf(name))
    for (const path of parts.length > 0 ? parts.map((part) => [name, part]) : [[name]]) {
      const [usage = '', text = ''] = (await helpOf(...path)).split('\n\n')
      const operands = usage.match(/<\w+>/g) ?? []
      told.push(`| \`${[...path, ...operands].join(' ')}\` | ${text.replaceAll('\n', ' ')} |`)
    }
  }
  const [, rest = ''] = readme.split('\n| command | what it does |\n| --- | --- |\n')
  expect(rest.split('\n\n')[0]?.split('\n')).toEqual(told)
})

it('the README has every key of the configuration, with its default', () => {
  const [, rest = ''] = readme.split('\n| key | default | what it is |\n| --- | --- | --- |\n')
  const rows = [...(rest.split('\n\n')[0] ?? '').matchAll(/^\| `(\w+)` \| `(.*?)` \|/gm)]
  const defaults = Object.entries(CONFIG_SCHEMA.parse({}))
  expect(rows.map(([, key, value]) => [key, value])).toEqual(
    defaults.map(([key, value]) => [key, JSON.stringify(value)]),
  )
})

it('the README says which commands need a daemon, and which need that none runs', () => {
  const wanting = (where: 'daemon' | 'offline'): string[] => {
    const names = Object.entries(COMMANDS).filter(([, command]) => command.where === where)
    return [
      ...new Set(names.map(([name]) => name.replace(/^log\..*/, 'log').replace('.', ' '))),
    ].sort()
  }
  const [, daemon = '', offline = ''] =
    /through it if one runs\. (.*?) need one; (.*?) need that none runs\./.exec(readme) ?? []
  const named = (text: string): string[] =>
    [...text.matchAll(/`(.*?)`/g)].map(([, name = '']) => name)
  expect(named(daemon)).toEqual(wanting('daemon'))
  expect(named(offline).toSorted()).toEqual(wanting('offline'))
})
