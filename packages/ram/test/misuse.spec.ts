import type { BulkChannel, NodeId } from '@mycelium/interface'
import { createMemoryChannelPair } from '@mycelium/interface/testing'
import { afterEach, describe, expect, it } from 'vitest'
import {
  adoptRegion,
  BACKUPS_MAX,
  CHUNK_BYTES_MAX,
  createBackup,
  createBoottimeClock,
  createPrimary,
  createRegion,
  type RamPrimaryInit,
  type Region,
} from '../src/index.ts'
import { channelPair, makeBackup, PAGE, startPrimary } from './kit/cluster.ts'

const BYTES = 16 * PAGE
const open: AsyncDisposable[] = []
afterEach(async () => {
  for (const side of open.splice(0).reverse()) await side[Symbol.asyncDispose]()
})
const keep = <Side extends AsyncDisposable>(side: Side): Side => {
  open.push(side)
  return side
}

describe('a region', () => {
  it('has a size that is a positive multiple of the page size, with a bound', () => {
    for (const bytes of [0, -PAGE, 1, PAGE - 1, PAGE + 1, 1.5 * PAGE, NaN, Infinity, 2 ** 53]) {
      expect(() => createRegion({ bytes })).toThrow(RangeError)
      expect(() => createRegion({ bytes })).toThrow(
        new RegExp(`^bytes must be a positive multiple of \\d+, got ${bytes}$`),
      )
    }
    const tooLarge = 2 ** 41 + PAGE
    expect(() => createRegion({ bytes: tooLarge })).toThrow(
      new RangeError(`bytes must be at most ${2 ** 41}, got ${tooLarge}`),
    )
    expect(() => createRegion({ bytes: '4096' as unknown as number })).toThrow(RangeError)
  })

  it('can be adopted from a file that is long enough, and only then', () => {
    using region = createRegion({ bytes: BYTES })
    using same = adoptRegion({ fd: region.fd, bytes: BYTES })
    region.buffer[5] = 7
    expect(same.buffer[5]).toBe(7)
    expect(() => adoptRegion({ fd: region.fd, bytes: BYTES + PAGE })).toThrow()
    expect(() => adoptRegion({ fd: -1, bytes: BYTES })).toThrow()
    expect(() => adoptRegion({ fd: region.fd, bytes: 5 })).toThrow(/^bytes must be/)
  })

  it('is gone once closed', async () => {
    const region = createRegion({ bytes: BYTES })
    const { buffer } = region
    region.close()
    region.close()
    expect(buffer).toHaveLength(0)
    const closed = expect.objectContaining({ code: 'ERR_RAM_CLOSED' })
    expect(() => region.buffer).toThrow(closed)
    expect(() => region.fd).toThrow(closed)
    expect(() => region.hashPages()).toThrow(closed)
    expect(() => createBackup({ region })).toThrow(closed)
    expect(() => createPrimary({ region, clock: createBoottimeClock() })).toThrow(closed)
  })

  it('is one of ours', () => {
    const region = { bytes: BYTES, buffer: new Uint8Array(BYTES) } as unknown as Region
    const text = 'region must come from createRegion or adoptRegion'
    expect(() => createBackup({ region })).toThrow(new TypeError(text))
    expect(() => createPrimary({ region, clock: createBoottimeClock() })).toThrow(
      new TypeError(text),
    )
  })
})

describe('a primary', () => {
  it('names the argument that is wrong, and the value', () => {
    using region = createRegion({ bytes: BYTES })
    const clock = createBoottimeClock()
    const wrong: readonly (readonly [unknown, new (text: string) => Error, string])[] = [
      [{ fencing: 1 }, TypeError, 'fencing must be a bigint, got number'],
      [{ fencing: -1n }, RangeError, 'fencing must be 0..2^64-1, got -1'],
      [{ fencing: 2n ** 64n }, RangeError, `fencing must be 0..2^64-1, got ${2n ** 64n}`],
      [{ tier: 'fast' }, RangeError, 'tier must be one of async, sync, hash, shadow, got fast'],
      [{ compression: 'gzip' }, RangeError, 'compression must be one of none, lz4, zstd, got gzip'],
      [{ name: 5 }, TypeError, 'name must be a string, got number'],
      [{ writer: { pid: 0 } }, RangeError, 'writer.pid must be the number of a process, got 0'],
      [
        { writer: { pid: 1, method: 'magic' } },
        RangeError,
        'writer.method must be one of inject, shim, got magic',
      ],
    ]
    for (const [init, ErrorClass, text] of wrong) {
      const make = (): unknown => createPrimary({ region, clock }, init as RamPrimaryInit)
      expect(make).toThrow(new ErrorClass(text))
    }
    expect(() => createPrimary({ region, clock }, { fencing: 2n ** 64n - 1n })).not.toThrow()
    expect(() => createBackup({ region }, { name: 5 as unknown as string })).toThrow(
      new TypeError('name must be a string, got number'),
    )
  })

  it('says what of another process cannot be tracked', async () => {
    using region = createRegion({ bytes: BYTES })
    const deps = { region, clock: createBoottimeClock() }
    const primary = createPrimary(deps, { writer: { pid: 2 ** 22 }, tier: 'async' })
    await expect(primary.start()).rejects.toMatchObject({
      code: 'ERR_RAM_MEMORY',
      message: expect.stringMatching(/^the region cannot be tracked: .+/),
    })
    await primary.stop()
  })

  it('takes each backup once, and at most sixteen', async () => {
    const { primary } = keep(await startPrimary(BYTES))
    for (let index = 0; index < BACKUPS_MAX; index++)
      primary.attach(channelPair(`b${index}`).opener)
    expect(() => primary.attach(channelPair('one more').opener)).toThrow(
      new RangeError(`channel must be one of at most ${BACKUPS_MAX}`),
    )
    expect(() => primary.attach(channelPair('b3').opener)).toThrow(
      new RangeError('channel of b3 is attached already'),
    )
    await primary.detach('b3' as NodeId)
    primary.attach(channelPair('one more').opener)
    expect(primary.backups()).toHaveLength(BACKUPS_MAX)
    await primary.detach('nobody' as NodeId)
  })

  it('takes epochs one at a time, and each step of one once', async () => {
    const { primary } = keep(await startPrimary(BYTES))
    const epoch = await primary.beginEpoch()
    const order = { code: 'ERR_RAM_ORDER' }
    await expect(primary.beginEpoch()).rejects.toMatchObject(order)
    await expect(primary.checkpoint()).rejects.toMatchObject(order)
    expect(await primary.precopy()).toBe(0)
    await epoch.capture()
    await epoch.captureTail()
    const { name } = await epoch.seal()
    expect(name).toEqual({ fencing: 1n, counter: 1 })
    await expect(epoch.capture()).rejects.toMatchObject(order)
    await expect(epoch.hash()).rejects.toMatchObject(order)
    await expect(epoch.seal()).rejects.toMatchObject(order)
    const given = await primary.beginEpoch()
    epoch.abandon() // of no effect on the one after it
    await expect(primary.beginEpoch()).rejects.toMatchObject(order)
    given.abandon()
    await expect(given.seal()).rejects.toMatchObject(order)
    expect((await primary.checkpoint()).name.counter).toBe(2)
  })

  it('gives up when its start is aborted', async () => {
    using region = createRegion({ bytes: BYTES })
    const primary = createPrimary({ region, clock: createBoottimeClock() })
    const reason = new Error('not wanted any more')
    await expect(primary.start({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    await primary.stop()
  })

  it('starts once', async () => {
    const { primary } = keep(await startPrimary(BYTES))
    await Promise.all([primary.start(), primary.start()])
    expect(primary.tracker.tier).toBeTypeOf('string')
  })
})

describe('a channel', () => {
  it('must take messages as long as a chunk', async () => {
    const pairOf = (messageBytesMax: number): readonly [BulkChannel, BulkChannel] => {
      const pair = createMemoryChannelPair({ bufferBytesMax: 2 ** 24, messageBytesMax })
      return [pair.opener, pair.acceptor]
    }
    const { primary } = keep(await startPrimary(BYTES))
    const { backup } = keep(makeBackup('b', BYTES))
    const [opener, acceptor] = pairOf(CHUNK_BYTES_MAX - 1)
    const text = 'channel must take messages of 1048576 bytes, got 1048575'
    expect(() => primary.attach(opener)).toThrow(new RangeError(text))
    await expect(backup.attach(acceptor)).rejects.toThrow(new RangeError(text))
    const [enough, enoughToo] = pairOf(CHUNK_BYTES_MAX)
    primary.attach(enough)
    await backup.attach(enoughToo)
  })

  it('that another follows is closed, however quickly', async () => {
    const { backup } = keep(makeBackup('b', BYTES))
    const pairs = [1, 2, 3].map(() => channelPair('b'))
    await Promise.all(pairs.map((pair) => backup.attach(pair.acceptor)))
    expect(pairs.map((pair) => pair.acceptor.state)).toEqual(['closed', 'closed', 'open'])
  })
})

describe('regions that do not match', () => {
  it('are told apart by size and by name', async () => {
    const cases = [
      {
        bytes: BYTES + PAGE,
        name: 'region',
        message: `b holds a region of ${BYTES + PAGE} bytes, not ${BYTES}`,
      },
      { bytes: BYTES, name: 'other', message: 'b has another region' },
    ]
    for (const { bytes, name, message } of cases) {
      const { primary } = keep(await startPrimary(BYTES))
      const { backup } = keep(makeBackup('b', bytes, { name }))
      const lost = new Promise<Error>((resolve) => {
        primary.addEventListener('backup:lost', ({ detail }) => {
          resolve(detail.reason)
        })
      })
      const pair = channelPair('b')
      primary.attach(pair.opener)
      await backup.attach(pair.acceptor)
      expect(await lost).toMatchObject({ code: 'ERR_RAM_REGION', message })
      expect(backup.applied).toBeUndefined()
    }
  })
})
