import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import { createWorld, type SimulationResult, type World } from '@mycelium/simulator'
import { ONE_WAY_MS_MAX, ToyNet } from './toy-net.ts'
import { ToyNode } from './toy-node.ts'

export const name = 'reconnect'

const FAULTS_END_MS = 120_000

/** The longest delay, a dial into the void before it, half-open remains found, and lingering. */
const HEALED_MS = 30_000 + 10_000 + 20_000

/** Quiet time in which nothing may change any more. */
const CALM_MS = 60_000

/** Far more than 12 nodes need; a livelock fails. */
const STEPS_MAX = 500_000

/**
 * Nodes that know each other, of some pairs only one the other; crashes, power losses, partitions
 * and connections that end at once; in a third of the seeds one node is revoked. Then all heals,
 * and every pair must use one connection, the same at both ends, and keep it. In a quarter of the
 * seeds there are no faults, all start at once and dial each other: nobody may lose a peer.
 */
export function simulate(seed: number): SimulationResult {
  const world = createWorld({ seed, network: {} })
  const { random, clock } = world
  const count = 3 + random.below(10)
  const names = Array.from({ length: count }, (_, index) => `node-${index}` as NodeId)
  const net = new ToyNet(world)
  const nodes = names.map((node) => new ToyNode(net, node))
  const knows = whoKnowsWhom(world, names)
  const boot = (node: ToyNode): void => {
    if (!node.isAlive) node.boot(knows.get(node.name) ?? [])
  }
  const isCalm = random.below(4) === 0
  for (const node of nodes) clock.schedule(random.below(isCalm ? 50 : 5_000), () => boot(node))
  net.flapPerMille = isCalm || random.below(3) === 0 ? 0 : random.below(700)
  if (!isCalm) scheduleFaults(world, net, nodes, boot)
  const revoked = !isCalm && random.below(3) === 0 ? names[random.below(count)] : undefined
  if (revoked !== undefined) revoke(world, nodes, revoked)
  clock.advanceSync(FAULTS_END_MS, { stepsMax: STEPS_MAX })

  net.partition(undefined)
  net.flapPerMille = 0
  for (const node of nodes) boot(node)
  clock.advanceSync(HEALED_MS, { stepsMax: STEPS_MAX })
  const before = checkAll(nodes, revoked)
  clock.advanceSync(CALM_MS, { stepsMax: STEPS_MAX })
  assert.deepEqual(checkAll(nodes, revoked), before, 'a healthy connection was replaced')
  world.coverage.hit(isCalm ? 'pairs formed in calm' : 'pairs healed', before.length)
  for (const node of nodes) assert.ok(!isCalm || node.downs === 0, `${node.name} lost a peer`)
  return world.result()
}

/** Of each pair at least one knows the other. */
function whoKnowsWhom({ random }: World, names: readonly NodeId[]): Map<NodeId, NodeId[]> {
  const knows = new Map(names.map((node) => [node, [] as NodeId[]]))
  for (const [index, one] of names.entries()) {
    for (const other of names.slice(index + 1)) {
      const kind = random.below(4)
      if (kind !== 0) knows.get(one)?.push(other)
      if (kind !== 1) knows.get(other)?.push(one)
    }
  }
  return knows
}

function scheduleFaults(
  { random, clock }: World,
  net: ToyNet,
  nodes: readonly ToyNode[],
  boot: (node: ToyNode) => void,
): void {
  const faults = random.below(12)
  for (let fault = 0; fault < faults; fault++) {
    const at = random.below(FAULTS_END_MS)
    const lastsMs = random.below(40_000)
    const node = nodes[random.below(nodes.length)]
    assert.ok(node !== undefined)
    if (random.below(2) === 0) {
      const side = random.below(2 ** nodes.length)
      const group = (bit: number): NodeId[] =>
        nodes.filter((_, index) => ((side >> index) & 1) === bit).map((one) => one.name)
      clock.schedule(at, () => net.partition([group(0), group(1)]))
      clock.schedule(at + lastsMs, () => net.partition(undefined))
    } else {
      const isPowerLoss = random.below(2) === 0
      clock.schedule(at, () => {
        if (node.isAlive) net.crash(node, { isPowerLoss })
      })
      clock.schedule(at + lastsMs, () => boot(node))
    }
  }
}

/** The others learn of it one after the other. */
function revoke({ random, clock }: World, nodes: readonly ToyNode[], revoked: NodeId): void {
  const at = random.below(FAULTS_END_MS / 2)
  for (const node of nodes) {
    if (node.name === revoked) continue
    clock.schedule(at + random.below(2_000), () => node.revoke(revoked))
  }
}

/** The connections in use, one for each pair. */
function checkAll(nodes: readonly ToyNode[], revoked: NodeId | undefined): string[] {
  const used: string[] = []
  for (const [index, one] of nodes.entries()) {
    for (const other of nodes.slice(index + 1)) {
      const pair = `${one.name} and ${other.name}`
      if (one.name === revoked || other.name === revoked) {
        assert.ok(!one.isUp(other.name) && !other.isUp(one.name), `${pair}: one is revoked`)
        continue
      }
      const [here, there] = [one.usesOne(other.name), other.usesOne(one.name)]
      assert.ok(here !== undefined && there !== undefined, `${pair} use no single connection`)
      assert.equal(here.other, there, `${pair} use two connections`)
      const roundTripMs = one.links.roundTripMs(other.name)
      assert.ok(roundTripMs !== undefined && roundTripMs >= 2 && roundTripMs <= 2 * ONE_WAY_MS_MAX)
      used.push(`${pair} ${here.name}`)
    }
  }
  return used
}
