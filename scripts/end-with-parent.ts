/**
 * Global set-up of vitest: whoever started it has gone (npm was killed, the reader of its output
 * went away), so nobody waits for its result. And whatever ends it, nothing that its tests started
 * outlives it: a worker that is killed leaves its guests running, as orphans that nobody knows.
 */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'

/** How often it looks. */
const POLL_MS = 500

/** Every process of this run of the tests has it in its environment. */
const MARK = 'MYCELIUM_TEST_RUN'

/**
 * Waits for the end of its standard input, which is the end of vitest, and kills what has the mark
 * `$1`: again and again, since what is killed may just have started something. Bounded: what does
 * not go belongs to somebody else or waits for a disk.
 */
const SWEEP = `
cat >/dev/null
for round in 1 2 3 4 5 6 7 8 9 10; do
  found=$(grep -lszxF "$1" /proc/[0-9]*/environ)
  [ -n "$found" ] || exit 0
  for file in $found; do
    pid=\${file#/proc/}
    kill -KILL "\${pid%/environ}"
  done
  sleep 0.1
done
`

export function setup(): void {
  const parent = process.ppid
  const end = (): void => {
    process.kill(process.pid, 'SIGTERM')
  }
  setInterval(() => {
    if (process.ppid !== parent) end()
  }, POLL_MS).unref()
  process.stdout.on('error', end)
  sweepAfterwards()
}

function sweepAfterwards(): void {
  const { [MARK]: _, ...env } = process.env
  const run = randomUUID()
  // In a session of its own: Ctrl-C must not end it before it has done its work.
  const sweeper = spawn('sh', ['-c', SWEEP, 'sweeper', `${MARK}=${run}`], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env,
  })
  sweeper.unref()
  const input = sweeper.stdin as Socket
  input.unref()
  process.env[MARK] = run
}
