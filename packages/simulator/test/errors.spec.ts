import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import * as api from '../src/index.ts'

it('classes, exports and the table of the README agree', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const rows = [...readme.matchAll(/^\| `(ERR_\w+)` +\| `(\w+)` +\|/gm)].map(([, code, name]) => ({
    code,
    name,
  }))
  const errors = [
    new api.SimulationStuckError(5, 'why'),
    new api.SimulationFailedError('x', 1, 'line', { cause: 'no error object' }),
    new api.DiskFullError(4),
  ]
  expect(rows).toEqual(errors.map(({ code, name }) => ({ code, name })))
  const classes = Object.keys(api).filter((name) => name.endsWith('Error'))
  expect(classes.toSorted()).toEqual(rows.map(({ name }) => name).toSorted())
  expect(errors[0]?.message).toBe('stuck at 5 ms: why')
  expect(errors[1]?.message).toBe('x, seed 1: no error object\nreproduce: line')
})
