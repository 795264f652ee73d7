import { tmpdir } from 'node:os'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createSystemClock, measureCapabilities, parseCapabilities } from '../src/index.ts'

const record = {
  version: 1,
  measuredAtUnixMs: 1_700_000_000_000,
  architecture: 'arm64',
  kernel: '6.1.0',
  processor: { cores: 4, coresPerMille: 2_500, hashMibPerSecond: 300, hasKvm: false },
  memory: { totalBytes: 8 * 2 ** 30, availableBytes: 2 ** 30 },
  disk: { totalBytes: 2 ** 36, availableBytes: 0 },
}

describe('measured', () => {
  it('what this machine has, in a record that passes as JSON', async () => {
    const clock = createSystemClock()
    const measured = await measureCapabilities({ clock }, { folder: tmpdir(), processorMs: 5 })
    expect(parseCapabilities(JSON.parse(JSON.stringify(measured)))).toEqual(measured)
    expect(measured.processor.hashMibPerSecond).toBeGreaterThan(0)
    expect(measured.memory.totalBytes).toBeGreaterThan(2 ** 20)
  })

  it('a folder that is not there: the error of the file system', async () => {
    const clock = createSystemClock()
    const init = { folder: '/nonexistent/folder', processorMs: 1 }
    await expect(measureCapabilities({ clock }, init)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('aborted: the reason', async () => {
    const clock = createSystemClock()
    const reason = new Error('no')
    const init = { folder: tmpdir(), signal: AbortSignal.abort(reason) }
    await expect(measureCapabilities({ clock }, init)).rejects.toBe(reason)
  })
})

describe('from elsewhere', () => {
  it('a proper record', () => {
    expect(parseCapabilities(record)).toEqual(record)
  })

  const wrong: readonly (readonly [string, unknown])[] = [
    ['record', null],
    ['record', []],
    ['record', { ...record, name: 'x' }],
    ['version', { ...record, version: 2 }],
    ['measuredAtUnixMs', { ...record, measuredAtUnixMs: -1 }],
    ['architecture', { ...record, architecture: '' }],
    ['kernel', { ...record, kernel: 'x'.repeat(129) }],
    ['processor', { ...record, processor: 4 }],
    ['processor.cores', { ...record, processor: { ...record.processor, cores: 0 } }],
    ['processor.coresPerMille', { ...record, processor: { ...record.processor, cores: 2 } }],
    ['processor.hasKvm', { ...record, processor: { ...record.processor, hasKvm: 1 } }],
    ['memory.availableBytes', { ...record, memory: { totalBytes: 1, availableBytes: 2 } }],
    ['disk.totalBytes', { ...record, disk: { totalBytes: 1.5, availableBytes: 0 } }],
    ['disk', { ...record, disk: { ...record.disk, path: '/' } }],
  ]
  it.each(wrong)('wrong: %s', (field, value) => {
    const error = { code: 'ERR_FABRIC_CAPABILITIES', field }
    expect(() => parseCapabilities(value)).toThrow(expect.objectContaining(error))
  })

  it('any JSON: a proper record or its error', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...Object.keys(record)), (value, key) => {
        for (const candidate of [value, { ...record, [key]: value }]) {
          try {
            expect(parseCapabilities(candidate)).toEqual(candidate)
          } catch (error) {
            expect(error).toMatchObject({ code: 'ERR_FABRIC_CAPABILITIES' })
          }
        }
      }),
    )
  })
})
