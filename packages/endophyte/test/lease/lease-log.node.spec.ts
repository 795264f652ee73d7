import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NodeId } from '@mycelium/interface'
import { afterEach, beforeEach, describe, test } from 'vitest'
import { LEASE_RECORD_BYTES_MAX, LEASE_TOKEN_BYTES } from '../../src/core/lease-messages.ts'
import type { LeaseEntry } from '../../src/core/lease-table.ts'
import { LOG_BATCH_ENTRIES_MAX, LeaseLog } from '../../src/lease/lease-log.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mycelium-log-'))
  path = join(folder, 'leases.log')
})
afterEach(() => rmSync(folder, { recursive: true }))

function entry(name: string, epoch: bigint, recordBytes = 3): LeaseEntry {
  return {
    name,
    epoch,
    version: epoch,
    holder: 'a' as NodeId,
    ttlMs: 1000,
    record: new Uint8Array(recordBytes).fill(7),
    token: new Uint8Array(LEASE_TOKEN_BYTES).fill(1),
    sequence: 4,
  }
}

async function write(...batches: readonly (readonly LeaseEntry[])[]): Promise<void> {
  const { log } = await LeaseLog.open(folder)
  for (const batch of batches) await log.append(batch)
  await log.close()
}

async function recover(): Promise<{ entries: readonly LeaseEntry[]; tornBytes: number }> {
  const { log, recovery } = await LeaseLog.open(folder)
  const entries = [...log.entries.values()]
  await log.close()
  return { entries, ...recovery }
}

describe('recovery', () => {
  test('gives what was appended last of each name, every field', async () => {
    const prior = { epoch: 2n ** 63n, token: new Uint8Array(LEASE_TOKEN_BYTES).fill(2) }
    const { holder: _, ...free } = entry('z', 2n)
    const handed = { ...entry('y', 9n), token: new Uint8Array(0), prior }
    await write([entry('x', 1n), entry('z', 1n)], [entry('x', 2n), handed], [free])
    const { entries } = await recover()
    assert.deepEqual(
      new Map(entries.map((one) => [one.name, one])),
      new Map([entry('x', 2n), free, handed].map((one) => [one.name, one])),
    )
  })

  test('cuts a torn tail off at every length, and appending goes on from there', async () => {
    await write([entry('x', 1n)], [entry('x', 2n)])
    const whole = readFileSync(path)
    const { log } = await LeaseLog.open(folder)
    await log.append([entry('x', 3n)])
    await log.close()
    const longer = readFileSync(path)
    for (let length = whole.length; length < longer.length; length++) {
      writeFileSync(path, longer.subarray(0, length))
      const { entries, tornBytes } = await recover()
      assert.equal(entries[0]?.epoch, 2n)
      assert.equal(tornBytes, length - whole.length)
      await write([entry('x', 4n)])
      assert.equal((await recover()).entries[0]?.epoch, 4n)
    }
  })

  test('takes a tail of zeroes or noise for torn', async () => {
    await write([entry('x', 1n)])
    const whole = readFileSync(path)
    for (const tail of [Buffer.alloc(5000), Buffer.alloc(5000, 0x5a)]) {
      writeFileSync(path, Buffer.concat([whole, tail]))
      assert.deepEqual(await recover(), { entries: [entry('x', 1n)], tornBytes: 5000 })
    }
  })

  test('refuses any flipped bit in what a later record proves durable', async () => {
    await write([entry('x', 1n)], [entry('x', 2n)])
    const first = readFileSync(path).length
    await write([entry('x', 3n)])
    const bytes = readFileSync(path)
    for (let offset = 0; offset < first; offset++) {
      const damaged = Buffer.from(bytes)
      damaged[offset] = (damaged[offset] ?? 0) ^ 0x10
      writeFileSync(path, damaged)
      await assert.rejects(recover(), { code: 'ERR_LEASE_LOG_CORRUPT' }, `byte ${offset}`)
    }
  })

  test('refuses a missing record in the middle', async () => {
    const lengths: number[] = []
    for (const epoch of [1n, 2n, 3n]) {
      await write([entry('x', epoch)])
      lengths.push(readFileSync(path).length)
    }
    const bytes = readFileSync(path)
    const [first = 0, second = 0] = lengths
    writeFileSync(path, Buffer.concat([bytes.subarray(0, first), bytes.subarray(second)]))
    await assert.rejects(recover(), { code: 'ERR_LEASE_LOG_CORRUPT' })
  })

  test('is not led astray by a record that looks like one', async () => {
    await write([entry('x', 1n)])
    const inner = readFileSync(path).subarray(24)
    await write([{ ...entry('x', 2n), record: inner }])
    const bytes = readFileSync(path)
    writeFileSync(path, bytes.subarray(0, bytes.length - 1))
    assert.equal((await recover()).entries[0]?.epoch, 1n)
  })
})

describe('compaction', () => {
  test('keeps every entry, shrinks the file, and appending goes on', async () => {
    const { log } = await LeaseLog.open(folder)
    const names = Array.from({ length: LOG_BATCH_ENTRIES_MAX + 1 }, (_, index) => `name-${index}`)
    for (const name of names) await log.append([entry(name, 1n)])
    let epoch = 1n
    while (!log.isCompactionDue) {
      await log.append(names.slice(0, 50).map((name) => entry(name, epoch, LEASE_RECORD_BYTES_MAX)))
      epoch++
    }
    for (const name of names) await log.append([entry(name, epoch)])
    const before = readFileSync(path).length
    await log.compact()
    assert.ok(readFileSync(path).length < before / 4)
    assert.ok(!log.isCompactionDue)
    await log.append([entry('after', 1n)])
    await log.close()
    const { entries } = await recover()
    assert.equal(entries.length, names.length + 1)
    assert.ok(entries.every((one) => one.epoch === (one.name === 'after' ? 1n : epoch)))
    assert.deepEqual(readdirSync(folder), ['leases.log'])
  })

  test('is durable as a whole: damage in its last record is refused', async () => {
    const { log } = await LeaseLog.open(folder)
    await log.append([entry('x', 1n)])
    await log.compact()
    await log.close()
    const bytes = readFileSync(path)
    for (const damaged of [bytes.subarray(0, -1), bytes.subarray(0, 24), bytes.subarray(0, 23)]) {
      writeFileSync(path, damaged)
      await assert.rejects(recover(), { code: 'ERR_LEASE_LOG_CORRUPT' })
    }
  })

  test('that was interrupted leaves a file that is not looked at', async () => {
    await write([entry('x', 1n)])
    writeFileSync(join(folder, 'leases.log.new'), 'half')
    assert.equal((await recover()).entries[0]?.epoch, 1n)
    assert.deepEqual(readdirSync(folder), ['leases.log'])
  })
})
