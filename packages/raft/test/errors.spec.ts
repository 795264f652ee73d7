import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import * as api from '../src/index.ts'

it('classes, exports and the table of the README agree', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const rows = [...readme.matchAll(/^\| `(ERR_\w+)` +\| `(\w+)` +\|/gm)].map(([, code, name]) => {
    return { code, name }
  })
  const errors = [
    new api.InvariantError('x'),
    new api.ProposalDroppedError('no-leader'),
    new api.MembershipChangeError('x'),
    new api.WireError('x'),
    new api.LogCorruptError(12),
  ]
  expect(rows).toEqual(errors.map(({ code, name }) => ({ code, name })))
  const classes = Object.keys(api).filter((name) => name.endsWith('Error'))
  expect(classes.toSorted()).toEqual(rows.map(({ name }) => name).toSorted())
  expect(errors[1]?.message).toBe('the proposal was dropped: no-leader')
  expect(errors[4]?.message).toBe('the log is damaged at byte 12')
})
