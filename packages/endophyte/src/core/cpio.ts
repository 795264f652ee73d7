/** What goes into an archive. `mode` holds the permission bits only. */
export type CpioEntry =
  | { readonly type: 'directory'; readonly path: string; readonly mode: number }
  | {
      readonly type: 'file'
      readonly path: string
      readonly mode: number
      readonly content: Uint8Array
    }
  | { readonly type: 'symlink'; readonly path: string; readonly target: string }
  | {
      readonly type: 'character-device'
      readonly path: string
      readonly mode: number
      readonly major: number
      readonly minor: number
    }

/** The archive's "newc" format states sizes in 8 hexadecimal digits. */
const CPIO_FILE_BYTES_MAX = 0xffff_ffff
/** PATH_MAX of Linux without its final zero. */
export const CPIO_PATH_BYTES_MAX = 4_095

const TYPE_BITS = {
  directory: 0o040_000,
  file: 0o100_000,
  symlink: 0o120_000,
  'character-device': 0o020_000,
} as const

/**
 * A cpio archive in the "newc" format, as the kernel reads it for an initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). All owners are root, all times 0,
 * so that equal entries give equal bytes. Parents must stand before their children.
 *
 * @throws {RangeError} a path is empty, absolute, longer than {@link CPIO_PATH_BYTES_MAX}, or
 *   there twice
 */
export function writeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const seen = new Set<string>()
  const parts: Uint8Array[] = []
  for (const [index, entry] of entries.entries()) {
    if (seen.has(entry.path)) throw new RangeError(`entries name ${entry.path} twice`)
    seen.add(entry.path)
    parts.push(...writeEntry(entry, index + 1))
  }
  parts.push(...record('TRAILER!!!', { inode: 0, mode: 0, links: 1, major: 0, minor: 0 }, EMPTY))
  return concat(parts)
}

interface Fields {
  readonly inode: number
  readonly mode: number
  readonly links: number
  readonly major: number
  readonly minor: number
}

const EMPTY: Uint8Array = new Uint8Array()

function writeEntry(entry: CpioEntry, inode: number): Uint8Array[] {
  if (entry.path === '' || entry.path.startsWith('/')) {
    throw new RangeError(`path must be relative and not empty, got ${JSON.stringify(entry.path)}`)
  }
  const type = TYPE_BITS[entry.type]
  const plain = { inode, links: entry.type === 'directory' ? 2 : 1, major: 0, minor: 0 }
  switch (entry.type) {
    case 'directory':
      return record(entry.path, { ...plain, mode: type | entry.mode }, EMPTY)
    case 'file':
      return record(entry.path, { ...plain, mode: type | entry.mode }, entry.content)
    case 'symlink':
      return record(entry.path, { ...plain, mode: type | 0o777 }, utf8(entry.target))
    case 'character-device': {
      const { major, minor } = entry
      return record(entry.path, { ...plain, mode: type | entry.mode, major, minor }, EMPTY)
    }
  }
}

/** Header, name with its zero, padding to 4 bytes, content, padding to 4 bytes. */
function record(path: string, fields: Fields, content: Uint8Array): Uint8Array[] {
  const name = utf8(`${path}\0`)
  if (name.length - 1 > CPIO_PATH_BYTES_MAX) {
    throw new RangeError(
      `path must have at most ${CPIO_PATH_BYTES_MAX} bytes, ` + `got ${name.length - 1}`,
    )
  }
  if (content.length > CPIO_FILE_BYTES_MAX) {
    throw new RangeError(
      `content of ${path} must have at most ${CPIO_FILE_BYTES_MAX} bytes, ` +
        `got ${content.length}`,
    )
  }
  const numbers = [
    fields.inode,
    fields.mode,
    0,
    0,
    fields.links,
    0,
    content.length,
    0,
    0,
    fields.major,
    fields.minor,
    name.length,
    0,
  ]
  const header = utf8(`070701${numbers.map(hex).join('')}`)
  return [header, name, padding(header.length + name.length), content, padding(content.length)]
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0')
}

function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4)
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    whole.set(part, offset)
    offset += part.length
  }
  return whole
}
