/**
 * The addon for arm64, under user-mode emulation: the codec with NEON, and whatever trackers work
 * there. With node:test: vitest's workers do not run in the emulator.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { closeReplica, createGenerator, createReplica, fill, runEpoch } from './native-replica.ts'

test('replicates random writes epoch by epoch', async () => {
  const below = createGenerator(20240917)
  const replica = await createReplica()
  const { addon, bytes, imageBytes, source, image, tracker } = replica
  console.log(`# codec ${addon.codecIsa}, tracker ${tracker.tier}`)
  assert.equal(addon.codecIsa, process.arch === 'arm64' ? 'neon' : addon.codecIsa)
  for (let page = 0; page < bytes.length / 4096; page += 3) bytes.fill(page, page * 4096)
  await fill(replica)
  for (let epoch = 0; epoch < 10; epoch++) {
    for (let write = below(20); write > 0; write--) {
      const first = below(bytes.length)
      bytes.fill(below(4), first, first + below(3 * 4096))
    }
    const { root } = await runEpoch(replica, { lz4: below(2) === 1, chunkBytesMax: 8192 })
    assert.deepEqual([source.root, image.root], [root, root])
    assert.equal(Buffer.compare(bytes, imageBytes), 0)
  }
  closeReplica(replica)
})

test('gives the same hashes as other machines', async () => {
  const replica = await createReplica()
  const { addon, bytes, source } = replica
  for (let index = 0; index < 4096; index++) bytes[index] = index * 31 + (index >> 8)
  assert.equal(addon.hash64(bytes.subarray(0, 4095)), 0x3979e5849b774c20n)
  await source.seed()
  assert.equal(source.root, 0xd134d2323281563en)
  closeReplica(replica)
})
