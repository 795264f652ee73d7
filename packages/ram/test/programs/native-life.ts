/**
 * usage: native-life.ts STAGE
 *
 * Ends the process at a stage of the addon's life, by process.exit() while native work is under
 * way. As a worker thread: does the whole of a replication, says `done`, and then works on until it
 * is terminated.
 */
import { isMainThread, parentPort } from 'node:worker_threads'
import { loadAddon } from '../../src/addon.ts'
import { createReplica, fill, OPTIONS, runEpoch, stageChunk } from '../native-replica.ts'

/** Enough that work is still under way when the process ends. */
const PAGES_MANY = 16 * 1024

async function runStage(stage: string): Promise<void> {
  if (stage === 'loaded') {
    loadAddon()
    return
  }
  const replica = await createReplica(PAGES_MANY)
  const { bytes, source, image } = replica
  if (stage === 'created') return
  bytes.fill(1)
  const seeded = source.seed()
  if (stage === 'seed') return
  await seeded
  bytes.fill(2)
  const captured = source.capture()
  if (stage === 'capture') return
  await captured
  const encoded = source.encode(OPTIONS)
  if (stage === 'encode') return
  const { chunks } = await encoded
  if (stage === 'chunks') return
  const shadow = source.encodeShadow(source.shadowPages(), { ...OPTIONS, lz4: true })
  if (stage === 'encodeShadow') return
  await shadow
  const staged = Promise.all(chunks.slice(0, 1).map((chunk) => stageChunk(replica, chunk)))
  if (stage === 'stage') return
  await staged
  const applied = image.apply()
  if (stage === 'apply') return
  await applied
  const { chunk } = await shadow
  const { bytes: complete, checksum } = chunk ?? { bytes: new Uint8Array(64), checksum: 0n }
  void image.fill([{ payload: complete.subarray(64), checksum }])
  if (stage === 'fill') return
  source.close()
  image.close()
  if (stage !== 'close') throw new RangeError(`stage ${stage}`)
}

async function runWorker(): Promise<never> {
  const replica = await createReplica()
  replica.bytes.fill(1)
  await fill(replica)
  replica.bytes.fill(2)
  await runEpoch(replica)
  if (Buffer.compare(replica.bytes, replica.imageBytes) !== 0) throw new Error('not the same')
  parentPort?.postMessage('done')
  for (let value = 3; ; value++) {
    replica.bytes.fill(value)
    await runEpoch(replica)
  }
}

if (isMainThread) {
  await runStage(process.argv[2] ?? '')
  process.exit(0)
} else {
  await runWorker()
}
