import { runSeeds } from '@mycelium/simulator'
import { expect, it } from 'vitest'
import * as raft from '../sim/raft.sim.ts'

const SEEDS = 200

/** A run that never saw one of these has not tested it. */
const RARE = [
  'clock leapt',
  'disk bit turned',
  'disk suffix lost',
  'disk write torn',
  'ended because the disk is full',
  'entries replaced',
  'entry of an older term committed',
  'healed: a majority only',
  'leader elected',
  'membership: joint, left by itself',
  'membership: joint, left when told',
  'membership: simple',
  'bridges restarted',
  'leader deaf after handing over',
  'message clogged',
  'message cut off',
  'message duplicated',
  'message lost',
  'message overtook another',
  'network: bridged',
  'network: leader cut off',
  'network: one cut off',
  'network: one way cut',
  'network: parted',
  'operations given up',
  'options: asynchronous storage',
  'options: lease reads',
  'options: safe reads',
  'options: synchronous storage',
  'process crashed',
  'process paused',
  'proposal dropped: log-full',
  'proposal dropped: no-leader',
  'proposal dropped: not-a-member',
  'proposal dropped: not-leader',
  'proposal dropped: transferring',
  'read answered',
  'ready under way: 3 or more',
  'refused to start with a damaged log',
  'refused: ERR_RAFT_MEMBERSHIP_CHANGE',
  'snapshot restored',
  'snapshot taken',
  'told to campaign at once',
  'torn end of a log cut off',
]

it(`the invariants hold and clients see one copy, over ${SEEDS} seeds of faults`, async () => {
  const { coverage } = await runSeeds(raft, { packageName: 'raft', seeds: SEEDS })
  for (const event of RARE) expect(coverage[event] ?? 0, event).toBeGreaterThan(0)
  expect(coverage['operations answered']).toBeGreaterThan(SEEDS * 200)
  expect(coverage['leader terms']).toBeGreaterThan(SEEDS * 3)
}, 180_000)
