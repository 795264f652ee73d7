/** One process counts in replicated memory and is killed; the other has its memory. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NodeId } from '@mycelium/interface'
import {
  createBackup,
  createBoottimeClock,
  createPrimary,
  createRegion,
  createSystemRandom,
  createUnixChannels,
  formatName,
} from '@mycelium/ram'

const bytes = 2 ** 20
const deps = { clock: createBoottimeClock(), random: createSystemRandom() }

async function write(folder: string): Promise<void> {
  const region = createRegion({ bytes })
  const primary = createPrimary({ region, ...deps })
  await primary.start()
  const channels = createUnixChannels(deps, { local: 'writer' as NodeId, folder })
  primary.attach(await channels.open('keeper' as NodeId, 'ram/counter'))
  const memory = new DataView(region.buffer.buffer)
  for (let count = 1; ; count++) {
    memory.setUint32(0, count)
    const { acknowledged } = await primary.checkpoint() // nothing is written until it resolves
    const { by } = await acknowledged
    if (by.length > 0) process.send?.(count) // the other process holds it: it may be shown
  }
}

async function keep(folder: string): Promise<void> {
  const region = createRegion({ bytes })
  const backup = createBackup({ region })
  await using channels = createUnixChannels(deps, { local: 'keeper' as NodeId, folder })
  await channels.start()
  const writer = fork(import.meta.filename, [folder])
  for await (const channel of channels.accept('ram/')) {
    await backup.attach(channel)
    break
  }
  let shown = 0
  writer.on('message', (count: number) => {
    shown = count
    if (count >= 100) writer.kill('SIGKILL')
  })
  await once(writer, 'exit')
  const { name } = await backup.promote()
  const count = new DataView(region.buffer.buffer).getUint32(0)
  console.log(`the writer showed ${shown}; its memory says ${count}, in epoch ${formatName(name)}`)
  if (count < shown) process.exitCode = 1
}

const [folderOfParent] = process.argv.slice(2)
if (folderOfParent === undefined) {
  const folder = await mkdtemp(join(tmpdir(), 'counter-')) // mode 0700
  await keep(folder)
  await rm(folder, { recursive: true })
} else {
  await write(folderOfParent)
}
