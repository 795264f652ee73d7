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
const libraries = ['interface', 'clock', 'events', 'checksum', 'failure-detector']
const entry = { 'checksum': ['index', 'testing'] } as Readonly<Record<string, readonly string[]>>

export default defineConfig([
  ...libraries.map((name): Options => ({
    ...common,
    entry: (entry[name] ?? ['index']).map((file) => `packages/${name}/src/${file}.ts`),
    outDir: `packages/${name}/dist`,
    skipNodeModulesBundle: true,
  })),
  {
    ...common,
    entry: ['packages/node/src/bin.ts'],
    outDir: 'packages/node/dist',
    noExternal: [/.*/],
    minify: true,
    // CommonJS dependencies inside an ES module bundle still call `require`.
    banner: {
      js: "import { createRequire } from 'node:module';"
        + ' const require = createRequire(import.meta.url);',
    },
    esbuildOptions: (options) => { options.conditions = ['@mycelium/source'] },
  },
])
