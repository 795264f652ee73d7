import { readFileSync } from 'node:fs'
import { CodedError } from '@mycelium/interface'
import { expect, it } from 'vitest'
import * as api from '../src/index.ts'

const cause = new Error('underneath')

const errors = [
  new api.FabricListenError(['/ip4/127.0.0.1/tcp/1'], { cause }),
  new api.FabricStoppedError({ cause }),
  new api.FabricFrameError('why', { cause }),
  new api.FabricCapabilitiesError('field', 'why', { cause }),
]

it('classes, exports and the table of the README agree', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const rows = [...readme.matchAll(/^\| `(ERR_FABRIC_\w+)` +\| `(\w+)` +\|/gm)].map(
    ([, code, name]) => ({ code, name }),
  )
  expect(rows).toEqual(errors.map(({ code, name }) => ({ code, name })))
  const classes = Object.keys(api).filter((name) => name.endsWith('Error'))
  expect(classes.toSorted()).toEqual(rows.map(({ name }) => name).toSorted())
})

it('each says what happened and keeps its cause', () => {
  for (const error of errors) {
    expect(error).toBeInstanceOf(CodedError)
    expect(error.constructor.name).toBe(error.name)
    expect(error.message.length).toBeGreaterThan(10)
    expect(error.cause).toBe(cause)
  }
  expect(errors[0]?.message).toContain('underneath')
})
