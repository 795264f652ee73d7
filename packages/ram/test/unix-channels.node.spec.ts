import { bulkChannelCases, type BulkChannelSetup } from '@mycelium/interface/testing'
import { join } from 'node:path'
import { describe, it } from 'vitest'
import { createSystemRandom } from '../src/system-random.ts'
import { createUnixChannels } from '../src/unix-channels.ts'
import {
  ACCEPTOR,
  Cable,
  JumpingClock,
  OPENER,
  removeFolder,
  setupOver,
  temporaryFolder,
  TEST_INIT,
} from './channel-harness.ts'

/** Two folders, so that a cable fits between the opener's and the acceptor's. */
async function setup(): Promise<BulkChannelSetup> {
  const folder = await temporaryFolder()
  const clock = new JumpingClock()
  const deps = { clock, random: createSystemRandom() }
  const folders = { opener: join(folder, 'o'), acceptor: join(folder, 'a') }
  const opener = createUnixChannels(deps, { ...TEST_INIT, local: OPENER, folder: folders.opener })
  const acceptor = createUnixChannels(deps, {
    ...TEST_INIT,
    local: ACCEPTOR,
    folder: folders.acceptor,
  })
  await Promise.all([opener.start(), acceptor.start()])
  const cable = new Cable({ path: acceptor.socketPath(ACCEPTOR) })
  await cable.listen({ path: opener.socketPath(ACCEPTOR) })
  const dispose = async (): Promise<void> => {
    await Promise.all([opener.stop(), acceptor.stop()])
    await removeFolder(folder)
  }
  return await setupOver({ opener, acceptor, cable, clock, dispose })
}

describe('a channel over unix sockets keeps the contract', () => {
  for (const { name, run } of bulkChannelCases) it(name, () => run(setup))
})
