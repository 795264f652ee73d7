/** Ends `npm test` in the middle of a test with a guest, in several ways: nothing is left; TAP. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { commandLineOf } from '../packages/node/test/process-family.ts'
import { endCommand, NOTHING_LEFT, type Seen, ways } from '../packages/node/test/ended-command.ts'

const GUESTS = 'packages/endophyte/test/qemu/qemu.node'

/** Not QEMU that is asked for its version only. */
const hasGuest = ({ family }: Seen): boolean =>
  family.some(
    (member) => member.name.startsWith('qemu') && commandLineOf(member).includes('-kernel'),
  )

describe('npm test leaves nothing behind after', () => {
  for (const [name, way] of Object.entries(ways)) {
    test(name, async () => {
      // Verbose: a line after each test, not after each file, is what shows that nobody reads.
      const args = ['test', '--silent', '--', '--reporter=verbose', GUESTS]
      const { processes, sharedMemory, namespaces } = await endCommand(way, args, hasGuest)
      // Tests make temporary folders under any name: what is there goes with the folder around.
      assert.deepEqual({ processes, sharedMemory, namespaces, files: [] }, NOTHING_LEFT)
    })
  }
})
