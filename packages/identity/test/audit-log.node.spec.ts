import assert from 'node:assert/strict'
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '@mycelium/interface'
import { createVirtualClock } from '@mycelium/simulator'
import { afterEach, beforeEach, describe, test, vi } from 'vitest'
import { createAuditLog } from '../src/audit-log.ts'
import type { AuditLog, AuditLogDeps } from '../src/audit-log.ts'
import { createSigner } from '../src/crypto.ts'
import { formatAuditHead, parseAuditHead, readAudit, verifyAudit } from '../src/verify-audit.ts'
import type { AuditRecord } from '../src/core/audit-entry.ts'
import type { AuditVerdict } from '../src/verify-audit.ts'
import {
  clock,
  makeFolder,
  noSmallDisk,
  random,
  runOnSmallDisk,
  runUntilKilled,
} from './disk-kit.ts'

const signer = createSigner(new Uint8Array(32).fill(1))
const other = createSigner(new Uint8Array(32).fill(2))
const { publicKey } = signer
const deps: AuditLogDeps = { clock, random, signer }

let parent: ReturnType<typeof makeFolder>
let folder: string
beforeEach(() => {
  parent = makeFolder()
  folder = join(parent.path, 'audit')
})
afterEach(() => parent.remove())

const file = (name: string): string => join(folder, name)
const segments = (): readonly string[] =>
  readdirSync(folder).filter((name) => name.startsWith('audit-'))
const verify = (): Promise<AuditVerdict> => verifyAudit(folder, { publicKey })
const kindOf = (verdict: AuditVerdict): string => (verdict.ok ? 'ok' : verdict.kind)

async function write(entries: number, more: Partial<AuditLogDeps> = {}): Promise<void> {
  await using log = await createAuditLog({ ...deps, ...more }, { folder })
  for (let i = 0; i < entries; i++) log.append({ event: 'happened', detail: { i } })
}

async function eventsOf(): Promise<readonly string[]> {
  const events: string[] = []
  for await (const { event } of readAudit(folder)) events.push(event)
  return events
}

async function rejectsWith(code: string, body: () => Promise<unknown>): Promise<void> {
  await assert.rejects(body, (error: unknown) => {
    assert.equal((error as { code?: unknown }).code, code)
    return true
  })
}

describe('a log in a folder', () => {
  test('gives back what was appended, and passes', async () => {
    await write(3)
    assert.deepEqual(await eventsOf(), [
      'audit:begun',
      'happened',
      'happened',
      'happened',
      'audit:closed',
    ])
    const verdict = await verify()
    assert.ok(verdict.ok && verdict.isClosed)
    assert.deepEqual([verdict.first, verdict.last, verdict.unsigned], [1, 5, 0])
  })

  test('goes on after it was closed', async () => {
    await write(1)
    await write(1)
    const expected = ['audit:begun', 'happened', 'audit:closed', 'audit:opened', 'happened']
    assert.deepEqual(await eventsOf(), [...expected, 'audit:closed'])
    assert.equal(kindOf(await verify()), 'ok')
  })

  test('is private, and in use by one process', async () => {
    await using log = await createAuditLog(deps, { folder })
    assert.equal((statSync(folder).mode & 0o777).toString(8), '700')
    for (const name of readdirSync(folder)) {
      assert.equal((statSync(file(name)).mode & 0o777).toString(8), '600', name)
    }
    await rejectsWith('ERR_IDENTITY_LOCKED', () => createAuditLog(deps, { folder }))
    await log.stop()
    chmodSync(folder, 0o755)
    await rejectsWith('ERR_IDENTITY_UNSAFE_PATH', () => createAuditLog(deps, { folder }))
    chmodSync(folder, 0o700)
    const name = segments()[0] ?? ''
    cpSync(file(name), join(parent.path, 'elsewhere'))
    rmSync(file(name))
    symlinkSync(join(parent.path, 'elsewhere'), file(name))
    await rejectsWith('ERR_IDENTITY_UNSAFE_PATH', () => createAuditLog(deps, { folder }))
  })

  test('can be verified and read while it is written', async () => {
    await using log = await createAuditLog(deps, { folder })
    for (let i = 0; i < 40; i++) {
      log.append({ event: 'happened' })
      const [verdict] = await Promise.all([verify(), log.flush(), eventsOf()])
      assert.equal(kindOf(verdict), 'ok')
    }
  })

  test('keeps to its budget, over closings', async () => {
    const bytesMax = 3 * 2 ** 16
    for (let round = 0; round < 3; round++) {
      await using log = await createAuditLog(deps, { folder, bytesMax, segmentBytes: 2 ** 16 })
      for (let i = 0; i < 300; i++) {
        for (let j = 0; j < 5; j++) log.append({ event: 'happened', reason: 'x'.repeat(200) })
        if (i % 10 === 0) await log.flush()
        const sizes = readdirSync(folder).map((name) => {
          try {
            return statSync(file(name)).size
          } catch {
            return 0 // dropped meanwhile
          }
        })
        const bytes = sizes.reduce((sum, size) => sum + size, 0)
        assert.ok(bytes <= bytesMax, `${bytes} bytes`)
      }
    }
    const verdict = await verify()
    assert.ok(verdict.ok && verdict.first > 1, JSON.stringify(verdict))
    assert.ok(verdict.last > 3 * 300 * 5)
  })

  test('signs 10 s after an entry, and tells of strangers every 10 s', async () => {
    const virtual = createVirtualClock()
    await using log = await createAuditLog({ ...deps, clock: virtual }, { folder })
    const stranger = { event: 'member:refused', reason: 'busy', address: 'a', isStranger: true }
    for (let i = 0; i < 5; i++) log.append(stranger)
    await virtual.advance(10_000)
    await log.flush()
    const counts: (number | undefined)[] = []
    for await (const { event, count } of readAudit(folder)) {
      if (event === stranger.event) counts.push(count)
    }
    assert.deepEqual(counts, [undefined, 4])
    assert.ok((await eventsOf()).includes('audit:head'))
  })

  test('passes to another key, in use or after a restart', async () => {
    await using log = await createAuditLog(deps, { folder })
    log.append({ event: 'happened' })
    await log.rotateKey(other)
    await log.stop()
    assert.equal(kindOf(await verify()), 'foreign')
    assert.equal(kindOf(await verifyAudit(folder, { publicKey: other.publicKey })), 'ok')
    const open = (more: Partial<AuditLogDeps>): Promise<AuditLog> =>
      createAuditLog({ ...deps, ...more }, { folder })
    await rejectsWith('ERR_IDENTITY_AUDIT_DAMAGED', () => open({}))
    await (await open({ formerSigner: other })).stop()
    assert.equal(kindOf(await verify()), 'ok')
    await (await open({ formerSigner: other })).stop()
    assert.equal(kindOf(await verify()), 'ok')
  })

  test('stops once, and counts what comes later', async () => {
    const log = await createAuditLog(deps, { folder })
    await Promise.all([log.stop(), log.stop(), log[Symbol.asyncDispose]()])
    log.append({ event: 'late' })
    assert.equal(log.metrics.lost, 1)
    await log.flush()
    await rejectsWith('ERR_IDENTITY_CLOSED', () => log.rotateKey(other))
    assert.deepEqual(await eventsOf(), ['audit:begun', 'audit:closed'])
    assert.ok(!existsSync(file('lock')))
  })
})

describe('after kill -9', () => {
  test('all that was flushed is there, and the chain goes on and passes', async () => {
    for (let round = 0; round < 6; round++) {
      const run = await runUntilKilled('audit-writer.ts', [folder], 20 + 31 * round)
      assert.equal(run.complaint, '')
      const acknowledged = Number(run.lines.at(-1))
      assert.ok(['ok', 'torn', 'changed'].includes(kindOf(await verify())))
      const log = await createAuditLog(deps, {
        folder,
        bytesMax: 3 * 2 ** 16,
        segmentBytes: 2 ** 16,
      })
      assert.ok(log.metrics.entries > acknowledged, `${log.metrics.entries} of ${acknowledged}`)
      await log.stop()
      assert.equal(kindOf(await verify()), 'ok')
    }
  })

  test('a long tail of zeroes, as a file system may leave it, is cut off', async () => {
    await write(1)
    const name = segments()[0] ?? ''
    appendFileSync(file(name), new Uint8Array(5000))
    assert.notEqual(kindOf(await verify()), 'ok')
    await write(1)
    assert.equal(kindOf(await verify()), 'ok')
  })

  test('a torn entry is cut off at every length, and an entry says so', async () => {
    const log = await createAuditLog(deps, { folder })
    log.append({ event: 'first' })
    await log.flush()
    const name = segments()[0] ?? ''
    const { size } = statSync(file(name))
    log.append({ event: 'second' })
    await log.flush()
    const state = join(parent.path, 'state')
    cpSync(folder, state, { recursive: true })
    await log.stop()
    const whole = readFileSync(join(state, name))
    for (let length = size; length < whole.length; length += 3) {
      rmSync(folder, { recursive: true })
      cpSync(state, folder, { recursive: true })
      chmodSync(folder, 0o700)
      rmSync(file('lock'))
      truncateSync(file(name), length)
      assert.equal(kindOf(await verify()), length === size ? 'ok' : 'torn')
      await write(0)
      assert.equal(kindOf(await verify()), 'ok')
      const records: AuditRecord[] = []
      for await (const record of readAudit(folder)) records.push(record)
      const opened = records.find(({ event }) => event === 'audit:opened')
      assert.deepEqual(opened?.detail, { unsigned: 1, tornBytes: length - size })
    }
  })
})

describe('what was signed and is damaged', () => {
  test('is refused at the next opening, and left as it is', async () => {
    await write(5)
    const name = segments()[0] ?? ''
    const whole = readFileSync(file(name))
    const head = readFileSync(file('head'))
    const refused = async (): Promise<void> => {
      const before = existsSync(file(name)) ? readFileSync(file(name)) : undefined
      await rejectsWith('ERR_IDENTITY_AUDIT_DAMAGED', () => createAuditLog(deps, { folder }))
      const after = existsSync(file(name)) ? readFileSync(file(name)) : undefined
      assert.deepEqual(after, before)
      assert.notEqual(kindOf(await verify()), 'ok')
      writeFileSync(file(name), whole, { mode: 0o600 })
      writeFileSync(file('head'), head, { mode: 0o600 })
    }
    for (let offset = 0; offset < whole.length; offset += 7) {
      const changed = Buffer.from(whole)
      changed[offset] = (changed[offset] ?? 0) ^ 1
      writeFileSync(file(name), changed)
      await refused()
    }
    truncateSync(file(name), whole.length - 1)
    await refused()
    rmSync(file(name))
    await refused()
    rmSync(file('head'))
    await refused()
    writeFileSync(file('head'), 'nonsense')
    await refused()
    await write(0)
    assert.equal(kindOf(await verify()), 'ok')
  })

  test('is refused in entries without a signature too, if others follow', async () => {
    const log = await createAuditLog(deps, { folder })
    const name = segments()[0] ?? ''
    const { size } = statSync(file(name))
    for (let i = 0; i < 3; i++) {
      log.append({ event: 'happened' })
      await log.flush()
    }
    const state = join(parent.path, 'state')
    cpSync(folder, state, { recursive: true })
    await log.stop()
    rmSync(folder, { recursive: true })
    cpSync(state, folder, { recursive: true })
    chmodSync(folder, 0o700)
    rmSync(file('lock'))
    const whole = readFileSync(file(name))
    const third = size + (2 * (whole.length - size)) / 3
    for (let offset = size; offset < third; offset += 5) {
      const changed = Buffer.from(whole)
      changed[offset] = (changed[offset] ?? 0) ^ 1
      writeFileSync(file(name), changed)
      await rejectsWith('ERR_IDENTITY_AUDIT_DAMAGED', () => createAuditLog(deps, { folder }))
      assert.deepEqual(readFileSync(file(name)), changed)
    }
  })

  test('shows its file and byte', async () => {
    await write(5)
    const name = segments()[0] ?? ''
    const bytes = readFileSync(file(name))
    bytes[100] = (bytes[100] ?? 0) ^ 1
    writeFileSync(file(name), bytes)
    const verdict = await verify()
    assert.ok(!verdict.ok)
    assert.deepEqual([verdict.kind, verdict.file, verdict.offset], ['changed', name, 8])
    await rejectsWith('ERR_IDENTITY_AUDIT_DAMAGED', eventsOf)
  })

  test('an earlier state of the folder passes only if no later head is known', async () => {
    await write(1)
    const earlier = join(parent.path, 'earlier')
    cpSync(folder, earlier, { recursive: true })
    await write(1)
    const verdict = await verify()
    assert.ok(verdict.ok)
    const text = formatAuditHead(verdict.head)
    assert.match(text, /^6:[0-9a-f]{64}$/)
    const expected = parseAuditHead(text)
    assert.deepEqual(expected, verdict.head)
    assert.ok(expected !== undefined)
    assert.equal(kindOf(await verifyAudit(earlier, { publicKey })), 'ok')
    assert.equal(kindOf(await verifyAudit(earlier, { publicKey, expected })), 'truncated')
    assert.equal(kindOf(await verifyAudit(folder, { publicKey, expected })), 'ok')
  })

  test('heads are read only as they are written', () => {
    const hash = 'ab'.repeat(32)
    assert.ok(parseAuditHead(`1:${hash}`))
    const bad = ['', '1', `01:${hash}`, `1:${hash}0`, `1:${hash.toUpperCase()}`, `x:${hash}`]
    for (const text of [...bad, `1:${hash}:`, `1:${'0'.repeat(200)}`]) {
      assert.equal(parseAuditHead(text), undefined, text)
    }
  })
})

describe('a disk that takes nothing for a while', () => {
  test('is tried again after 10 s, and nothing is written twice', async () => {
    const virtual = createVirtualClock()
    const complaints: unknown[] = []
    const logger: Logger = { log: (level, event) => complaints.push([level, event]) }
    await using log = await createAuditLog({ ...deps, clock: virtual, logger }, { folder })
    // Entries go to the file, the head cannot get its name.
    rmSync(file('head'))
    mkdirSync(join(file('head'), 'in-the-way'), { recursive: true })
    log.append({ event: 'first' })
    await log.flush()
    await virtual.advance(10_000)
    await rejectsWith('ERR_IDENTITY_WRITE', () => log.flush())
    assert.ok(log.metrics.isFailing)
    assert.deepEqual(complaints[0], ['error', 'audit-write-failed'])
    log.append({ event: 'second' })
    assert.ok(log.metrics.waiting > 0)
    rmSync(file('head'), { recursive: true })
    await virtual.advance(10_000)
    await vi.waitUntil(() => log.metrics.waiting === 0)
    assert.ok(!log.metrics.isFailing)
    await log.stop()
    const events = await eventsOf()
    assert.equal(events.filter((event) => event === 'first').length, 1)
    assert.equal(events.filter((event) => event === 'second').length, 1)
    assert.equal(kindOf(await verify()), 'ok')
  })
})

describe('a full disk', () => {
  test.skipIf(noSmallDisk !== '')(
    `holds nobody up, and what is lost is counted${noSmallDisk}`,
    () => {
      const { lines, complaint } = runOnSmallDisk('full-disk-audit.ts', {
        mountPoint: parent.path,
        bytes: 2 ** 23,
      })
      assert.equal(complaint, '')
      assert.deepEqual(lines, [
        'done',
        'ERR_IDENTITY_WRITE doubt false',
        'failing true, lost true, bounded true',
        'verified meanwhile true',
        'done',
        'done',
        'all told true, lost told true',
        'verified true',
      ])
    },
  )
})
