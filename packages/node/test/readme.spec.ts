import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { run } from '../src/cli.ts'
import { PARENT_POLL_MS } from '../src/constants.ts'
import { GUEST_OVERHEAD_MIB } from '../src/demo.ts'
import { STOP_MS_MAX } from '../src/demo/child.ts'
import { PATIENCE_MS } from '../src/demo/demo.ts'
import { WAITING_BYTES_MAX } from '../src/demo/event-log.ts'
import { SWEPT_MAX } from '../src/demo/folder.ts'
import * as errors from '../src/errors.ts'

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
    ['any one wait of the demo', `${PATIENCE_MS / 60_000} minutes`],
    [
      'events that wait for a slow `--log`',
      `${WAITING_BYTES_MAX / 2 ** 20} MiB; ` +
        'what comes on top is dropped and counted in its last line',
    ],
    ['folders of killed demos that one demo removes', `${SWEPT_MAX}`],
    ['time for a child process to end in order', `${STOP_MS_MAX / 1000} s, then it is killed`],
    ['how long an orphan may live', `${PARENT_POLL_MS} ms`],
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
