import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Bound on the end of everything, in milliseconds: an orphan looks for its parent every 250. */
const END_TIMEOUT_MS = 15_000

/** A process, told from a later one with the same number. */
interface Process {
  readonly pid: number
  readonly parent: number
  readonly startedAt: string
  readonly name: string
  readonly isZombie: boolean
}

function look(pid: number): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const [, name = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(stat) ?? []
    const fields = rest.split(' ')
    const [state, parent] = fields
    const startedAt = fields[19] ?? ''
    return { pid, name, parent: Number(parent), startedAt, isZombie: state === 'Z' }
  } catch {
    return undefined
  }
}

const isAlive = ({ pid, startedAt }: Process): boolean => {
  const now = look(pid)
  return now !== undefined && !now.isZombie && now.startedAt === startedAt
}

/** `pid` and all that descends from it. */
function familyOf(pid: number): Process[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => look(Number(name)) ?? [])
  const family = all.filter((process) => process.pid === pid)
  for (const member of family) family.push(...all.filter(({ parent }) => parent === member.pid))
  return family
}

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

interface Demo {
  readonly npm: ChildProcess
  readonly pid: number
  readonly family: readonly Process[]
  /** Where the demo makes its own temporary folder. */
  readonly folder: string
  readonly sharedMemory: readonly string[]
}

/** Starts `npm run demo` and waits until the guest runs and is replicated. */
async function startDemo(): Promise<Demo> {
  const folder = mkdtempSync(join(tmpdir(), 'demo-end-'))
  folders.push(folder)
  chmodSync(folder, 0o711) // started by root, QEMU runs as somebody else
  const sharedMemory = readdirSync('/dev/shm').sort()
  const npm = spawn('npm', ['run', '--silent', 'demo', '--', '--seconds', '600'], {
    cwd: root,
    detached: true, // a group of its own, as a terminal gives it one
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR: folder },
  })
  const { pid } = npm
  if (pid === undefined) throw new Error('npm did not start')
  const said: string[] = []
  npm.stderr.setEncoding('utf8').on('data', (text: string) => said.push(text))
  let isProtected = false
  for await (const line of createInterface({ input: npm.stdout })) {
    said.push(`${line}\n`)
    isProtected = line.startsWith('protected:')
    if (isProtected) break
  }
  expect(isProtected, said.join('')).toBe(true)
  npm.stdout.resume()
  return { npm, pid, family: familyOf(pid), folder, sharedMemory }
}

/** Waits until all of them are gone. Returns those that are not. */
async function survivors(family: readonly Process[]): Promise<string[]> {
  const deadline = performance.now() + END_TIMEOUT_MS
  while (family.some(isAlive) && performance.now() < deadline) await delay(50)
  return family.filter(isAlive).map(({ name, pid }) => `${name} (${pid})`)
}

const ways: Readonly<Record<string, (demo: Demo) => void>> = {
  'Ctrl-C': ({ pid }) => process.kill(-pid, 'SIGINT'),
  'Ctrl-C, impatiently': ({ pid }) => {
    process.kill(-pid, 'SIGINT')
    process.kill(-pid, 'SIGINT')
  },
  'SIGTERM to npm': ({ npm }) => npm.kill('SIGTERM'),
  'SIGKILL to npm': ({ npm }) => npm.kill('SIGKILL'),
  'a closed terminal': ({ pid }) => process.kill(-pid, 'SIGHUP'),
  'a closed pipe': ({ npm }) => npm.stdout?.destroy(),
}

describe('npm run demo leaves nothing behind after', () => {
  it.each(Object.keys(ways))('%s', async (way) => {
    const demo = await startDemo()
    const names = demo.family.map(({ name }) => name)
    expect(names.filter((name) => name.startsWith('qemu')).length).toBeGreaterThanOrEqual(2)
    const exited = once(demo.npm, 'exit')
    ways[way]?.(demo)
    await exited
    expect(await survivors(demo.family)).toEqual([])
    const left = readdirSync(demo.folder).filter((name) => name.startsWith('mycelium'))
    expect(left).toEqual([])
    expect(readdirSync('/dev/shm').sort()).toEqual(demo.sharedMemory)
  })
})
