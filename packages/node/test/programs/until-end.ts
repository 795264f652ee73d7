/** Waits for its end, takes a moment to stop, and writes to standard error what ended it. */
import { setTimeout as delay } from 'node:timers/promises'
import { EndedError } from '../../src/errors.ts'
import { untilEnd } from '../../src/lifetime.ts'

const signal = untilEnd()
process.stdout.write(`ready ${process.pid}\n`)
// Somebody who prints sees that nobody reads; and it keeps the process alive.
const printing = setInterval(() => process.stdout.write('tick\n'), 20)
if (!signal.aborted) {
  await new Promise((resolve) => {
    signal.addEventListener('abort', resolve)
  })
}
clearInterval(printing)
await delay(100) // a second signal comes meanwhile
const { reason } = signal as { reason: unknown }
process.stderr.write(`${reason instanceof EndedError ? reason.endedBy : String(reason)}\n`)
