/**
 * Three candidates and a grantor: clocks drift, messages are late, lost, doubled and overtake each
 * other, processes stop and crash, the grantor's disk fails and forgets what was not flushed.
 *
 * At no moment may two holders both be valid by their own clocks; no epoch may repeat; what was
 * acknowledged must be seen by every later read; and once the faults are over, there are grants.
 */
import assert from 'node:assert/strict'
import { createWorld } from '@mycelium/simulator'
import type { SimulatedProcess, SimulationResult, World } from '@mycelium/simulator'
import { LeaseOracle } from './lease-oracle.ts'
import { createSimGrantor } from './sim-grantor.ts'
import type { LeaseBug } from './sim-grantor.ts'
import { GRANTOR, HolderLife, TTL_MS_MAX } from './sim-holder.ts'

export const name = 'leases'

const CLIENTS = ['a', 'b', 'c']
const FAULTS_END_MS = 15_000
/** Enough for what is under way to be lost, to run out, and for each to have a turn. */
const CALM_MS = 12_000
const STEPS_MAX = 400_000
/** Incarnations travel as one byte. */
const CRASHES_MAX = 200

/** Crashes `process` at random moments and brings it back, until the faults are over. */
function crashSometimes(
  world: World,
  process: SimulatedProcess,
  meanMs: number,
  onCrash: () => void,
): void {
  const { clock, random } = world
  let crashes = 0
  const again = (): void => {
    clock.schedule(clock.now() + random.below(2 * meanMs), () => {
      if (clock.now() > FAULTS_END_MS || ++crashes > CRASHES_MAX) return
      process.crash()
      onCrash()
      clock.schedule(clock.now() + random.below(TTL_MS_MAX), () => {
        process.restart()
        again()
      })
    })
  }
  again()
}

/** @param bug - a mistake to put in; the simulation must then throw for some seeds */
export function simulate(seed: number, bug?: LeaseBug): SimulationResult {
  const world = createWorld({ seed })
  const { clock, random, network } = world
  // Not all faults in all seeds: they would hide each other.
  const pick = (value: number): number => (random.below(2) === 0 ? value : 0)
  network.setFaults({
    delayMsMax: 1 + pick(100),
    lossPerMille: pick(100),
    duplicationPerMille: pick(100),
    reorders: random.below(2) === 0,
  })
  const oracle = new LeaseOracle(world)
  const grantor = createSimGrantor(world, oracle, bug)
  const process = world.start(GRANTOR, grantor.boot)
  crashSometimes(world, process, 2_000 + pick(20_000), () => grantor.crashDisk())
  for (const client of CLIENTS) {
    let life: HolderLife | undefined
    const peers = CLIENTS.filter((other) => other !== client)
    const holder = world.start(client, (host) => {
      const born = new HolderLife(world, oracle, host, peers, bug)
      life = born
      return (_, message) => born.receive(message)
    })
    crashSometimes(world, holder, 5_000, () => life?.die())
  }
  clock.advanceSync(FAULTS_END_MS, { stepsMax: STEPS_MAX })
  network.setFaults({ delayMsMax: 5, lossPerMille: 0, duplicationPerMille: 0, reorders: false })
  grantor.areFaultsOver = true
  clock.advanceSync(CALM_MS / 2, { stepsMax: STEPS_MAX })
  const grants = oracle.grants
  clock.advanceSync(CALM_MS / 2, { stepsMax: STEPS_MAX })
  assert.ok(oracle.grants > grants, 'no grant after the faults')
  return world.result()
}
