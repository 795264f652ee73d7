import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { packTar } from '../../src/core/tar.ts'

const AT = 1_700_000_000

describe('packTar', () => {
  it('packs what tar(1) unpacks', () => {
    const sizes = fc.constantFrom(0, 1, 511, 512, 513, 2_000)
    const file = sizes.chain((minLength) => fc.uint8Array({ minLength, maxLength: minLength }))
    fc.assert(
      fc.property(fc.array(file, { maxLength: 4 }), (contents) => {
        const files = contents.map((bytes, index) => ({ name: `folder/${index}.txt`, bytes }))
        const folder = mkdtempSync(join(tmpdir(), 'tar-'))
        try {
          const input = packTar(files, AT)
          const { status, stderr } = spawnSync('tar', ['-x', '-C', folder], { input })
          expect({ status, stderr: stderr.toString() }).toEqual({ status: 0, stderr: '' })
          for (const { name, bytes } of files) {
            expect(readFileSync(join(folder, name)).equals(bytes)).toBe(true)
          }
        } finally {
          rmSync(folder, { recursive: true })
        }
      }),
      { numRuns: 20 },
    )
  })

  it.each(['', 'x'.repeat(100), 'a b', 'ä'])('refuses the name %j', (name) => {
    expect(() => packTar([{ name, bytes: new Uint8Array() }], AT)).toThrow(RangeError)
  })
})
