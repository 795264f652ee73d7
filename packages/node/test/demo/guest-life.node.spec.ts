import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { GuestLife } from '../../src/demo/guest-life.ts'

/** A program whose first thread never rests. */
async function busy(): Promise<ChildProcess & { readonly pid: number }> {
  const program = 'process.stdout.write("runs"); for (;;);'
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  const { pid } = child
  if (pid === undefined) throw new Error('node did not start')
  return Object.assign(child, { pid })
}

/** A thread that may run does within milliseconds. */
const PATIENCE_MS = 10_000

async function until(find: () => boolean): Promise<void> {
  const signal = AbortSignal.timeout(PATIENCE_MS)
  while (!find()) {
    signal.throwIfAborted()
    await setImmediate()
  }
}

it('sees a process that runs on', async () => {
  const { pid } = await busy()
  const life = new GuestLife(pid, [pid])
  await until(() => life.hasRun)
})

it('sees nothing of a process that was killed, whether it had run or not', async () => {
  const child = await busy()
  const { pid } = child
  const life = new GuestLife(pid, [pid])
  await until(() => life.hasRun)
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(life.hasRun).toBe(false)
  expect(new GuestLife(pid, [pid]).hasRun).toBe(false)
})

it('sees nothing of one that is killed and that nobody has waited for', async () => {
  // The shell becomes something that never waits for its child.
  const script = '"$0" -e "for (;;);" & echo $!; exec sleep 60'
  const parent = spawn('sh', ['-c', script, process.execPath], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void parent.kill('SIGKILL'))
  const [line] = (await once(parent.stdout, 'data')) as [Buffer]
  const pid = Number(String(line))
  onTestFinished(() => {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // As it should be.
    }
  })
  const life = new GuestLife(pid, [pid])
  await until(() => life.hasRun)
  process.kill(pid, 'SIGKILL')
  await until(() => !life.hasRun)
})
