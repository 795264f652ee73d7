/**
 * Files that are whole or not there, and private. Knows nothing of identities: whoever keeps
 * small secrets or logs in a folder of its own needs the same.
 */
import { constants } from 'node:fs'
import { lstat, mkdir, open, realpath, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { IdentityUnsafePathError } from '../disk-errors.ts'

/** A file with this suffix was never finished. */
export const TEMPORARY_SUFFIX = '.new'

const FILE_MODE = 0o600
const FOLDER_MODE = 0o700
const OTHERS = 0o077
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants

/** A folder could not be flushed: nobody knows which of two names a restart will find. */
export class FolderSyncError extends Error {}

/** Makes what was created, renamed or removed in a folder durable. @throws {FolderSyncError} */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  } catch (cause) {
    throw new FolderSyncError(`cannot flush ${folder}`, { cause })
  }
}

export async function writeAll(
  file: FileHandle,
  bytes: Uint8Array,
  position: number,
): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done)
    if (bytesWritten === 0) throw new Error('nothing was written')
    done += bytesWritten
  }
}

/**
 * Writes a file beside, flushes it and gives it its name: a crash leaves the old file or the new
 * one. One call at a time for each name.
 *
 * @returns the file, open for reading and writing; the caller closes it
 * @throws {FolderSyncError} old or new; any other error: the old one
 */
export async function createWholeFile(path: string, bytes: Uint8Array): Promise<FileHandle> {
  const temporary = path + TEMPORARY_SUFFIX
  // What lies there, a crash left or somebody put: never write through it.
  await rm(temporary, { force: true })
  const file = await open(temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, FILE_MODE)
  try {
    await writeAll(file, bytes, 0)
    await file.sync()
    await rename(temporary, path)
    await syncFolder(dirname(path))
  } catch (error) {
    await file.close()
    await rm(temporary, { force: true })
    throw error
  }
  return file
}

/** {@link createWholeFile} for a file that is not written to again. */
export async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  const file = await createWholeFile(path, bytes)
  await file.close()
}

/** @throws {FolderSyncError} there or not; any other error: still there */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true })
  await syncFolder(dirname(path))
}

/**
 * Opens a file that nobody else may read or write: no link, of this user, mode 0600 or less.
 *
 * @returns `undefined`: there is none
 * @throws {IdentityUnsafePathError}
 */
export async function openPrivateFile(
  path: string,
  { isWritten = false }: { readonly isWritten?: boolean } = {},
): Promise<FileHandle | undefined> {
  // Without O_NONBLOCK a named pipe would be waited for.
  const flags = (isWritten ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK
  let file: FileHandle
  try {
    file = await open(path, flags)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    if (code === 'ELOOP') {
      throw new IdentityUnsafePathError(path, 'it is a symbolic link', { cause })
    }
    if (code === 'ENXIO' || code === 'EISDIR') {
      throw new IdentityUnsafePathError(path, 'it is not a file', { cause })
    }
    throw cause
  }
  try {
    const found = await file.stat()
    if (!found.isFile()) throw new IdentityUnsafePathError(path, 'it is not a file')
    checkOwner(path, found)
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

/** @returns `undefined`: there is none @throws {IdentityUnsafePathError} also if it is longer */
export async function readPrivateFile(path: string, bytesMax: number): Promise<Buffer | undefined> {
  const file = await openPrivateFile(path)
  if (file === undefined) return undefined
  try {
    const { size } = await file.stat()
    if (size > bytesMax) {
      throw new IdentityUnsafePathError(path, `${size} bytes, more than ${bytesMax}`)
    }
    const bytes = Buffer.alloc(size)
    const { bytesRead } = await file.read(bytes, 0, size, 0)
    return bytes.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}

/**
 * Makes a folder that is this user's alone, durably, or checks the one that is there. It may be
 * reached through links; what counts is the folder itself.
 *
 * @returns its real path
 * @throws {IdentityUnsafePathError}
 */
export async function openPrivateFolder(path: string): Promise<string> {
  const making = mkdir(path, { recursive: true, mode: FOLDER_MODE })
  const first = await making.catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EEXIST' && cause.code !== 'ENOTDIR') throw cause
    throw new IdentityUnsafePathError(path, 'it is not a folder', { cause })
  })
  if (first !== undefined) {
    for (let folder = path; folder.length >= first.length; folder = dirname(folder)) {
      await syncFolder(dirname(folder))
    }
  }
  return await checkPrivateFolder(path)
}

/** As {@link openPrivateFolder}, for a folder that must be there. */
async function checkPrivateFolder(path: string): Promise<string> {
  const real = await realpath(path)
  const found = await lstat(real)
  if (!found.isDirectory()) throw new IdentityUnsafePathError(path, 'it is not a folder')
  checkOwner(path, found)
  return real
}

/** Removes what unfinished writes of these files left. The caller holds the folder's lock. */
export async function sweepTemporary(folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) await rm(join(folder, name + TEMPORARY_SUFFIX), { force: true })
}

function checkOwner(path: string, found: { readonly mode: number; readonly uid: number }): void {
  const mode = found.mode & 0o777
  if ((mode & OTHERS) !== 0) {
    const what = `mode ${mode.toString(8).padStart(4, '0')} lets others in (chmod go= ${path})`
    throw new IdentityUnsafePathError(path, what)
  }
  const own = process.geteuid?.()
  if (own !== undefined && found.uid !== own) {
    throw new IdentityUnsafePathError(path, `it belongs to user ${found.uid}, not to ${own}`)
  }
}
