/**
 * Set-up of vitest's workers: processes that a test starts write their coverage to the folder that
 * scripts/coverage.ts merges. Set here and not outside, because the worker itself is measured by
 * vitest, and two collectors in one process reset each other's counters.
 */
const folder = process.env['MYCELIUM_CHILD_COVERAGE']
if (folder !== undefined) process.env['NODE_V8_COVERAGE'] = folder
