/** `npm run sim`: its list, what it prints of seeds, and the line that repeats a failure; TAP. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { root } from './system.ts'

const checkout = mkdtempSync(join(tmpdir(), 'sim-test-'))
after(() => {
  rmSync(checkout, { recursive: true })
})
cpSync(join(root, 'scripts'), join(checkout, 'scripts'), { recursive: true })
writeFileSync(join(checkout, 'package.json'), '{"type":"module"}\n')
for (const name of ['toy', 'bad']) {
  mkdirSync(join(checkout, 'packages', name, 'sim'), { recursive: true })
}
symlinkSync(join(root, 'packages/simulator'), join(checkout, 'packages/simulator'))
const simulator = JSON.stringify(join(root, 'packages/simulator/src/index.ts'))
writeFileSync(
  join(checkout, 'packages/toy/sim/ping.sim.ts'),
  `import { createWorld } from ${simulator}
export const name = 'ping'
export async function simulate(seed) {
  const world = createWorld({ seed, network: { delayMsMin: 500, delayMsMax: 500 } })
  world.start('b', () => () => world.coverage.hit('ping heard'))
  world.start('a', ({ send }) => (send('b', Uint8Array.of(1)), () => {}))
  await world.clock.runUntilIdle()
  return world.result()
}`,
)
writeFileSync(
  join(checkout, 'packages/bad/sim/vote.sim.ts'),
  `export const name = 'vote'
export function simulate(seed) {
  if (seed === 9) throw new Error('two leaders')
  return { traceHash: '', coverage: {}, virtualMs: 0 }
}`,
)
writeFileSync(join(checkout, 'packages/toy/sim/judge.ts'), "throw new Error('no simulation')")

function sim(...args: readonly string[]) {
  const script = join(checkout, 'scripts/sim.ts')
  const command = ['--conditions=@mycelium/source', script, ...args]
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' })
  return { status, stdout, stderr }
}

test('without a package it lists those with simulations', () => {
  assert.deepEqual(sim(), { status: 0, stdout: 'bad\ntoy\n', stderr: '' })
})

test('says how many seeds ran, how often rare events happened, and that all was well', () => {
  const { status, stdout, stderr } = sim('toy', '--seeds', '4', '--seed', '7')
  assert.deepEqual({ status, stderr }, { status: 0, stderr: '' })
  const [first, ...rest] = stdout.split('\n')
  assert.match(
    first ?? '',
    /^ping: 4 seeds from 7, [\d.]+ seeds\/s, 2 s of virtual time in [\d.]+ s$/,
  )
  assert.deepEqual(rest, ['  ping heard: 4', '  ok: nothing violated in 4 seeds', ''])
})

test('a failure ends with the line that repeats it, and that line does', () => {
  const repeated = 'npm run sim -- bad --seeds 1 --seed 9'
  const { status, stderr } = sim('bad', '--seeds', '20')
  assert.equal(status, 1)
  assert.match(stderr, /Error: two leaders\n {4}at simulate /)
  assert.ok(stderr.endsWith(`vote, seed 9: two leaders\nreproduce: ${repeated}\n`), stderr)
  assert.equal(sim(...repeated.split(' ').slice(4)).status, 1)
  assert.equal(sim('bad', '--seeds', '8').status, 0)
})

const refusals: readonly (readonly [args: readonly string[], says: RegExp])[] = [
  [['nonesuch'], /^sim: nonesuch has no simulations; there are: bad, toy\n$/],
  [['toy', 'bad'], /^sim: PACKAGE must be one package[^\n]*\n$/],
  [['toy', '--seeds', '0'], /^sim: --seeds must be a whole number, at least 1, got 0[^\n]*\n$/],
  [['toy', '--seed', '1.5'], /^sim: --seed must be a whole number, at least 0, got 1.5[^\n]*\n$/],
]
for (const [args, says] of refusals) {
  test(`sim ${args.join(' ')}: one line, exit code 2`, () => {
    const { status, stdout, stderr } = sim(...args)
    assert.deepEqual({ status, stdout }, { status: 2, stdout: '' })
    assert.match(stderr, says)
  })
}
