/**
 * Writes THIRD-PARTY-NOTICES.txt of the packages that ship compiled or bundled code of others: the
 * licences ask for it. What the bundle holds is read from its source map.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './system.ts'

const native = join(root, 'native/node_modules')

interface Notice {
  readonly name: string
  readonly text: string
}

/** The first comment of a C header: where xxHash keeps its licence. */
function firstComment(file: string): string {
  const comment = /^\/\*(.*?)\*\//s.exec(readFileSync(file, 'utf8'))?.[1]
  if (comment === undefined) throw new Error(`${file} does not begin with a comment`)
  return comment.replaceAll(/^ \* ?/gm, '').trim()
}

/** What is compiled into the addon. */
const compiled: readonly Notice[] = [
  { name: 'LZ4', text: readFileSync(join(native, 'lz4/deps/lz4/lib/LICENSE'), 'utf8') },
  { name: 'xxHash', text: firstComment(join(native, 'xxhash-addon/xxHash/xxhash.h')) },
  { name: 'node-addon-api', text: licencesIn(join(native, 'node-addon-api')) },
]

function licencesIn(folder: string): string {
  const files = globSync('{LICENSE,LICENCE,COPYING}*', { cwd: folder }).sort()
  if (files.length === 0) return statedIn(join(folder, 'package.json'))
  return files.map((file) => readFileSync(join(folder, file), 'utf8').trim()).join('\n\n')
}

/** Some packages only name their licence. */
function statedIn(manifest: string): string {
  const { license, homepage } = JSON.parse(readFileSync(manifest, 'utf8')) as {
    readonly license?: string
    readonly homepage?: string
  }
  if (license === undefined) throw new Error(`${manifest} names no licence`)
  return `Licence: ${license}${homepage === undefined ? '' : `\nHome: ${homepage}`}`
}

/** What is bundled into the command. */
function bundled(): readonly Notice[] {
  const map = readFileSync(join(root, 'packages/node/dist/cli.js.map'), 'utf8')
  const { sources } = JSON.parse(map) as { readonly sources: readonly string[] }
  const found = new Map<string, string>()
  for (const source of sources) {
    const [path, name] =
      /node_modules\/\.pnpm\/[^/]+\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source) ?? []
    if (path !== undefined && name !== undefined) found.set(name, join(root, path))
  }
  return [...found].sort().map(([name, folder]) => ({ name, text: licencesIn(folder) }))
}

function write(name: string, notices: readonly Notice[]): void {
  const parts = notices.map(
    ({ name: of, text }) => `${of}\n${'='.repeat(of.length)}\n\n${text.trim()}\n`,
  )
  const file = join(root, `packages/${name}/THIRD-PARTY-NOTICES.txt`)
  writeFileSync(file, `This package contains code of others.\n\n${parts.join('\n\n')}`)
}

write('ram', compiled)
write('node', [...compiled, ...bundled()])
