import { mkdir, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ExistsError, UsageError } from './errors.ts'

/**
 * Writes a file that must not take the place of another, 0600. Its folder is made if need be.
 *
 * @param make - called when the file can be written: to make its bytes may take long
 * @throws {ExistsError} nothing was changed
 * @throws {UsageError} it cannot be written there
 */
export async function writeNewFile(path: string, make: () => Promise<Uint8Array>): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true })
    await using file = await open(path, 'wx', 0o600)
    try {
      await file.writeFile(await make())
      await file.sync()
    } catch (error) {
      await unlink(path)
      throw error
    }
  } catch (cause) {
    const { code, syscall, message } = cause as NodeJS.ErrnoException
    if (syscall === undefined) throw cause
    if (code === 'EEXIST' && syscall === 'open') throw new ExistsError(path, { cause })
    throw new UsageError(message, { cause })
  }
}
