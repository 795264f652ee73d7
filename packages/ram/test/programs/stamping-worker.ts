/** Writes its count to both ends of each page, over and over; stands still when it is told to. */
import { workerData } from 'node:worker_threads'
import { adoptRegion, PAGE_BYTES } from '../../src/index.ts'

const PAUSE = 1
const PAUSED = 2
const END = 3

const { fd, bytes, shared } = workerData as {
  readonly fd: number
  readonly bytes: number
  readonly shared: SharedArrayBuffer
}
const state = new Int32Array(shared)
const region = adoptRegion({ fd, bytes })
const view = new DataView(region.buffer.buffer)

for (let count = 1; ; count++) {
  for (let page = 0; page < bytes; page += PAGE_BYTES) {
    view.setUint32(page, count)
    view.setUint32(page + PAGE_BYTES - 4, count)
  }
  if (Atomics.compareExchange(state, 0, PAUSE, PAUSED) !== PAUSE) continue
  Atomics.notify(state, 0)
  Atomics.wait(state, 0, PAUSED)
  if (Atomics.load(state, 0) === END) break
}
region.close()
