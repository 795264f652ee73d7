/**
 * Groups of 3 or 5 members, and spare ones, whose network, disks, clocks and processes misbehave as
 * the seed says, while operators change the membership and clients read and write.
 *
 * In every step the invariants of `judge.ts` hold. What clients saw is linearizable. Once the
 * faults are over, there is one leader, one membership, one state, and clients are answered.
 */
import assert from 'node:assert/strict'
import { createWorld, type SimulationResult, type World } from '@mycelium/simulator'
import { describeMembership, type RaftInit } from '../src/index.ts'
import { History, startClient } from './clients.ts'
import { Cluster, type Machine } from './cluster.ts'
import { chooseFeatures, Faults } from './faults.ts'
import { type NodeOptions, TICK_MS } from './sim-node.ts'

export const name = 'raft'

const FAULTS_MS = 6_000
/** Time for elections, catching up, and leaving of joint configurations, one after the other. */
const HEALING_ELECTIONS = 20
const STEPS_MAX = 2_000_000
const CLIENTS = 5
const READERS = 2

function chooseOptions(random: World['random']): NodeOptions {
  const coin = (): boolean => random.below(2) === 0
  const reads: RaftInit['reads'] = random.below(5) < 3 ? 'safe' : 'lease'
  return {
    isAsync: coin(),
    reads,
    preVote: coin(),
    checkQuorum: reads === 'lease' || random.below(3) === 0,
    // Long ones leave time in which two lead: with leases that must do no harm.
    electionTicks: reads === 'lease' && coin() ? 30 : 10,
    heartbeatTicks: 1 + random.below(3),
    stepsDownOnRemoval: random.below(4) > 0,
    forwardsProposals: random.below(4) > 0,
    inflightCountMax: coin() ? 256 : 2,
    appendBytesMax: coin() ? 2 ** 20 : 200,
    applyingBytesMax: coin() ? 2 ** 24 : 500,
    uncommittedBytesMax: coin() ? 2 ** 26 : 300,
    syncMsMax: coin() ? 0 : random.below(30),
    applyMsMax: random.below(40),
    snapshotEvery: coin() ? 1_000_000 : 5 + random.below(60),
    keptEntries: random.below(20),
  }
}

export function simulate(seed: number): SimulationResult {
  const world = createWorld({ seed })
  const { clock, random, coverage } = world
  const options = chooseOptions(random.fork('options'))
  const healingMs = HEALING_ELECTIONS * (options.electionTicks ?? 0) * TICK_MS
  const features = chooseFeatures(world)
  const voters = random.below(2) === 0 ? 3 : 5
  const spares = features.has('membership') ? 2 : 0
  const cluster = new Cluster(world, options, { voters, spares })
  const history = new History()
  const nodes = cluster.machines.map(({ id }) => id)
  for (let at = 0; at < CLIENTS; at++) {
    const name = `client${at}`
    const isReader = at < READERS
    const [thinkMsMax, patienceMs] = isReader ? [10, 30] : [40, 120]
    startClient(world, { name, nodes, history, thinkMsMax, patienceMs, isReader })
  }
  const faults = new Faults(cluster, features, options.reads === 'lease')
  clock.advanceSync(FAULTS_MS, { stepsMax: STEPS_MAX })
  faults.stop()
  heal(cluster, features.has('membership'))
  clock.advanceSync(healingMs, { stepsMax: STEPS_MAX })
  settle(cluster)
  clock.advanceSync(healingMs, { stepsMax: STEPS_MAX })
  const answered = history.answered
  clock.advanceSync(1_000, { stepsMax: STEPS_MAX })
  const isServing = history.answered > answered + CLIENTS
  assert.ok(isServing, `clients are not answered after the faults\n${cluster.describe()}`)
  checkAgreement(cluster)
  history.check(cluster.judge)
  coverage.hit('operations answered', history.answered)
  coverage.hit('operations given up', history.noted.length - history.answered)
  coverage.hit('entries committed', cluster.judge.commit)
  coverage.hit('leader terms', cluster.judge.leaderTerms)
  coverage.hit(`options: ${options.isAsync ? 'asynchronous' : 'synchronous'} storage`)
  coverage.hit(`options: ${options.reads ?? 'safe'} reads`)
  return world.result()
}

/**
 * Who can comes back: all, or, if it is certain who votes, now and then only a majority, while the
 * others stay as they are.
 */
function heal(cluster: Cluster, mayBeChanging: boolean): void {
  const { machines, world, judge } = cluster
  const able = machines.filter(({ isLost }) => !isLost)
  const majority = Math.floor(judge.membership.voters.length / 2) + 1
  const isWhole = mayBeChanging || world.random.below(2) === 0
  if (!isWhole) world.coverage.hit('healed: a majority only')
  const running = (machine: Machine): number => (machine.process.isRunning ? 0 : 1)
  const core = able.toSorted((one, other) => running(one) - running(other))
  for (const [at, machine] of core.entries()) {
    if (isWhole || at < majority) cluster.restart(machine)
    else cluster.crash(machine, false)
  }
}

/** An operator finishes what was begun, and stops who is no member any more. */
function settle(cluster: Cluster): void {
  const { judge, machines } = cluster
  cluster.askLeader((raw) => {
    const { votersOutgoing, autoLeave } = raw.status().membership
    if (votersOutgoing.length === 0 || autoLeave) return
    raw.proposeChange({ transition: 'auto', changes: [] })
  })
  const { voters, votersOutgoing, learners } = judge.membership
  const members = new Set([...voters, ...votersOutgoing, ...learners])
  // Until those who stay know of it, they may need the vote of who goes.
  const areInformed = machines.every(({ id, node }) => {
    const known = node === undefined ? undefined : describeMembership(node.raw.status().membership)
    return !voters.includes(id) || known === describeMembership(judge.membership)
  })
  if (!areInformed) return
  for (const machine of machines) if (!members.has(machine.id)) cluster.crash(machine, false)
}

function checkAgreement(cluster: Cluster): void {
  const { judge, leaders, awake } = cluster
  assert.equal(leaders.length, 1, `${leaders.length} leaders\n${cluster.describe()}`)
  const leader = leaders[0]?.node?.raw.status()
  assert.ok(leader !== undefined)
  const { membership } = leader
  assert.deepEqual(membership, judge.membership, 'the leader has another membership')
  assert.equal(membership.votersOutgoing.length, 0, 'a joint configuration was not left')
  const members = new Set([...membership.voters, ...membership.learners])
  for (const { id, node } of awake) {
    if (node === undefined || !members.has(id)) continue
    const status = node.raw.status()
    assert.equal(status.leader, leader.id, `${id} has another leader`)
    assert.deepEqual(status.membership, membership, `${id} has another membership`)
    assert.ok(status.commit + 200 > leader.commit, `${id} is far behind`)
  }
}
