import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { loadAddon } from '../src/addon.ts'
import { closeReplica, createReplica, fill, OPTIONS, runEpoch } from './native-replica.ts'

const program = new URL('./programs/native-life.ts', import.meta.url)
const run = promisify(execFile)

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Finalizers run in turns of the event loop after a collection. */
async function collectGarbage(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) {
    collect()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('the addon', () => {
  it('tells what it is', () => {
    const addon = loadAddon()
    expect(addon.pageBytes).toBe(4096)
    expect(addon.chunkHeadBytes).toBe(64)
    expect(addon.hostPageBytes % 4096).toBe(0)
    expect(['avx2', 'neon', 'portable']).toContain(addon.codecIsa)
  })

  it('reads a clock that does not go back', () => {
    const addon = loadAddon()
    const first = addon.boottimeMs()
    expect(first).toBeGreaterThan(0)
    expect(addon.boottimeMs()).toBeGreaterThanOrEqual(first)
  })

  it('hashes with XXH3-64', () => {
    const addon = loadAddon()
    // From the specification of xxHash: nothing, with seed 0.
    expect(addon.hash64(new Uint8Array())).toBe(0x2d06800538d394c2n)
    const bytes = Uint8Array.from({ length: 4095 }, (_, index) => index * 31 + (index >> 8))
    expect(addon.hash64(bytes)).toBe(0x3979e5849b774c20n) // by another build of xxHash
    expect(addon.hash64(Buffer.from(bytes))).toBe(0x3979e5849b774c20n)
    for (const value of [
      undefined,
      null,
      'x',
      1,
      [1],
      new ArrayBuffer(1),
      new DataView(bytes.buffer),
    ]) {
      expect(() => addon.hash64(value as never)).toThrow(TypeError)
    }
  })

  it('lets go of what is not used any more, and of nothing else', async () => {
    const replica = await createReplica()
    replica.bytes.fill(1)
    await fill(replica)
    const kept: Uint8Array[] = []
    const dropped: WeakRef<ArrayBufferLike>[] = []
    for (let epoch = 0; epoch < 20; epoch++) {
      replica.bytes.fill(epoch % 2 === 0 ? 77 : 78)
      const { chunks } = await runEpoch(replica)
      const bytes = chunks[0]?.bytes ?? new Uint8Array()
      if (epoch % 4 === 0) kept.push(bytes)
      else dropped.push(new WeakRef(bytes.buffer))
    }
    await collectGarbage()
    expect(dropped.filter((buffer) => buffer.deref() !== undefined).length).toBeLessThan(3)
    for (const bytes of kept)
      expect(Buffer.from(bytes).equals(Buffer.from(kept[0] ?? []))).toBe(true)
    closeReplica(replica)
  })

  it('keeps alive what an object was made from', async () => {
    const { source, bytes } = await createReplica() // the tracker and the memories are dropped
    await collectGarbage()
    bytes.fill(5)
    await source.seed()
    await collectGarbage()
    bytes.fill(6)
    expect(await source.capture()).toBeGreaterThan(0)
    await source.encode(OPTIONS)
  })

  it('ends work whose objects were dropped', async () => {
    const work: Promise<number>[] = []
    for (let round = 0; round < 10; round++) {
      const { source, bytes } = await createReplica()
      bytes.fill(round)
      work.push(source.seed())
    }
    await collectGarbage()
    expect((await Promise.all(work)).length).toBe(10)
  })

  it('works in several worker threads at once, and bears their end at any moment', async () => {
    const workers = [0, 1, 2].map(() => new Worker(program))
    const messages = await Promise.all(workers.map(async (worker) => await once(worker, 'message')))
    expect(messages).toEqual([['done'], ['done'], ['done']])
    await Promise.all(workers.map(async (worker) => await worker.terminate()))
    const replica = await createReplica() // the addon of this thread is none the worse
    await fill(replica)
    closeReplica(replica)
  })

  const stages = [
    'loaded',
    'created',
    'seed',
    'capture',
    'encode',
    'chunks',
    'encodeShadow',
    'stage',
    'apply',
    'fill',
    'close',
  ]
  it.each(stages)('lets the process exit at stage %s', async (stage) => {
    const { stderr } = await run(process.execPath, [
      '--conditions=@mycelium/source',
      fileURLToPath(program),
      stage,
    ])
    expect(stderr).toBe('')
  })
})
