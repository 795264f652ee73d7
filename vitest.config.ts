import { defineConfig } from 'vitest/config'

/** Tests run on the sources, never on a stale build; `ssr` is what vitest's workers resolve by. */
const conditions = ['@mycelium/source', 'node', 'import', 'default']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    execArgv: ['--conditions=@mycelium/source'], // for what a test starts outside of vite
    include: ['packages/*/test/**/*.spec.ts'],
    coverage: {
      include: ['packages/*/src/**/*.ts'],
      exclude: ['packages/node/src/bin.ts'], // runs as a child process in bin.e2e.spec.ts
      reporter: ['text-summary'],
      thresholds: { lines: 90 },
    },
  },
})
