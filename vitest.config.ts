import { defineConfig } from 'vitest/config'

/** Tests run on the sources, never on a stale build; `ssr` is what vitest's workers resolve by. */
const conditions = ['@mycelium/source', 'node', 'import', 'default']

/** Real processes, sockets, disks and guests: they want the machine for themselves. */
const SYSTEM = 'packages/*/test/**/*.{node,e2e}.spec.ts'

/** Bound on one test of real processes: a guest under emulation boots in seconds, not minutes. */
const SYSTEM_TEST_TIMEOUT_MS = 120_000

/** Bound on one test in memory: properties and simulations included. */
const UNIT_TEST_TIMEOUT_MS = 60_000

const shared = {
  resolve: { conditions },
  ssr: { resolve: { conditions } },
}

export default defineConfig({
  test: {
    globalSetup: ['scripts/end-with-parent.ts'],
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          include: ['packages/*/test/**/*.spec.ts'],
          exclude: [SYSTEM],
          execArgv: ['--conditions=@mycelium/source'], // for what a test starts outside of vite
          setupFiles: ['scripts/child-coverage-setup.ts'],
          testTimeout: UNIT_TEST_TIMEOUT_MS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        ...shared,
        test: {
          name: 'system',
          include: [SYSTEM],
          execArgv: ['--conditions=@mycelium/source'],
          setupFiles: ['scripts/child-coverage-setup.ts'],
          testTimeout: SYSTEM_TEST_TIMEOUT_MS,
          hookTimeout: SYSTEM_TEST_TIMEOUT_MS,
          // One file at a time, after the others.
          fileParallelism: false,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
    coverage: {
      include: ['packages/*/src/**/*.ts'],
      reporter: ['text-summary', 'json'],
    },
  },
})
