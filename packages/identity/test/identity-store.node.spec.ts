import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'vitest'
import { createFileStore } from '../src/file-store.ts'
import { createMemoryDisk, identityStoreCases } from '../src/testing.ts'
import type { IdentityStoreSetup } from '../src/testing.ts'

function onDisk(): Promise<IdentityStoreSetup> {
  const parent = mkdtempSync(join(tmpdir(), 'mycelium-identity-'))
  const folder = join(parent, 'identity')
  let copies = 0
  return Promise.resolve({
    open: () => createFileStore({ folder }),
    // What lies there now, as the death of the process would leave it.
    crash: () => {
      const copy = join(parent, `copy-${++copies}`)
      cpSync(folder, copy, { recursive: true })
      chmodSync(copy, 0o700)
      return createFileStore({ folder: copy })
    },
    [Symbol.asyncDispose]: () => {
      rmSync(parent, { recursive: true })
      return Promise.resolve()
    },
  })
}

function inMemory(): Promise<IdentityStoreSetup> {
  const disk = createMemoryDisk()
  return Promise.resolve({
    open: () => Promise.resolve(disk.open()),
    crash: () => {
      disk.crash()
      return Promise.resolve(disk.open())
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  })
}

describe.each([
  ['a folder', onDisk],
  ['memory', inMemory],
])('the contract of a store, in %s', (_, setup) => {
  for (const { name, run } of identityStoreCases) test(name, () => run(setup))
})
