import { expect, test } from 'vitest'
import { CPIO_PATH_BYTES_MAX, writeCpio, type CpioEntry } from '../../src/core/cpio.ts'

interface Read {
  readonly path: string
  readonly mode: number
  readonly device: string
  readonly content: string
}

/** A reader written from the kernel's description, apart from the writer. */
function readCpio(archive: Uint8Array): Read[] {
  const text = Buffer.from(archive).toString('latin1')
  const entries: Read[] = []
  for (let at = 0; ;) {
    expect(text.slice(at, at + 6)).toBe('070701')
    const fields = Array.from({ length: 13 }, (_unused, index) =>
      Number.parseInt(text.slice(at + 6 + index * 8, at + 14 + index * 8), 16),
    )
    const [, mode = 0, , , , , size = 0, , , major, minor, nameLength = 0] = fields
    const path = text.slice(at + 110, at + 110 + nameLength - 1)
    const start = align(at + 110 + nameLength)
    if (path === 'TRAILER!!!') return entries
    entries.push({
      path,
      mode,
      device: `${major}:${minor}`,
      content: Buffer.from(archive.subarray(start, start + size)).toString(),
    })
    at = align(start + size)
  }
}

function align(offset: number): number {
  return Math.ceil(offset / 4) * 4
}

test('all kinds of entries come back', () => {
  const entries: CpioEntry[] = [
    { type: 'directory', path: 'dev', mode: 0o755 },
    { type: 'character-device', path: 'dev/console', mode: 0o600, major: 5, minor: 1 },
    { type: 'file', path: 'init', mode: 0o755, content: Buffer.from('hello') },
    { type: 'symlink', path: 'bin', target: 'usr/bin' },
  ]
  const archive = writeCpio(entries)
  expect(archive.length % 4).toBe(0)
  expect(readCpio(archive)).toEqual([
    { path: 'dev', mode: 0o040_755, device: '0:0', content: '' },
    { path: 'dev/console', mode: 0o020_600, device: '5:1', content: '' },
    { path: 'init', mode: 0o100_755, device: '0:0', content: 'hello' },
    { path: 'bin', mode: 0o120_777, device: '0:0', content: 'usr/bin' },
  ])
})

test('equal entries give equal bytes', () => {
  const entries: CpioEntry[] = [{ type: 'file', path: 'a', mode: 0o644, content: Buffer.from('b') }]
  expect(writeCpio(entries)).toEqual(writeCpio(entries))
})

test('paths: at the bound, past it, absolute, empty, twice', () => {
  const file = (path: string): CpioEntry => ({
    type: 'file',
    path,
    mode: 0o644,
    content: new Uint8Array(),
  })
  const longest = 'x'.repeat(CPIO_PATH_BYTES_MAX)
  expect(readCpio(writeCpio([file(longest)]))[0]?.path).toBe(longest)
  expect(() => writeCpio([file(`${longest}x`)])).toThrow(/^path must have at most 4095 bytes/)
  for (const path of ['', '/init']) {
    expect(() => writeCpio([file(path)])).toThrow(/^path must be relative and not empty/)
  }
  expect(() => writeCpio([file('a'), file('a')])).toThrow('entries name a twice')
})
