import { runSeeds } from '@mycelium/simulator'
import { expect, it } from 'vitest'
import * as session from '../sim/session.sim.ts'

it('200 seeds: no message lost, doubled, reordered or damaged', async () => {
  const { coverage } = await runSeeds(session, { packageName: 'ram', seeds: 200 })
  // A run that saw none of these has not tested them.
  for (const [event, atLeast] of [
    ['suspended', 500],
    ['resumed', 500],
    ['cut unnoticed', 100],
    ['disconnect: the peer is silent', 50],
    ['disconnect: the peer came over a new connection', 50],
    ['connect too late', 10],
    ['disconnect: a newer connection came before it', 10],
    ['bytes resent', 10_000],
    ['everything delivered', 100],
    ['lost session', 10],
    ['crash', 5],
  ] as const) {
    expect(coverage[event] ?? 0, event).toBeGreaterThanOrEqual(atLeast)
  }
})
