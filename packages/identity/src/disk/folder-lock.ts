/**
 * One process per folder. Node has no flock; two marks together do its work: a listening socket in
 * the abstract namespace, named after the folder's device and inode, which the kernel gives to one
 * process and frees when it dies (but only within one network namespace), and a file that names
 * the process (but only within one PID namespace). Linux only. Knows nothing of identities.
 */
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { TEMPORARY_SUFFIX } from './atomic-file.ts'

const LOCK_FILE_NAME = 'lock'

/**
 * @param purpose - two locks of different purposes on one folder do not exclude each other's
 *   socket, only their file: use one purpose for one folder
 * @returns its idempotent release (the death of the process releases as well), or `undefined`:
 *   another holds it
 */
export async function lockFolder(
  folder: string,
  purpose: string,
): Promise<(() => Promise<void>) | undefined> {
  const { dev, ino } = await stat(folder, { bigint: true })
  const server = createServer((socket) => socket.destroy())
  if (!(await listen(server, `\0${purpose}/${dev}/${ino}`))) return undefined
  server.unref()
  const path = join(folder, LOCK_FILE_NAME)
  const close = (): Promise<void> => new Promise((resolve) => server.close(() => resolve()))
  try {
    const own = await processMark('self')
    const other = await readFile(path, 'utf8').catch(() => '')
    const [pid = ''] = other.split(' ')
    // A process id alone is soon used again; together with its time of start it is not.
    if (/^\d+$/.test(pid) && other !== own && (await processMark(pid)) === other) {
      await close()
      return undefined
    }
    await rm(path + TEMPORARY_SUFFIX, { force: true })
    await writeFile(path + TEMPORARY_SUFFIX, own, { mode: 0o600, flag: 'wx' })
    await rename(path + TEMPORARY_SUFFIX, path)
  } catch (error) {
    await close()
    throw error
  }
  let released: Promise<void> | undefined
  return () => (released ??= rm(path, { force: true }).finally(close))
}

function listen(server: Server, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false)
      else reject(error)
    })
    server.listen(path, () => resolve(true))
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
