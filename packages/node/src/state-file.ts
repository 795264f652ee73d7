import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Replaces a small file at once and durably; 0600. Its folder is made, 0700, if need be. */
export async function writeStateFile(path: string, bytes: Uint8Array | string): Promise<void> {
  const folder = dirname(path)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await using file = await open(`${path}.new`, 'w', 0o600)
  await file.writeFile(bytes)
  await file.sync()
  await rename(`${path}.new`, path)
  await using entry = await open(folder, 'r')
  await entry.sync()
}

/** Undefined: there is none. */
export async function readStateFile(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
