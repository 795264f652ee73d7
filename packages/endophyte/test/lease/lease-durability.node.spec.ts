/** What kill -9 cannot show, because the kernel keeps its pages: who waits for the disk itself. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NodeId } from '@mycelium/interface'
import { afterEach, beforeEach, describe, test, vi } from 'vitest'
import { LEASE_TOKEN_BYTES } from '../../src/core/lease-messages.ts'
import type { LeaseEntry } from '../../src/core/lease-table.ts'
import { createLeaseClient } from '../../src/lease/lease-client.ts'
import { LeaseLog } from '../../src/lease/lease-log.ts'
import { createLeaseServer } from '../../src/lease/lease-server.ts'
import { clock } from '../process-kit.ts'

let folder: string
/** What was done to files, in order. */
let done: string[]
let diskAnswers: Promise<void>
let isDiskFull: boolean
const undo: (() => unknown)[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mycelium-durable-'))
  undo.push(() => rmSync(folder, { recursive: true }))
  await record()
  done = []
  diskAnswers = Promise.resolve()
  isDiskFull = false
})
afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each()
})

/** Has all file handles of this process, which work on, tell what they do. */
async function record(): Promise<void> {
  const any = await open(folder, 'r')
  const handles = Object.getPrototypeOf(any) as FileHandle
  await any.close()
  for (const name of ['write', 'truncate', 'datasync', 'sync'] as const) {
    const original = handles[name] as (...args: unknown[]) => Promise<unknown>
    const spy = vi.spyOn(handles, name as 'datasync')
    spy.mockImplementation(async function (this: FileHandle, ...args: unknown[]) {
      const isFolder = (await this.stat()).isDirectory()
      const files = isFolder ? ` of [${readdirSync(folder).join()}]` : ''
      done.push(`${name}${files}`)
      if (isDiskFull && name === 'write') throw new Error('no space')
      const result = await original.apply(this, args)
      if (name === 'datasync') {
        await diskAnswers
        done.push('datasync answered')
      }
      return result as undefined
    })
    undo.push(() => spy.mockRestore())
  }
}

function entry(name: string): LeaseEntry {
  return {
    name,
    epoch: 1n,
    version: 1n,
    holder: 'a' as NodeId,
    ttlMs: 1000,
    record: new Uint8Array(3),
    token: new Uint8Array(LEASE_TOKEN_BYTES).fill(1),
    sequence: 4,
  }
}

describe('the log', () => {
  test('has flushed a record before it says that it is durable', async () => {
    const { log } = await LeaseLog.open(folder)
    undo.push(() => log.close())
    for (const name of ['x', 'y']) {
      done = []
      await log.append([entry(name)])
      assert.deepEqual(done, ['write', 'datasync', 'datasync answered'])
    }
  })

  test('has flushed a new file before it has its name, and that before it is used', async () => {
    const whole = ['write', 'sync', 'sync of [leases.log]']
    const { log } = await LeaseLog.open(folder)
    undo.push(() => log.close())
    assert.deepEqual(done, whole)
    await log.append([entry('x')])
    done = []
    await log.compact()
    assert.deepEqual(done, whole)
  })

  test('has flushed the cut before it says that a write failed', async () => {
    const { log } = await LeaseLog.open(folder)
    undo.push(() => log.close())
    done = []
    isDiskFull = true
    await assert.rejects(log.append([entry('x')]), { code: 'ERR_LEASE_LOG_WRITE', doubt: false })
    assert.deepEqual(done, ['write', 'truncate', 'datasync', 'datasync answered'])
  })

  test('has flushed the cut before it goes on after a torn tail', async () => {
    const { log } = await LeaseLog.open(folder)
    const file = await open(log.path, 'a')
    await file.write('torn')
    await file.close()
    await log.close()
    done = []
    const again = await LeaseLog.open(folder)
    undo.push(() => again.log.close())
    assert.equal(again.recovery.tornBytes, 4)
    assert.deepEqual(done, ['truncate', 'datasync', 'datasync answered'])
  })
})

describe('the server', () => {
  test('grants when the disk has answered, and answers about others meanwhile', async () => {
    const server = createLeaseServer({ clock }, { folder })
    await server.start()
    undo.push(() => server.stop())
    const { socketPath } = server
    const client = createLeaseClient({ clock }, { self: 'a' as NodeId, socketPath })
    undo.push(() => client.stop())
    await client.read('other') // connected
    const disk = Promise.withResolvers<void>()
    undo.push(() => disk.resolve())
    diskAnswers = disk.promise
    done = []
    const granted = client.acquire('vm', { ttlMs: 60_000, record: new Uint8Array() }).then(() => {
      done.push('granted')
    })
    // The request is before these on the same connection.
    for (let turn = 0; turn < 3; turn++) await client.read('other')
    await vi.waitUntil(() => done.includes('datasync') || done.includes('granted'))
    await client.read('other')
    done.push('other answered')
    disk.resolve()
    await granted
    const expected = ['write', 'datasync', 'other answered', 'datasync answered', 'granted']
    assert.deepEqual(done, expected)
  })
})
