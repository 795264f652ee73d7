/**
 * Global set-up of vitest: whoever started it has gone (npm was killed, the reader of its output
 * went away), so nobody waits for its result, and its workers hold guests.
 */

/** How often it looks. */
const POLL_MS = 500

export function setup(): void {
  const parent = process.ppid
  const end = (): void => {
    process.kill(process.pid, 'SIGTERM')
  }
  setInterval(() => {
    if (process.ppid !== parent) end()
  }, POLL_MS).unref()
  process.stdout.on('error', end)
}
