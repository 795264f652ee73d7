import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { changed, configOf, isJoint, membershipOf } from '../src/core/membership.ts'
import { committedIndex, majorityVote, voteResult } from '../src/core/quorum.ts'
import {
  describeMembership,
  type Membership,
  type MembershipChange,
  MembershipChangeError,
} from '../src/index.ts'

const RUNS = 2_000
const IDS = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
const ids = fc.subarray(IDS).map((list) => new Set(list))

describe('quorums', () => {
  /** Every set of members that is more than half. */
  function majorities(of: ReadonlySet<string>): readonly (readonly string[])[] {
    const all = [...of]
    const subsets = Array.from({ length: 2 ** all.length }, (_, bits) => {
      return all.filter((_id, at) => bits & (1 << at))
    })
    return subsets.filter((subset) => subset.length * 2 > all.length)
  }
  const indexes = fc.dictionary(fc.constantFrom(...IDS), fc.nat(6))
  const votes = fc.dictionary(fc.constantFrom(...IDS), fc.boolean())

  it('what is committed is what all of some majority of each half have', () => {
    fc.assert(
      fc.property(ids, ids, indexes, (incoming, outgoing, has) => {
        const indexOf = (id: string): number => has[id] ?? 0
        const best = (of: ReadonlySet<string>): number => {
          if (of.size === 0) return Infinity
          return Math.max(...majorities(of).map((some) => Math.min(...some.map(indexOf))))
        }
        const expected = Math.min(best(incoming), best(outgoing))
        expect(committedIndex({ incoming, outgoing }, indexOf)).toBe(expected)
      }),
      { numRuns: RUNS },
    )
  })

  it('a vote is won, or lost whatever comes, or pending', () => {
    fc.assert(
      fc.property(ids, ids, votes, (incoming, outgoing, given) => {
        const map = new Map(Object.entries(given))
        const some = (of: ReadonlySet<string>, may: (id: string) => boolean): boolean => {
          return of.size === 0 || majorities(of).some((list) => list.every(may))
        }
        const isWon = (may: (id: string) => boolean) => some(incoming, may) && some(outgoing, may)
        const expected = isWon((id) => map.get(id) === true)
          ? 'won'
          : isWon((id) => map.get(id) !== false)
            ? 'pending'
            : 'lost'
        expect(voteResult({ incoming, outgoing }, map)).toBe(expected)
        if (outgoing.size === 0) expect(majorityVote(incoming, map)).toBe(expected)
      }),
      { numRuns: RUNS },
    )
  })
})

/** The same rules on plain lists, one member after the other. */
function dumbly(
  old: Membership,
  { transition, changes }: MembershipChange,
): Membership | undefined {
  const joint = old.votersOutgoing.length > 0
  if (transition === 'auto' && changes.length === 0) {
    if (!joint) return undefined
    const learners = [...old.learners, ...old.learnersNext].sort()
    return { voters: old.voters, votersOutgoing: [], learners, learnersNext: [], autoLeave: false }
  }
  if (joint) return undefined
  const role = new Map<string, 'voter' | 'learner'>()
  for (const id of old.voters) role.set(id, 'voter')
  for (const id of old.learners) role.set(id, 'learner')
  for (const { type, id } of changes) {
    if (type === 'remove') role.delete(id)
    else role.set(id, type === 'add-voter' ? 'voter' : 'learner')
  }
  const those = (wanted: string): readonly string[] => {
    return [...role].flatMap(([id, is]) => (is === wanted ? [id] : [])).sort()
  }
  const voters = those('voter')
  if (voters.length === 0) return undefined
  if (transition === 'auto' && changes.length === 1) {
    return {
      voters,
      votersOutgoing: [],
      learners: those('learner'),
      learnersNext: [],
      autoLeave: false,
    }
  }
  return {
    voters,
    votersOutgoing: old.voters,
    learners: those('learner').filter((id) => !old.voters.includes(id)),
    learnersNext: those('learner').filter((id) => old.voters.includes(id)),
    autoLeave: transition !== 'explicit',
  }
}

describe('membership', () => {
  const change: fc.Arbitrary<MembershipChange> = fc.record({
    transition: fc.constantFrom('auto', 'implicit', 'explicit'),
    changes: fc.array(
      fc.record({
        type: fc.constantFrom('add-voter', 'add-learner', 'remove'),
        id: fc.constantFrom(...IDS),
      }),
      { maxLength: 4 },
    ),
  })
  const start: Membership = {
    voters: ['a', 'b', 'c'],
    votersOutgoing: [],
    learners: ['d'],
    learnersNext: [],
    autoLeave: false,
  }

  it('changes as by a dumb implementation, and keeps what must hold', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
        let membership = start
        for (const one of changes) {
          const expected = dumbly(membership, one)
          const config = configOf(membership)
          if (expected === undefined) {
            expect(() => changed(config, one)).toThrow(MembershipChangeError)
            continue
          }
          const next = membershipOf(changed(config, one))
          expect(next, describeMembership(membership)).toEqual(expected)
          checkOverlap(membership, next)
          membership = next
        }
      }),
      { numRuns: RUNS },
    )
  })

  /** Any majority of one meets any majority of the other: nobody can be agreed on in both. */
  function checkOverlap(one: Membership, other: Membership): void {
    const configs = [configOf(one), configOf(other)] as const
    const members = [...new Set([...one.voters, ...other.voters, ...one.votersOutgoing])]
    for (let bits = 0; bits < 2 ** members.length; bits++) {
      const yes = new Map(members.map((id, at) => [id, (bits & (1 << at)) !== 0]))
      const no = new Map(members.map((id, at) => [id, (bits & (1 << at)) === 0]))
      const bothWin = voteResult(configs[0], yes) === 'won' && voteResult(configs[1], no) === 'won'
      expect(bothWin).toBe(false)
    }
    expect(isJoint(configs[0]) && isJoint(configs[1])).toBe(false)
  }

  it('refuses a name that is empty', () => {
    const nobody = { transition: 'auto', changes: [{ type: 'add-voter', id: '' }] } as const
    expect(() => changed(configOf(start), nobody)).toThrow('change must name a node')
  })
})
