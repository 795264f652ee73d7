/** Checks the format of C and C++ against .clang-format; TAP. `--write` changes the files. */
import { execFileSync, spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { missingTools, root } from './system.ts'

/** Other releases format some lines otherwise, so only one can be the measure: Debian 12's. */
const CLANG_FORMAT_MAJOR = '14'

function reasonToSkip(): string | undefined {
  const missing = missingTools(['clang-format'], 'clang-format')
  if (missing !== undefined) return missing
  const version = execFileSync('clang-format', ['--version'], { encoding: 'utf8' })
  const major = /version (\d+)/.exec(version)?.[1]
  if (major === CLANG_FORMAT_MAJOR) return undefined
  return `clang-format ${CLANG_FORMAT_MAJOR} is the measure, this is ${major}`
}

const reason = reasonToSkip()
if (reason === undefined) {
  const files = globSync(['native/{src,test}/**/*.{c,cc,h}', 'packages/endophyte/guest/*.c'], {
    cwd: root,
  }).sort()
  const mode = process.argv.includes('--write') ? ['-i'] : ['--dry-run', '--Werror']
  files.forEach((file, index) => {
    const { status, stderr } = spawnSync('clang-format', [...mode, file], {
      cwd: root,
      encoding: 'utf8',
    })
    console.log(`${status === 0 ? 'ok' : 'not ok'} ${index + 1} - ${file}`)
    if (status === 0) return
    console.error(stderr)
    process.exitCode = 1
  })
  console.log(`1..${files.length}`)
} else console.log(`1..0 # SKIP ${reason}`)
