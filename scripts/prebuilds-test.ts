/**
 * Checks what is published: every prebuild is there, runs on the oldest systems we support, and is
 * packed with its rights; TAP. For the host's architecture, and for the other one if it was built
 * (`check:arm64` does so before): otherwise it says what it skipped.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { aboveFloor, isNewer, newestSymbols } from './symbol-versions.ts'
import { root } from './system.ts'

/** Debian 12's. A newer one binds newer symbols, which is no fault of ours. */
const GLIBC_OF_RELEASES = '2.36'

const scratch = mkdtempSync(join(tmpdir(), 'prebuilds-'))
process.once('exit', () => {
  rmSync(scratch, { recursive: true })
})

let number = 0
function check(name: string, faults: readonly string[], skip?: string): void {
  const isOk = skip !== undefined || faults.length === 0
  const directive = skip === undefined ? '' : ` # SKIP ${skip}`
  console.log(`${isOk ? 'ok' : 'not ok'} ${++number} - ${name}${directive}`)
  for (const fault of faults) console.log(`# ${fault}`)
  if (!isOk) process.exitCode = 1
}

/** `-rwxr-xr-x ... package/FILE` of each file in the tarball. */
function pack(name: string): readonly string[] {
  const folder = join(scratch, name)
  execFileSync('pnpm', ['pack', '--pack-destination', folder], {
    cwd: join(root, 'packages', name),
    stdio: ['ignore', 'ignore', 2],
  })
  const [tarball = ''] = globSync('*.tgz', { cwd: folder })
  const list = execFileSync('tar', ['-tvzf', join(folder, tarball)], { encoding: 'utf8' })
  return list.trim().split('\n')
}

const expected: Readonly<Record<string, readonly string[]>> = {
  ram: ['ram.node', 'uffd_shim.so'],
  endophyte: ['mycelium-guard', 'mycelium-load'],
  node: ['ram.node', 'uffd_shim.so', 'mycelium-guard', 'mycelium-load'],
}
const {
  header: { glibcVersionRuntime },
} = process.report.getReport() as { readonly header: { readonly glibcVersionRuntime: string } }
const skip = isNewer(glibcVersionRuntime, GLIBC_OF_RELEASES)
  ? `built with glibc ${glibcVersionRuntime}; releases are built with ${GLIBC_OF_RELEASES}`
  : undefined

for (const [name, files] of Object.entries(expected)) {
  const packed = pack(name)
  for (const arch of ['x64', 'arm64']) {
    const folder = `packages/${name}/prebuilds/linux-${arch}`
    if (arch !== process.arch && !existsSync(join(root, folder))) {
      check(folder, [], `not built here: node scripts/prebuild.ts ${arch}`)
      continue
    }
    for (const file of files) {
      const path = join(root, folder, file)
      const isThere = existsSync(path)
      const tooNew = isThere ? aboveFloor(newestSymbols(path)) : ['it is missing: npm run build']
      check(`${folder}/${file} loads on Debian 12`, tooNew, skip)
      const line = packed.find((entry) =>
        entry.endsWith(` package/prebuilds/linux-${arch}/${file}`),
      )
      const isProgram = !file.includes('.')
      const isRight = line !== undefined && line.startsWith('-rwx') === isProgram
      check(`${folder}/${file} is packed with its rights`, isRight ? [] : [line ?? 'not packed'])
    }
  }
}
console.log(`1..${number}`)
