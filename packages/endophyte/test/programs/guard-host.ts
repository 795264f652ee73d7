/**
 * A host process for tests of the guard: starts a busy program under one, prints a line of JSON
 * with the pids and the deadline, then waits to be stopped or killed.
 *
 * usage: guard-host.ts TTL_MS [RELEASE_PATH]
 */
import { createRegion } from '@mycelium/ram'
import { spawnGuarded } from '../../src/guard.ts'
import { clock } from '../process-kit.ts'

const [ttlMs = '', releasePath] = process.argv.slice(2)
const region = createRegion({ bytes: 65_536, name: 'mycelium-deadline' })
const guarded = await spawnGuarded({
  command: 'sh',
  args: ['-c', 'while :; do :; done'],
  page: { fd: region.fd, buffer: region.buffer.buffer as ArrayBuffer },
  ...(releasePath === undefined ? {} : { releasePath }),
})
const deadline = clock.now() + Number(ttlMs)
guarded.setDeadline(deadline)
guarded.setReleaseMessage(Buffer.from('release'))
const { pid, guardPid } = guarded
while ((guarded.armedUntil ?? 0) < deadline - 1) {
  await new Promise((resolve) => setTimeout(resolve, 1))
}
process.stdout.write(`${JSON.stringify({ pid, guardPid, deadline })}\n`)
setInterval(() => undefined, 1000)
