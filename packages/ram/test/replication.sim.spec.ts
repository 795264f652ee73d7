import { runSeeds } from '@mycelium/simulator'
import { expect, it } from 'vitest'
import * as replication from '../sim/replication.sim.ts'

const SEEDS = 200

/** A run that never saw one of these has not tested it. */
const RARE = [
  'dropped: ERR_RAM_ORDER',
  'dropped: ERR_RAM_REFUSED',
  'fill after resume',
  'fills',
  'lost in flight',
  'message: corrupt',
  'message: drop',
  'message: duplicate',
  'message: swap',
  'not promotable',
  'offer: compare',
  'offer: fill',
  'offer: resume',
  'precopies',
  'promotions',
  'refused: ERR_RAM_FENCED',
  'refused: ERR_RAM_FRAME',
  'refused: ERR_RAM_IMAGE',
  'refused: ERR_RAM_ORDER',
  'refused: ERR_RAM_REJECTED',
  'restarts',
  'zombies',
]

it(`whoever holds an epoch holds its image, over ${SEEDS} seeds of faults`, async () => {
  const { coverage } = await runSeeds(replication, { packageName: 'ram', seeds: SEEDS })
  for (const event of RARE) expect(coverage[event] ?? 0, event).toBeGreaterThan(0)
  expect(coverage['epochs sealed']).toBeGreaterThan(SEEDS * 20)
})
