import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

/** What a program sees that has the package, and no addon beside it. */
const PROGRAM = `
import * as ram from './src/index.ts'

const codes = {}
const attempt = async (name, call) => {
  try {
    await call()
  } catch ({ code, message }) {
    codes[name] = { code, message }
  }
}
const region = { bytes: 4096 }
await attempt('createRegion', () => ram.createRegion({ bytes: 4096 }))
await attempt('adoptRegion', () => ram.adoptRegion({ fd: 0, bytes: 4096 }))
await attempt('createBoottimeClock', () => ram.createBoottimeClock())
await attempt('createPrimary', () => ram.createPrimary({ region, clock: {} }))
await attempt('createBackup', () => ram.createBackup({ region }))
const name = ram.formatName({ fencing: 7n, counter: 1 })
console.log(JSON.stringify({ exports: Object.keys(ram), codes, name }))
`

it('can be imported without the addon, and says what it tried at the first call', async () => {
  await mkdir(join(root, 'build'), { recursive: true })
  // Below the package, so that its dependencies are found.
  const folder = await mkdtemp(join(root, 'build', 'no-addon-'))
  try {
    await cp(join(root, 'src'), join(folder, 'src'), { recursive: true })
    await writeFile(join(folder, 'program.ts'), PROGRAM)
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--conditions=@mycelium/source',
      join(folder, 'program.ts'),
    ])
    const { exports, codes, name } = JSON.parse(stdout) as {
      readonly exports: readonly string[]
      readonly codes: Readonly<Record<string, { readonly code: string; readonly message: string }>>
      readonly name: string
    }
    expect(exports).toContain('createPrimary')
    expect(name).toBe('7.1')
    expect(Object.keys(codes)).toEqual([
      'createRegion',
      'adoptRegion',
      'createBoottimeClock',
      'createPrimary',
      'createBackup',
    ])
    for (const { code, message } of Object.values(codes)) {
      expect(code).toBe('ERR_RAM_NO_ADDON')
      expect(message).toBe(
        `no native addon for ${process.platform}-${process.arch}: ` +
          `tried build/Release and prebuilds/ in ${folder}/`,
      )
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})
