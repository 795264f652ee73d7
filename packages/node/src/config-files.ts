import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'yaml'
import type { ConfigSource } from './config.ts'
import { UsageError } from './errors.ts'

/** Of one file: a configuration has some hundred bytes. */
const FILE_BYTES_MAX = 262_144
/** In `config.d`. */
const FILES_MAX = 64

/**
 * `config.yaml`, then `config.d/*.yaml` by name. Files that are not there are no mistake.
 *
 * Rejects `ERR_NODE_USAGE` with the path of what cannot be read or is no YAML.
 */
export async function readConfigFolder(folder: string): Promise<readonly ConfigSource[]> {
  const more = join(folder, 'config.d')
  const names = await unlessMissing(more, () => readdir(more))
  const files = (names ?? []).filter((name) => name.endsWith('.yaml')).sort()
  if (files.length > FILES_MAX) {
    throw new UsageError(`${more}: has ${files.length} files, at most ${FILES_MAX} are read`)
  }
  const paths = [join(folder, 'config.yaml'), ...files.map((name) => join(more, name))]
  const sources: ConfigSource[] = []
  for (const path of paths) {
    const text = await unlessMissing(path, () => readFile(path, 'utf8'))
    if (text !== undefined) sources.push({ name: path, values: parsed(path, text) })
  }
  return sources
}

async function unlessMissing<T>(path: string, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read()
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    throw new UsageError(`${path}: ${message}`, { cause })
  }
}

function parsed(path: string, text: string): unknown {
  if (Buffer.byteLength(text) > FILE_BYTES_MAX) {
    throw new UsageError(`${path}: is longer than ${FILE_BYTES_MAX} bytes`)
  }
  try {
    return parse(text, { maxAliasCount: 0 }) as unknown
  } catch (cause) {
    const [line = ''] = (cause instanceof Error ? cause.message : String(cause)).split('\n')
    throw new UsageError(`${path}: ${line.replace(/:$/, '')}`, { cause })
  }
}
