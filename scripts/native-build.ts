/** How tests and benchmarks of native/src/core are compiled, for this machine or the emulator. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdirSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative } from 'node:path'
import { root } from './system.ts'

const native = join(root, 'native')
/** C sources of others that the core is compiled with, from the registry's packages. */
const lz4 = join(native, 'node_modules/lz4/deps/lz4/lib')
const xxHash = join(native, 'node_modules/xxhash-addon/xxHash')

export interface NativeBuild {
  /** Names the folder of the objects. */
  readonly name: string
  /** Prefix of the compilers, e.g. `aarch64-linux-gnu-`. */
  readonly prefix: string
  readonly flags: readonly string[]
}

/** Compiles the core with its tests. Returns the program. */
export async function buildNativeTests(build: NativeBuild): Promise<string> {
  return await buildNative(build, 'test/*.cc', 'core_test')
}

/** Compiles the core with the benchmark `native/bench/<program>.cc`. Returns the program. */
export async function buildNativeBenchmark(program: string): Promise<string> {
  const build = { name: 'native-bench', prefix: '', flags: ['-O2'] }
  return await buildNative(build, `bench/${program}.cc`, program)
}

async function buildNative(
  { name, prefix, flags }: NativeBuild,
  mains: string,
  programName: string,
): Promise<string> {
  const folder = join(root, 'node_modules/.cache', name)
  mkdirSync(folder, { recursive: true })
  const sources = globSync(['src/core/*.cc', mains], { cwd: native })
    .sort()
    .map((file) => join(native, file))
  const headersMs = modifiedMs([import.meta.filename, ...headers()])
  const jobs = [...sources, join(lz4, 'lz4.c')].map((source) => {
    const object = join(folder, `${relative(native, source).replaceAll('/', '-')}.o`)
    const isFresh = modifiedMs([object]) > Math.max(headersMs, modifiedMs([source]))
    return { object, isFresh, command: compileCommand(source, object, prefix, flags) }
  })
  await inParallel(jobs.filter(({ isFresh }) => !isFresh).map(({ command }) => command))
  const program = join(folder, programName)
  const objects = jobs.map(({ object }) => object)
  execFileSync(`${prefix}g++`, [...flags, '-pthread', ...objects, '-o', program], {
    stdio: ['ignore', 2, 2],
  })
  return program
}

const headers = (): string[] =>
  globSync('{src,test}/**/*.h', { cwd: native }).map((file) => join(native, file))

/** Of the newest of `files`; -1 without any. */
function modifiedMs(files: readonly string[]): number {
  const times = files.map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? -1)
  return Math.max(-1, ...times)
}

type CompilerCommand = readonly [compiler: string, args: readonly string[]]

function compileCommand(
  source: string,
  object: string,
  prefix: string,
  flags: readonly string[],
): CompilerCommand {
  const common = [...flags, '-g', '-c', source, '-o', object]
  if (source.endsWith('.c')) return [`${prefix}gcc`, common]
  const strict = ['-std=c++20', '-Wall', '-Wextra', '-Werror']
  // In this order: lz4 has an older xxhash.h beside its own header.
  const folders = ['-I', join(native, 'src'), '-isystem', xxHash, '-isystem', lz4]
  return [`${prefix}g++`, [...strict, ...folders, ...common]]
}

/** One compiler per processor. Its own words go to standard error; throws if one fails. */
async function inParallel(commands: readonly CompilerCommand[]): Promise<void> {
  const left = [...commands]
  const work = async (): Promise<void> => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [compiler, args] = next
      const child = spawn(compiler, args, { stdio: ['ignore', 2, 2] })
      const [code] = (await once(child, 'exit')) as [number | null]
      if (code !== 0) throw new Error(`${compiler} ${args.join(' ')} ended with ${code}`)
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
}
