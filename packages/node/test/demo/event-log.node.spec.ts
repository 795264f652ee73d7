import { execFileSync } from 'node:child_process'
import { createReadStream } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, it, onTestFinished } from 'vitest'
import { EventLog } from '../../src/demo/event-log.ts'
import type { HostEvent } from '../../src/internal/host-protocol.ts'

const status = (text: string): HostEvent => ({
  type: 'event',
  name: 'status',
  detail: { text },
  at: 1,
})

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'mycelium-log-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

it('has a line of JSON for each event, also with bigints', async () => {
  const path = join(await folder(), 'log')
  const log = new EventLog(path, () => expect.unreachable())
  log.write('node-1', status('hello'))
  log.write('node-2', { type: 'event', name: 'lease', detail: { epoch: 3n, at: 2 }, at: 2 })
  await log.close()
  const lines = (await readFile(path, 'utf8')).trim().split('\n')
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { host: 'node-1', type: 'event', name: 'status', detail: { text: 'hello' }, at: 1 },
    { host: 'node-2', type: 'event', name: 'lease', detail: { epoch: 3, at: 2 }, at: 2 },
  ])
})

it.each(['/dev/full', '/nowhere/log'])('on %s: one line, and it goes on', async (path) => {
  const complaints: string[] = []
  const complained = Promise.withResolvers<void>()
  const log = new EventLog(path, (line) => {
    complaints.push(line)
    complained.resolve()
  })
  for (let index = 0; index < 100; index++) log.write('node-1', status(`${index}`))
  await complained.promise
  log.write('node-1', status('more'))
  await log.close()
  expect(complaints).toEqual([
    expect.stringMatching(`^the log ${path} ends here, the demo goes on: (ENOSPC|ENOENT).*$`),
  ])
})

it('drops what a slow disk cannot take, and says how much', async () => {
  const path = join(await folder(), 'pipe')
  execFileSync('mkfifo', [path])
  // Nothing is written before somebody reads: everything waits.
  const log = new EventLog(path, (line) => expect.unreachable(line))
  const text = 'x'.repeat(1024 * 1024)
  for (let index = 0; index < 8; index++) log.write('node-1', status(text))
  const lines: { readonly dropped?: number }[] = []
  const reading = (async () => {
    for await (const line of createInterface({ input: createReadStream(path) })) {
      lines.push(JSON.parse(line) as { readonly dropped?: number })
    }
  })()
  await log.close()
  await reading
  // Four mebibytes, the line that goes over them, and the count.
  expect(lines).toHaveLength(5)
  expect(lines.at(-1)).toEqual({ dropped: 4 })
})
