import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import * as api from '../src/index.ts'
import type { NodeId } from '../src/index.ts'

const peer = 'peer' as NodeId
const cause = new Error('underneath')

const errors = [
  new api.BulkSessionLostError(peer, 'p', 'why', { cause }),
  new api.BulkClosedError('p', { cause }),
  new api.BulkConsumedError('p', { cause }),
  new api.BulkQueueFullError('p', 1_024, { cause }),
  new api.BulkAbortedError(peer, 'p', { cause }),
  new api.BulkUnreachableError(peer, 'why', { cause }),
  new api.BulkRefusedError(peer, 'p', 'why', { cause }),
  new api.TransportUnreachableError(peer, 'why', { cause }),
  new api.TransportLostError(peer, 'why', { cause }),
  new api.TransportRefusedError(peer, 'ERR_X', { cause }),
]

it('classes, exports and the table of the README agree', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const rows = [...readme.matchAll(/^\| `(ERR_\w+)` +\| `(\w+)` +\|/gm)].map(([, code, name]) => ({
    code,
    name,
  }))
  expect(rows).toEqual(errors.map(({ code, name }) => ({ code, name })))
  const classes = Object.keys(api).filter((name) => name.endsWith('Error'))
  expect(classes.toSorted()).toEqual([...rows.map(({ name }) => name), 'CodedError'].toSorted())
})

it('each says what happened and keeps its cause', () => {
  for (const error of errors) {
    expect(error).toBeInstanceOf(api.CodedError)
    expect(error.constructor.name).toBe(error.name)
    expect(error.message.length).toBeGreaterThan(10)
    expect(error.cause).toBe(cause)
  }
  expect(errors[3]).toMatchObject({ waitingMax: 1_024 })
  expect(errors[6]).toMatchObject({ remote: peer, purpose: 'p' })
  expect(errors[9]).toMatchObject({ remote: peer, remoteCode: 'ERR_X' })
})
