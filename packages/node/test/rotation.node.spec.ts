import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { executeOffline } from '../src/offline.ts'
import { type Paths, resolvePaths } from '../src/paths.ts'

let folder: string
let paths: Paths

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rotation-'))
  const dataDir = join(folder, 'data')
  paths = resolvePaths({ isRoot: false, environment: {}, dataDir, configDir: folder })
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

it('a node with a new key keeps its place, and its audit log is handed on', async () => {
  const { node } = await executeOffline('init', { name: 'garden' }, { paths })
  const ids = [node]
  for (let turn = 0; turn < 2; turn++) {
    const rotated = await executeOffline('identity.rotate', { what: 'node-key' }, { paths })
    expect(rotated.node).toBe(ids.at(-1))
    const now = await executeOffline('identity.show', {}, { paths })
    expect(now).toMatchObject({ node: rotated.nextNode, networkName: 'garden', isAuthority: true })
    ids.push(now.node)
    expect(await executeOffline('audit.verify', {}, { paths })).toMatchObject({ ok: true })
  }
  expect(new Set(ids).size).toBe(3)
  const { entries } = await executeOffline('audit.show', {}, { paths })
  expect(entries.filter(({ event }) => event === 'audit:key')).toHaveLength(2)
})
