import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Clock, Random } from '@mycelium/interface'

/** Timers of a test do not hold its process. */
export const clock: Clock = {
  now: () => performance.now(),
  unixMs: () => Date.now(),
  schedule: (at, callback) => {
    const timer = setTimeout(callback, Math.max(1, Math.ceil(at - performance.now()) + 1))
    timer.unref()
    return () => clearTimeout(timer)
  },
}

export const random: Random = {
  bytes: (length) => Uint8Array.from(randomBytes(length)),
  below: (bound) => randomBytes(4).readUInt32BE() % bound,
  fork: () => random,
}

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

/** Runs a program until it has written so many lines, and kills it then, at any point of its work. */
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
