import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import { loadAddon, type NativeMemory, type NativeTracker } from '../src/addon.ts'
import { pagesOf } from './kit/bits.ts'

const PAGES = 256
const TIERS = ['async', 'sync', 'hash', 'shadow'] as const

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

function createMemory(pages = PAGES): { memory: NativeMemory; bytes: Uint8Array } {
  const addon = loadAddon()
  const memory = addon.createMemory(pages * addon.hostPageBytes, 'tracker-spec')
  closers.push(() => {
    memory.close()
  })
  return { memory, bytes: new Uint8Array(memory.arrayBuffer()) }
}

async function openTracker(
  memory: NativeMemory,
  tier?: (typeof TIERS)[number],
): Promise<NativeTracker> {
  const tracker = await loadAddon().openTracker(memory, tier === undefined ? {} : { tier })
  closers.push(() => {
    tracker.close()
  })
  return tracker
}

/** Why a tier cannot serve on this machine, or nothing if it can. */
async function refusal(tier: (typeof TIERS)[number]): Promise<string | undefined> {
  try {
    const tracker = await openTracker(createMemory().memory, tier)
    tracker.close()
    return undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (['EPERM', 'ENOSYS', 'EINVAL'].includes(code ?? '')) return String(error)
    throw error
  }
}

describe('native memory', () => {
  it('is the same memory for all who map its file', () => {
    const { memory, bytes } = createMemory()
    const other = loadAddon().adoptMemory(memory.fd, memory.bytes, true)
    bytes[12345] = 99
    expect(new Uint8Array(other.arrayBuffer())[12345]).toBe(99)
    expect(other.fd).not.toBe(memory.fd)
    other.close()
    expect(bytes[12345]).toBe(99)
  })

  it('gives one array buffer over the mapping, and detaches it on close', () => {
    const { memory, bytes } = createMemory()
    const buffer = memory.arrayBuffer()
    expect(memory.arrayBuffer()).toBe(buffer)
    expect(bytes.buffer).toBe(buffer)
    memory.close()
    memory.close()
    expect(buffer.byteLength).toBe(0)
    expect(bytes.length).toBe(0)
    expect(() => memory.arrayBuffer()).toThrow(expect.objectContaining({ code: 'ERR_RAM_CLOSED' }))
    expect(() => memory.fd).toThrow(expect.objectContaining({ code: 'ERR_RAM_CLOSED' }))
  })

  it('lives on in an array buffer that was transferred away', () => {
    const { memory, bytes } = createMemory()
    bytes[7] = 7
    const transferred = new Uint8Array(memory.arrayBuffer().transfer())
    memory.close()
    expect(transferred[7]).toBe(7)
    transferred[8] = 8
  })

  it('does not let a script write to what was adopted read-only', () => {
    const { memory } = createMemory()
    const reader = loadAddon().adoptMemory(memory.fd, memory.bytes, false)
    expect(() => reader.arrayBuffer()).toThrow(
      expect.objectContaining({ code: 'ERR_RAM_READ_ONLY' }),
    )
    reader.close()
  })

  it('hashes its pages, 0 for zeroes, and one call at a time', async () => {
    const { memory, bytes } = createMemory()
    bytes[5 * 4096] = 1
    const first = memory.hashPages()
    await expect(memory.hashPages()).rejects.toMatchObject({ code: 'ERR_RAM_BUSY' })
    const hashes = new BigUint64Array((await first).buffer as ArrayBuffer)
    expect(hashes.length).toBe(memory.bytes / 4096)
    expect([...hashes].flatMap((hash, page) => (hash === 0n ? [] : [page]))).toEqual([5])
    memory.close()
    await expect(memory.hashPages()).rejects.toMatchObject({ code: 'ERR_RAM_CLOSED' })
  })

  it('refuses wrong arguments by name', () => {
    const addon = loadAddon()
    const { memory } = createMemory()
    expect(() => addon.createMemory(addon.hostPageBytes + 1, 'x')).toThrow(RangeError)
    expect(() => addon.createMemory(0, 'x')).toThrow(/^bytes/)
    expect(() => addon.createMemory(-4096, 'x')).toThrow(/^bytes/)
    expect(() => addon.createMemory(Number.NaN, 'x')).toThrow(/^bytes/)
    expect(() => addon.createMemory(Number.MAX_SAFE_INTEGER, 'x')).toThrow(/^bytes/)
    expect(() => addon.createMemory('1' as never, 'x')).toThrow(TypeError)
    expect(() => addon.createMemory(addon.hostPageBytes, 5 as never)).toThrow(/^name/)
    expect(() => addon.createMemory(addon.hostPageBytes, 'x'.repeat(65))).toThrow(/^name/)
    expect(() => addon.adoptMemory(-1, addon.hostPageBytes, true)).toThrow(/^fd/)
    expect(() => addon.adoptMemory(1 << 29, addon.hostPageBytes, true)).toThrow(
      expect.objectContaining({ code: 'EBADF', syscall: 'fcntl' }),
    )
    expect(() => addon.adoptMemory(memory.fd, memory.bytes + addon.hostPageBytes, true)).toThrow(
      /^bytes/,
    )
    expect(() => addon.adoptMemory(memory.fd, memory.bytes, 1 as never)).toThrow(/^writable/)
  })
})

describe('native tracker', () => {
  it.for(TIERS)('of tier %s finds the pages written', async (tier, { skip }) => {
    const reason = await refusal(tier)
    skip(reason !== undefined, `tier ${tier} cannot be had here: ${reason}`)
    const { memory, bytes } = createMemory()
    const tracker = await openTracker(memory, tier)
    expect(tracker.tier).toBe(tier)
    expect(tracker.rejected).toEqual([])
    bytes.fill(1)
    await tracker.scan()
    expect(pagesOf(await tracker.scan())).toEqual([])
    const step = loadAddon().hostPageBytes
    bytes[3 * step] = 2
    bytes[200 * step + step - 1] = 2
    const found = pagesOf(await tracker.scan()).map((page) => Math.floor((page * 4096) / step))
    expect([...new Set(found)]).toEqual([3, 200])
    expect(pagesOf(await tracker.scan())).toEqual([])
  })

  it('takes the best tier that serves, and says why better ones do not', async () => {
    const tracker = await openTracker(createMemory().memory)
    const better = TIERS.slice(0, TIERS.indexOf(tracker.tier))
    expect(tracker.rejected.map(({ tier }) => tier)).toEqual(better)
    for (const { reason } of tracker.rejected) expect(reason).not.toBe('')
  })

  it('scans one at a time, and not after close', async () => {
    const tracker = await openTracker(createMemory().memory, 'hash')
    const scan = tracker.scan()
    await expect(tracker.scan()).rejects.toMatchObject({ code: 'ERR_RAM_BUSY' })
    tracker.close()
    tracker.close()
    await scan // work at hand ends as if nothing had happened
    await expect(tracker.scan()).rejects.toMatchObject({ code: 'ERR_RAM_CLOSED' })
  })

  it('outlives its memory object', async () => {
    const { memory, bytes } = createMemory()
    const tracker = await openTracker(memory, 'shadow')
    bytes[0] = 1
    memory.close()
    expect(pagesOf(await tracker.scan())).toEqual([0])
  })

  it('refuses wrong arguments by name', async () => {
    const addon = loadAddon()
    const { memory } = createMemory()
    const tracker = await openTracker(memory, 'hash')
    expect(() => addon.openTracker({} as never, {})).toThrow(/^memory/)
    expect(() => addon.openTracker(tracker as never, {})).toThrow(/^memory/)
    expect(() => addon.openTracker(memory, undefined as never)).toThrow(/^options/)
    expect(() => addon.openTracker(memory, { tier: 'best' as never })).toThrow(/^options\.tier/)
    expect(() => addon.openTracker(memory, { pid: 0 })).toThrow(/^options\.pid/)
    expect(() => addon.openTracker(memory, { method: 'magic' as never })).toThrow(
      /^options\.method/,
    )
    expect(() => addon.openTracker(memory, { method: 'shim' })).toThrow(/^options/)
    // A process that cannot exist: numbers end at 2^22.
    await expect(addon.openTracker(memory, { pid: 2 ** 30 })).rejects.toMatchObject({
      code: 'ESRCH',
      syscall: 'pidfd_open',
    })
    const constructor = tracker.constructor as new () => unknown
    expect(() => new constructor()).toThrow(TypeError)
  })

  it('bears the end of a worker thread while a tracker is made and scans', async () => {
    const program = new URL('./programs/tracking-worker.ts', import.meta.url)
    for (let round = 0; round < 5; round++) {
      const worker = new Worker(program)
      await once(worker, 'message')
      await worker.terminate()
    }
  })
})
