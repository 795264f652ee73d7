/** Scripts that people type say how they are used; TAP. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { root } from './system.ts'

for (const name of ['sim', 'bench']) {
  const run = (...args: readonly string[]) => {
    const command = ['--conditions=@mycelium/source', join(root, 'scripts', `${name}.ts`), ...args]
    const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' })
    return { status, stdout, stderr }
  }

  describe(name, () => {
    for (const option of ['--help', '-h']) {
      test(`${option} prints its usage`, () => {
        const { status, stdout, stderr } = run(option)
        assert.deepEqual({ status, stderr }, { status: 0, stderr: '' })
        assert.match(stdout, new RegExp(`^usage: npm run ${name} -- [^]*\\(default: [^]*--help`))
      })
    }

    test('an unknown option: one line that leads to the usage, exit code 2', () => {
      const stderr = `${name}: Unknown option '--frobnicate'; --help shows what there is\n`
      assert.deepEqual(run('--frobnicate'), { status: 2, stdout: '', stderr })
    })
  })
}
