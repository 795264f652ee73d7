/** The least of the `ustar` format of POSIX.1-2024 (pax): ordinary files with short names. */

const BLOCK_BYTES = 512
/** Of the field, without the zero at its end. */
const NAME_BYTES_MAX = 99

export interface TarFile {
  /** ASCII, at most 99 characters. */
  readonly name: string
  readonly bytes: Uint8Array
}

/**
 * @param at - seconds since 1970, the age of all files
 * @throws {RangeError} a name is too long or not ASCII
 */
export function packTar(files: readonly TarFile[], at: number): Uint8Array {
  const blocks = files.flatMap(({ name, bytes }) => [
    headerOf(name, bytes.byteLength, at),
    bytes,
    new Uint8Array((BLOCK_BYTES - (bytes.byteLength % BLOCK_BYTES)) % BLOCK_BYTES),
  ])
  blocks.push(new Uint8Array(2 * BLOCK_BYTES)) // the end of the archive
  const packed = new Uint8Array(blocks.reduce((sum, { byteLength }) => sum + byteLength, 0))
  let offset = 0
  for (const block of blocks) {
    packed.set(block, offset)
    offset += block.byteLength
  }
  return packed
}

function headerOf(name: string, size: number, at: number): Uint8Array {
  if (!/^[\x21-\x7e]+$/.test(name) || name.length > NAME_BYTES_MAX) {
    throw new RangeError(`name: must be 1..${NAME_BYTES_MAX} characters of ASCII, got ${name}`)
  }
  const header = new Uint8Array(BLOCK_BYTES)
  const put = (offset: number, text: string): void => {
    for (let index = 0; index < text.length; index++)
      header[offset + index] = text.charCodeAt(index)
  }
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0')
  put(0, name)
  put(100, octal(0o600, 7))
  put(108, octal(0, 7)) // owner: whoever unpacks it
  put(116, octal(0, 7))
  put(124, octal(size, 11))
  put(136, octal(at, 11))
  put(148, ' '.repeat(8)) // the checksum counts itself as spaces
  put(156, '0') // an ordinary file
  put(257, 'ustar\0' + '00')
  const checksum = header.reduce((sum, byte) => sum + byte, 0)
  put(148, `${octal(checksum, 6)}\0 `)
  return header
}
