import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'

/** Linux, include/uapi/asm-generic/fcntl.h: __O_TMPFILE | O_DIRECTORY. Node has no name for it; the
 * value of O_DIRECTORY differs between x86-64 and arm64. */
const O_TMPFILE = 0o20_000_000 | constants.O_DIRECTORY

/**
 * A file in memory without a name, so that nothing is left of it whatever happens. Whoever inherits
 * its descriptor may open it anew through /proc/self/fd, also as another user; nobody else can.
 *
 * @param bytes - its size; zeroes that take no memory until they are written
 */
export async function openNamelessFile(bytes = 0): Promise<FileHandle> {
  const file = await open('/dev/shm', constants.O_RDWR | O_TMPFILE, 0o600)
  try {
    await file.chmod(0o666)
    await file.truncate(bytes)
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}
