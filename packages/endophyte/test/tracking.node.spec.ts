/** How the memory of a QEMU is tracked by a host that may do less and less. */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const program = fileURLToPath(new URL('./programs/tracked-guest.ts', import.meta.url))

interface Tracked {
  readonly tier: string
  readonly lines: readonly string[]
  readonly mayReadPageMap: boolean
}

/** @param capabilities - that the host does not have; root has a QEMU of another user then */
function track(...capabilities: readonly string[]): Tracked {
  const node = [process.execPath, '--conditions=@mycelium/source', program]
  const without = capabilities.map((name) => `-${name}`).join(',')
  const [command = '', ...args] =
    capabilities.length === 0
      ? node
      : ['setpriv', `--bounding-set=${without}`, `--inh-caps=${without}`, ...node]
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as Tracked
}

describe.skipIf(process.getuid?.() !== 0)(
  'a host that has its QEMU run as nobody [needs root]',
  () => {
    it('that may trace it finds pages by the best tier, and says nothing', ({ skip }) => {
      const { tier, lines } = track()
      skip(tier !== 'async', `this kernel has no tier async: ${lines.join()}`)
      expect(lines).toEqual([])
    })

    it('that may not trace it asks the preloaded shim, and says nothing', ({ skip }) => {
      skip(track().tier !== 'async', 'this kernel has no tier async')
      const { tier, lines, mayReadPageMap } = track('sys_ptrace')
      skip(!mayReadPageMap, 'this kernel shows page maps only with CAP_SYS_PTRACE')
      expect({ tier, lines }).toEqual({ tier: 'async', lines: [] })
    })

    it('that may not even read its page map falls back, and says so in one line', () => {
      const { tier, lines, mayReadPageMap } = track('sys_ptrace', 'perfmon', 'sys_admin')
      expect({ tier, mayReadPageMap }).toEqual({ tier: 'hash', mayReadPageMap: false })
      expect(lines).toEqual([
        expect.stringMatching(/^dirty pages are found by tier hash, not by async, sync: .*denied$/),
      ])
    })

    it('leaves no folder of the shim behind', () => {
      const folders = (): readonly string[] =>
        readdirSync(tmpdir()).filter((name) => name.startsWith('mycelium-preload'))
      const before = folders()
      track()
      expect(folders()).toEqual(before)
    })
  },
)
