import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { run } from '../src/cli.ts'
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
  ]
  expect(rows).toEqual(samples.map(({ code, name }) => ({ code, name })))
  const classes = Object.keys(errors).filter((name) => name.endsWith('Error'))
  expect(classes.toSorted()).toEqual(rows.map(({ name }) => name).toSorted())
})

it('every code that has an exit code is in the table of some package', () => {
  const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8')
  const codes = [...read('../src/exit-codes.ts').matchAll(/'(ERR_\w+)'/g)].map(([, code]) => code)
  const packages = ['node', 'endophyte', 'ram'].map((name) => read(`../../${name}/README.md`))
  expect(codes.length).toBeGreaterThan(5)
  for (const code of codes) {
    expect(
      packages.some((text) => text.includes(`\n| \`${code}\` |`)),
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
