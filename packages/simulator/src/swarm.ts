import type { Random } from '@mycelium/interface'
import type { Coverage } from './coverage.ts'

/**
 * Which features, faults above all, this seed has: each with a chance of a half, by itself. With
 * all of them in every seed they would hide each other (Groce et al., "Swarm Testing", 2012).
 * What was chosen is counted as `swarm: <name>`.
 */
export function chooseSwarm<Name extends string>(
  { random, coverage }: { readonly random: Random; readonly coverage: Coverage },
  names: readonly Name[],
): ReadonlySet<Name> {
  const chosen = new Set<Name>()
  for (const name of names) {
    // By a stream of its own: a new name changes nothing for the others.
    if (random.fork(`swarm ${name}`).below(2) === 0) continue
    chosen.add(name)
    coverage.hit(`swarm: ${name}`)
  }
  return chosen
}
