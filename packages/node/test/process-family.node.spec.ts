import { spawn, spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { familyOf, foreignNamespaces, namespacesLeft, survivors, until } from './process-family.ts'

const UNSHARE = ['--user', '--net', '--map-root-user']
const isRefused = spawnSync('unshare', [...UNSHARE, 'true']).status !== 0
const reason = isRefused ? ': skipped, this machine refuses namespaces' : ''

it.skipIf(isRefused)(`finds namespaces as long as they are in use${reason}`, async () => {
  const child = spawn('unshare', [...UNSHARE, 'sleep', '600'], { stdio: 'ignore' })
  const own = familyOf(process.pid).filter(({ pid }) => pid === process.pid)
  expect([...foreignNamespaces(own)]).toEqual([])
  const family = await until(() => {
    const members = familyOf(child.pid ?? 0)
    return members.some(({ name }) => name === 'sleep') ? members : undefined
  })
  const namespaces = foreignNamespaces(family)
  const kinds = [...namespaces].map((name) => name.replace(/:.*/, ''))
  expect(kinds).toEqual(expect.arrayContaining(['net', 'user']))
  expect(namespacesLeft(namespaces)).toEqual([...namespaces])
  child.kill('SIGKILL')
  expect(await survivors(family)).toEqual([])
  expect(namespacesLeft(namespaces)).toEqual([])
})
