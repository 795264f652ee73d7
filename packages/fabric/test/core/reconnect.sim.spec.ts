import { runSeeds } from '@mycelium/simulator'
import { expect, it } from 'vitest'
import * as reconnect from '../../sim/reconnect.sim.ts'

const SEEDS = 200

/** A run that never saw one of these has not tested it. */
const RARE = [
  'crash',
  'cut: dropped',
  'cut: silent',
  'dial cancelled',
  'dial into the void',
  'dialled by both',
  'flap',
  'half open: cut while dialling',
  'half open: dialler gone',
  'half open: found out',
  'pairs formed in calm',
  'pairs healed',
  'partition',
  'power loss',
  'spare closed',
  'switched',
]

it(`every pair comes to use one connection, over ${SEEDS} seeds of faults`, async () => {
  const { coverage } = await runSeeds(reconnect, { packageName: 'fabric', seeds: SEEDS })
  for (const event of RARE) expect(coverage[event] ?? 0, event).toBeGreaterThan(0)
  expect(coverage['pairs healed']).toBeGreaterThan(SEEDS * 10)
})
