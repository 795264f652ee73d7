/**
 * One process per folder. Node has no flock; two marks together do its work:
 * a listening socket in the abstract namespace, named after the folder's device and inode, which
 * the kernel gives to one process and frees when it dies (but only within one network namespace),
 * and a file that names the process (but only within one PID namespace).
 */
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { LeaseFolderLockedError } from '../errors.ts'

const FILE_NAME = 'lock'

/**
 * @returns its release; the death of the process releases as well
 * @throws {LeaseFolderLockedError}
 */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const { dev, ino } = await stat(folder, { bigint: true })
  const server = createServer((socket) => socket.destroy())
  try {
    await listen(server, `\0mycelium-lease/${dev}/${ino}`)
  } catch (cause) {
    throw new LeaseFolderLockedError(folder, { cause })
  }
  server.unref()
  const path = join(folder, FILE_NAME)
  const close = (): Promise<void> => new Promise((resolve) => server.close(() => resolve()))
  try {
    const own = await processMark('self')
    const other = await readFile(path, 'utf8').catch(() => '')
    const [pid = ''] = other.split(' ')
    // A process id alone is soon used again; together with its time of start it is not.
    if (/^\d+$/.test(pid) && other !== own && (await processMark(pid)) === other) {
      throw new LeaseFolderLockedError(folder)
    }
    await writeFile(`${path}.new`, own, { mode: 0o600 })
    await rename(`${path}.new`, path)
  } catch (error) {
    await close()
    throw error
  }
  return async () => {
    await rm(path, { force: true })
    await close()
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
}

/** "pid, time of start in clock ticks, boot": one process. Empty: there is none. */
async function processMark(pid: string): Promise<string> {
  const line = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  if (line === '') return ''
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'latin1')
  // The name, in brackets, may hold anything; the time of start is field 22.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  return `${line.slice(0, line.indexOf(' '))} ${fields[19] ?? ''} ${boot.trim()}`
}
