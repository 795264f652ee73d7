import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import * as api from '../src/index.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

it('the table of the API names what is exported', () => {
  const [, table = ''] = /## API\n([^]*?)\n## /.exec(readme) ?? []
  const cells = [...table.matchAll(/^\| (`[^|]*`) +\|/gm)].map(([, cell = '']) => cell)
  const names = cells.flatMap((cell) => [...cell.matchAll(/`(\w+)/g)].map(([, name = '']) => name))
  expect(names.length).toBeGreaterThanOrEqual(7)
  expect(Object.keys(api)).toEqual(expect.arrayContaining(names))
})

it('what it says of the virtual clock is there', () => {
  const [, list = ''] = /a `Clock` that moves when told: (.*?) *\|/.exec(readme) ?? []
  const names = [...list.matchAll(/`(\w+)`/g)].map(([, name = '']) => name)
  expect(names.length).toBe(4)
  const clock = api.createVirtualClock()
  for (const name of names) expect(clock).toHaveProperty(name, expect.any(Function))
})

it('a clock that is told nothing else stops at the bound that it names', () => {
  const [, callbacks = ''] =
    /([\d,]+) callbacks per call of the clock \(`STEPS_MAX`\)/.exec(readme) ?? []
  expect(Number(callbacks.replaceAll(',', ''))).toBe(api.STEPS_MAX)
  const clock = api.createVirtualClock()
  let count = 0
  const again = (): void => {
    if (++count <= api.STEPS_MAX) clock.schedule(clock.now(), again)
  }
  again()
  clock.advanceSync(1)
  expect(count).toBe(api.STEPS_MAX + 1)
  count = 0
  again()
  clock.schedule(clock.now(), () => {})
  expect(() => clock.advanceSync(1)).toThrow(`more than ${api.STEPS_MAX} callbacks ran`)
})
