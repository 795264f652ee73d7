/** Reporter of vitest: puts the reason of `skip(reason)` where the JSON report shows it. */
import type { Reporter, TestCase } from 'vitest/node'

export default class SkipReasons implements Reporter {
  onTestCaseResult(test: TestCase): void {
    const result = test.result()
    if (result.state !== 'skipped' || result.note === undefined) return
    Object.assign(test.meta(), { skipReason: result.note })
  }
}
