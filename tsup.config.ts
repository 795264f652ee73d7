import { existsSync, readFileSync } from 'node:fs'
import { defineConfig, type Options } from 'tsup'

const common: Options = {
  format: 'esm',
  platform: 'node',
  target: 'node22',
  sourcemap: true,
  dts: false, // declarations come from `tsc -b`
  clean: false, // would delete them
}

/** Libraries: bundled from their own sources; everything imported by name stays an import. */
const libraries = [
  'interface',
  'simulator',
  'identity',
  'raft',
  'ram',
  'fabric',
  'endophyte',
].filter((name) => existsSync(`packages/${name}/src/index.ts`))

/** The sources that a package exports. */
function entries(name: string): string[] {
  const { exports } = JSON.parse(readFileSync(`packages/${name}/package.json`, 'utf8')) as {
    readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  }
  return Object.values(exports)
    .flatMap((target) => (typeof target === 'string' ? [] : (target['@mycelium/source'] ?? [])))
    .map((file) => `packages/${name}/${file.slice('./'.length)}`)
}

/** `bin.js` loads `cli.js` when it has set what must be set before. */
const besideBin: NonNullable<Options['esbuildPlugins']>[number] = {
  name: 'beside-bin',
  setup: ({ onResolve }) => {
    onResolve({ filter: /^\.\/cli\.ts$/ }, ({ kind }) =>
      kind === 'dynamic-import' ? { path: './cli.js', external: true } : undefined,
    )
  },
}

export default defineConfig([
  ...libraries.map((name): Options => ({
    ...common,
    entry: entries(name),
    outDir: `packages/${name}/dist`,
    skipNodeModulesBundle: true,
  })),
  {
    ...common,
    entry: ['packages/node/src/bin.ts', 'packages/node/src/cli.ts'],
    outDir: 'packages/node/dist',
    noExternal: [/.*/],
    minify: true,
    // What a daemon loads late is still there when an update has replaced the program.
    splitting: false,
    esbuildPlugins: [besideBin],
    // CommonJS dependencies inside an ES module bundle still call `require`.
    banner: {
      js:
        "import { createRequire } from 'node:module';" +
        ' const require = createRequire(import.meta.url);',
    },
    esbuildOptions: (options) => {
      options.conditions = ['@mycelium/source']
    },
  },
])
