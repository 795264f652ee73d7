/**
 * A worker thread that makes trackers of every tier and scans with them, until it is terminated
 * in the middle of it. Says `ready` when the first one works.
 */
import { parentPort } from 'node:worker_threads'
import { loadAddon, type NativeTracker } from '../../src/addon.ts'

const addon = loadAddon()
const trackers: NativeTracker[] = []
for (;;) {
  const memory = addon.createMemory(64 * addon.hostPageBytes, 'tracking-worker')
  const bytes = new Uint8Array(memory.arrayBuffer())
  for (const tier of ['async', 'sync', 'hash', 'shadow'] as const) {
    const tracker = await addon.openTracker(memory, { tier }).catch(() => undefined)
    if (tracker === undefined) continue // not on this machine
    bytes.fill(trackers.length)
    void tracker.scan()
    trackers.push(tracker)
    if (trackers.length > 16) trackers.shift()?.close()
  }
  parentPort?.postMessage('ready')
}
