import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Clock, Random } from '@mycelium/interface'
import { createSystemClock, createSystemRandom } from '../src/system.ts'

export const clock: Clock = createSystemClock()
export const random: Random = createSystemRandom()

export function makeFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'mycelium-identity-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

const pathOf = (program: string): string => new URL(`programs/${program}`, import.meta.url).pathname

export interface Run {
  /** Each line that it wrote. */
  readonly lines: readonly string[]
  /** What it wrote to standard error. */
  readonly complaint: string
}

/** Runs a program until it has written so many lines, and kills it in the middle of its work. */
export function runUntilKilled(
  program: string,
  args: readonly string[],
  linesMax: number,
): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      ['--conditions=@mycelium/source', pathOf(program), ...args],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    const lines: string[] = []
    let complaint = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint += text
    })
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line)
      if (lines.length === linesMax) child.kill('SIGKILL')
    })
    child.once('error', reject)
    child.once('close', () => resolve({ lines, complaint }))
  })
}

const mounting = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/mnt'])
/** Why {@link runOnSmallDisk} cannot be used here; empty: it can. */
export const noSmallDisk: string =
  mounting.status === 0 ? '' : ' (not tried: needs the right to mount)'

/** Runs a program whose first argument is a folder on a file system of its own of this size. */
export function runOnSmallDisk(
  program: string,
  { mountPoint, bytes }: { readonly mountPoint: string; readonly bytes: number },
): Run {
  const mount = `mount -t tmpfs -o mode=700,size=${bytes} none ${mountPoint} && exec "$@"`
  const node = [process.execPath, '--conditions=@mycelium/source', pathOf(program), mountPoint]
  const { stdout, stderr } = spawnSync('unshare', ['--mount', 'sh', '-c', mount, 'sh', ...node], {
    encoding: 'utf8',
  })
  return { lines: stdout.split('\n').filter((line) => line !== ''), complaint: stderr }
}
