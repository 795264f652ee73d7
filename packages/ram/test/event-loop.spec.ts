/**
 * Memory is looked through, copied, hashed, encoded and written on other threads than that of the
 * event loop.
 *
 * While all threads of the pool are held, each such call must stand still without having done
 * anything, and the event loop must go on. So the machine's speed and load do not matter.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createBackup, createBoottimeClock, createPrimary, createRegion } from '../src/index.ts'
import { removeFolder, temporaryFolder } from './channel-harness.ts'
import { bringInSync, channelPair, nextEvent, PAGE } from './kit/cluster.ts'
import { closeReplica, createReplica, OPTIONS } from './native-replica.ts'

const BYTES = 64 * PAGE
/** Threads of libuv's pool. */
const THREADS = Number(process.env['UV_THREADPOOL_SIZE'] ?? 4)
const TURNS = 100

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

let fifo: string
beforeEach(async () => {
  const folder = await temporaryFolder()
  cleanups.push(() => removeFolder(folder))
  fifo = join(folder, 'fifo')
  execFileSync('mkfifo', [fifo])
})

/** Occupies every thread of the pool: to open a pipe for reading waits for who writes. */
function holdPool(): () => Promise<void> {
  const held = Promise.all(Array.from({ length: THREADS }, () => open(fifo, 'r')))
  return async () => {
    const writer = openSync(fifo, 'r+')
    for (const handle of await held) await handle.close()
    closeSync(writer)
  }
}

/** `check` looks at what the call must not have done yet. */
async function expectBeside<T>(
  name: string,
  work: () => Promise<T>,
  check: () => void = () => {},
): Promise<T> {
  const release = holdPool()
  let isPending = true
  const settle = (): void => {
    isPending = false
  }
  const result = work()
  result.then(settle, settle)
  try {
    for (let turns = 0; turns < TURNS; turns++) await turn()
    expect(isPending, `${name} waits for a thread`).toBe(true)
    check()
  } finally {
    await release()
  }
  return await result
}

describe('the event loop goes on during', () => {
  it('every call on the addon that works on much memory', async () => {
    const replica = await createReplica()
    cleanups.push(() => {
      closeReplica(replica)
    })
    const { addon, memory, bytes, imageMemory, imageBytes, source, image, tracker } = replica
    const payloadOf = (chunk: { readonly bytes: Uint8Array } | undefined): Uint8Array =>
      chunk?.bytes.subarray(addon.chunkHeadBytes) ?? new Uint8Array()
    const holds = (value: number) => (): void => {
      expect(imageBytes.every((byte) => byte === value)).toBe(true)
    }
    bytes.fill(1)
    await expectBeside('openTracker', () => addon.openTracker(memory, { tier: 'shadow' }))
    await expectBeside('scan', () => tracker.scan())
    await expectBeside(
      'seed',
      () => source.seed(),
      () => {
        expect(source.root).toBe(0n)
      },
    )
    const pages = source.shadowPages()
    const { chunk } = await expectBeside('encodeShadow', () => source.encodeShadow(pages, OPTIONS))
    const fills = [{ payload: payloadOf(chunk), checksum: chunk?.checksum ?? 0n }]
    await expectBeside('fill', () => image.fill(fills), holds(0))
    bytes.fill(2)
    await expectBeside('capture', () => source.capture())
    const { root } = source
    const { chunks } = await expectBeside(
      'encode',
      () => source.encode(OPTIONS),
      () => {
        expect(source.root).toBe(root)
      },
    )
    const checksum = chunks[0]?.checksum ?? 0n
    await expectBeside('stage', () => image.stage(payloadOf(chunks[0]), checksum), holds(1))
    await expectBeside('apply', () => image.apply(source.root), holds(1))
    holds(2)()
    await expectBeside('hashPages', () => memory.hashPages())
    const another = addon.createImage(imageMemory)
    cleanups.push(() => {
      another.close()
    })
    await expectBeside(
      'open',
      () => another.open(),
      () => {
        expect(another.root).toBe(0n)
      },
    )
    expect(another.root).toBe(source.root)
  })

  it('every step of a primary and its backup', async () => {
    const [region, other] = [createRegion({ bytes: BYTES }), createRegion({ bytes: BYTES })]
    const primary = createPrimary({ region, clock: createBoottimeClock() })
    other.buffer.fill(3)
    const backup = createBackup({ region: other })
    cleanups.push(async () => {
      await primary.stop()
      await backup.stop()
      region.close()
      other.close()
    })
    const holds = (value: number) => (): void => {
      expect(other.buffer.every((byte) => byte === value)).toBe(true)
    }
    region.buffer.fill(1)
    await expectBeside('start', () => primary.start())
    const pair = channelPair('b')
    primary.attach(pair.opener)
    // What its region holds is not hashed before, when it was made.
    expect(() => backup.hashes()).toThrow(expect.objectContaining({ code: 'ERR_RAM_ORDER' }))
    const hashes = await other.hashPages()
    await expectBeside('attach', () => backup.attach(pair.acceptor), holds(3))
    expect(Buffer.compare(backup.hashes(), hashes)).toBe(0)
    await bringInSync({ primary })
    holds(1)()
    await expectBeside('region.hashPages', () => region.hashPages())
    region.buffer.fill(2)
    const epoch = await primary.beginEpoch()
    await expectBeside('capture', () => epoch.capture())
    await expectBeside('hash', () => epoch.hash())
    const applied = nextEvent(backup, 'applied')
    const { acknowledged } = await expectBeside('seal', () => epoch.seal(), holds(1))
    await applied
    expect((await acknowledged).by).toEqual(['b'])
    holds(2)()
  })
})

describe('a backup that is ended while it hashes its region', () => {
  it('does not take the channel', async () => {
    const endings = [
      { end: 'stop', outcome: { status: 'fulfilled' } },
      { end: 'promote', outcome: { reason: { code: 'ERR_RAM_NOT_PROMOTABLE' } } },
    ] as const
    for (const { end, outcome } of endings) {
      using region = createRegion({ bytes: BYTES })
      const backup = createBackup({ region })
      const release = holdPool()
      const attached = backup.attach(channelPair('b').acceptor)
      for (let turns = 0; turns < TURNS; turns++) await turn()
      const settled = Promise.allSettled([attached, backup[end]()])
      await release()
      const closed = { reason: { code: 'ERR_RAM_CLOSED' } }
      expect(await settled).toMatchObject([closed, outcome])
    }
  })
})
