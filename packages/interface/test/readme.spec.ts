import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import * as testing from '../src/testing.ts'

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8')
const readme = read('../README.md')

it('the table names the contracts that there are', () => {
  const [, table = ''] = /^\| contract +\|([^]*?)\n\n/m.exec(readme) ?? []
  const rows = [...table.matchAll(/`(\w+)`/g)].map(([, name = '']) => name)
  expect(rows.length).toBeGreaterThanOrEqual(8)
  const index = read('../src/index.ts')
  for (const name of rows) expect(index).toMatch(new RegExp(`\\b${name}\\b`))
})

it('it names every export of ./testing', () => {
  const [, list = ''] = /^`@mycelium\/interface\/testing` exports (.*?)\./m.exec(readme) ?? []
  const names = [...list.matchAll(/`(\w+)`/g)].map(([, name = '']) => name)
  expect(names.toSorted()).toEqual(Object.keys(testing).toSorted())
})

it('it has no dependencies, as it says', () => {
  expect(readme).toMatch(/## Dependencies\n\nNone\.\n/)
  const manifest = JSON.parse(read('../package.json')) as Record<string, unknown>
  expect(Object.keys(manifest).filter((key) => /dependencies/i.test(key))).toEqual([])
})
