import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { familyOf, type Process, survivors } from './process-family.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

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
