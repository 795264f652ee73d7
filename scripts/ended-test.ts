/** Ends `npm test` in the middle of a test with a guest, in several ways: nothing is left; TAP. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { root } from './system.ts'

/** Bounds on waiting for a guest to be there, and for everything to be gone. */
const GUEST_TIMEOUT_MS = 120_000
const END_TIMEOUT_MS = 15_000

interface Process {
  readonly pid: number
  readonly name: string
  readonly isZombie: boolean
  readonly parent: number
  /** Tells it from a later process with the same number. */
  readonly startedAt: string
}

function look(pid: number): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [, name = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(stat) ?? []
    const fields = rest.split(' ')
    const startedAt = fields[19] ?? ''
    return { pid, name, isZombie: fields[0] === 'Z', parent: Number(fields[1]), startedAt }
  } catch {
    return undefined
  }
}

/** `pid` and all that descends from it. */
function familyOf(pid: number): readonly Process[] {
  const all = readdirSync('/proc').flatMap((name) =>
    /^\d+$/.test(name) ? (look(+name) ?? []) : [],
  )
  const family = all.filter((process) => process.pid === pid)
  for (const member of family) family.push(...all.filter(({ parent }) => parent === member.pid))
  return family
}

function isAlive({ pid, startedAt }: Process): boolean {
  const now = look(pid)
  return now !== undefined && !now.isZombie && now.startedAt === startedAt
}

async function familyWithGuest(pid: number): Promise<readonly Process[]> {
  const deadline = performance.now() + GUEST_TIMEOUT_MS
  while (performance.now() < deadline) {
    const family = familyOf(pid)
    if (family.some(({ name }) => name.startsWith('qemu'))) return family
    await delay(50)
  }
  return assert.fail('no guest was started')
}

describe('npm test leaves nothing behind after', () => {
  const ways: Readonly<Record<string, (npm: number) => void>> = {
    'Ctrl-C': (npm) => process.kill(-npm, 'SIGINT'),
    'SIGTERM to npm': (npm) => process.kill(npm, 'SIGTERM'),
    'SIGKILL to npm': (npm) => process.kill(npm, 'SIGKILL'),
    'a closed terminal': (npm) => process.kill(-npm, 'SIGHUP'),
  }
  for (const [name, end] of Object.entries(ways)) {
    test(name, async () => {
      const { pid = assert.fail('npm did not start') } = spawn(
        'npm',
        ['test', '--silent', '--', 'packages/endophyte/test/qemu'],
        { cwd: root, detached: true, stdio: 'ignore' },
      )
      const family = await familyWithGuest(pid)
      end(pid)
      const deadline = performance.now() + END_TIMEOUT_MS
      while (family.some(isAlive) && performance.now() < deadline) await delay(50)
      assert.deepEqual(family.filter(isAlive), [])
    })
  }
})
