/**
 * Sentences of Ongaro, "Consensus: Bridging Theory and Practice", 2014, with the number of their
 * section. Without quotation marks: in our words.
 */
import { describe, expect, it } from 'vitest'
import type { Message, MessageType } from '../src/index.ts'
import { Group } from './group.ts'

const only = <Type extends MessageType>(
  messages: readonly Message[],
  type: Type,
): readonly (Message & { readonly type: Type })[] => {
  return messages.filter((message): message is Message & { type: Type } => message.type === type)
}
const PLAIN = { preVote: false, checkQuorum: false } as const

describe('thesis', () => {
  it(
    '3.10: "The prior leader sends a TimeoutNow request to the target ' +
      'server"; no requests then',
    () => {
      const group = Group.start('abc')
      group.elect('a')
      group.transfer('a', 'b')
      expect(() => group.propose('a', 'x')).toThrow('transferring')
      expect(only(group.out('a'), 'timeout-now')).toHaveLength(1)
    },
  )

  it('4.1: a server that was removed is not counted any more', () => {
    const group = Group.start('abc')
    group.elect('a')
    group.change('a', [{ type: 'remove', id: 'c' }])
    group.settle()
    group.cut('c')
    group.propose('a', 'x')
    group.settle()
    expect(group.texts('b')).toEqual(['x'])
  })

  it('4.2.1: a new server first joins without a vote', () => {
    const group = Group.start('ab', PLAIN)
    group.add('z')
    group.elect('a')
    group.change('a', [{ type: 'add-learner', id: 'z' }])
    group.settle()
    group.tick('a', 1)
    group.settle()
    group.propose('a', 'x')
    group.settle()
    expect(group.texts('z')).toEqual(['x'])
    group.cut('b')
    group.propose('a', 'y')
    group.settle()
    expect(group.texts('a')).toEqual(['x'])
  })

  it('4.2.2: a leader that is removed steps down once that is committed', () => {
    const group = Group.start('abc')
    group.elect('a')
    group.change('a', [{ type: 'remove', id: 'a' }])
    group.settle()
    expect(group.status('a')).toMatchObject({ role: 'follower', leader: undefined })
    expect(group.status('b').membership.voters).toEqual(['b', 'c'])
  })

  it(
    '4.2.3: "if a server receives a RequestVote request within the minimum ' +
      'election timeout of hearing from a current leader, it does not update ' +
      'its term or grant its vote"',
    () => {
      const group = Group.start('abc')
      group.elect('a')
      const last = { term: 9, index: 9 }
      group.step('b', { type: 'vote', from: 'c', to: 'b', term: 9, last, isTransfer: false })
      expect(group.status('b').term).toBe(2)
      expect(group.out('b')).toEqual([])
      group.step('b', { type: 'vote', from: 'c', to: 'b', term: 9, last, isTransfer: true })
      expect(group.status('b').term).toBe(9)
    },
  )

  it(
    '4.3: "Agreement (for elections and entry commitment) requires ' +
      'majorities from both the old and new configurations"',
    () => {
      const group = Group.start('abc')
      for (const id of 'de') group.add(id)
      group.elect('a')
      const changes = [
        { type: 'remove', id: 'b' },
        { type: 'remove', id: 'c' },
        { type: 'add-voter', id: 'd' },
        { type: 'add-voter', id: 'e' },
      ] as const
      group.change('a', changes, 'explicit')
      group.settle()
      group.tick('a', 1)
      group.settle()
      for (const id of 'bc') group.cut(id)
      group.propose('a', 'x')
      group.settle()
      expect(group.texts('d')).toEqual([])
      group.mend()
      group.tick('a', 1)
      group.settle()
      expect(group.texts('d')).toEqual(['x'])
    },
  )

  it(
    '6.2: "a leader steps down if an election timeout elapses without a ' +
      'successful round of heartbeats to a majority"',
    () => {
      const group = Group.start('abc')
      group.elect('a')
      for (const id of 'bc') group.cut(id)
      group.tick('a', 20)
      expect(group.status('a').role).toBe('follower')
    },
  )

  it(
    '6.4: "If the leader has not yet marked an entry from its current term ' +
      'committed, it waits until it has done so"',
    () => {
      const group = Group.start('abc', PLAIN)
      group.campaign('a')
      group.step('a', {
        type: 'vote-response',
        from: 'b',
        to: 'a',
        term: 2,
        isGranted: true,
        commit: { term: 1, index: 1 },
      })
      group.read('a', 'r')
      expect(only(group.out('a'), 'heartbeat')).toEqual([])
      group.step('a', { type: 'append-response', from: 'b', to: 'a', term: 2, index: 2 })
      expect(only(group.out('a'), 'heartbeat')).toHaveLength(2)
    },
  )

  it(
    '9.6: "a candidate only increments its term if it first learns from a ' +
      'majority of the cluster that they would be willing to grant the ' +
      'candidate their votes"',
    () => {
      const group = Group.start('abc')
      for (const id of 'bc') group.cut(id)
      group.tick('a', 100)
      group.settle()
      expect(group.status('a')).toMatchObject({ role: 'pre-candidate', term: 1 })
    },
  )

  it(
    '10.2.1: "the leader can write to its disk in parallel with replicating ' + 'to the followers"',
    () => {
      const group = Group.start('abc', { isAsync: true })
      group.elect('a')
      group.raw('a').propose(new Uint8Array(1))
      const ready = group.raw('a').ready()
      expect(only(ready.messages, 'append')).toHaveLength(2)
      expect(ready.mustSync).toBe(true)
    },
  )
})
