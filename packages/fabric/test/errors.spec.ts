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

it('an address in use is told in one line, without the stacks of libp2p', () => {
  const text = `Some configured addresses failed to be listened on:

  /ip4/127.0.0.1/tcp/7: Error: listen EADDRINUSE: address already in use 127.0.0.1:7
      at Server.setupListenHandle [as _listen2] (node:net:2328:16)

  /ip4/127.0.0.1/udp/0: UnsupportedListenAddressError: No transport was configured
      at file:///libp2p/transport-manager.js:166:51
`
  const error = new api.FabricListenError(['/a', '/b'], { cause: new Error(text) })
  expect(error.message).toBe(
    'cannot listen on /a, /b: listen EADDRINUSE: address already in use 127.0.0.1:7; ' +
      'No transport was configured',
  )
  expect(error.isInUse).toBe(true)
  expect(errors[0]).toMatchObject({ isInUse: false })
})
