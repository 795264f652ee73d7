/**
 * One test for each sentence of Ongaro and Ousterhout, "In Search of an Understandable Consensus
 * Algorithm (Extended Version)", 2014.
 */
import { describe, expect, it } from 'vitest'
import type { Entry, Message, MessageType } from '../src/index.ts'
import { Group } from './group.ts'

const entry = (term: number, index: number, text = ''): Entry => {
  return { term, index, kind: 'normal', data: new TextEncoder().encode(text) }
}
const only = <Type extends MessageType>(
  messages: readonly Message[],
  type: Type,
): readonly (Message & { readonly type: Type })[] => {
  return messages.filter((message): message is Message & { type: Type } => message.type === type)
}
const PLAIN = { preVote: false, checkQuorum: false } as const

describe('paper, figure 2: rules for all servers', () => {
  it(
    '"If RPC request or response contains term T > currentTerm: set ' +
      'currentTerm = T, convert to follower"',
    () => {
      const group = Group.start('abc', PLAIN)
      group.elect('a')
      group.step('a', { type: 'append-response', from: 'b', to: 'a', term: 9, index: 0 })
      expect(group.status('a')).toMatchObject({ role: 'follower', term: 9 })
    },
  )

  it('"If commitIndex > lastApplied: increment lastApplied, apply log[lastApplied]"', () => {
    const group = Group.start('abc', PLAIN)
    group.elect('a')
    group.propose('a', 'x')
    group.settle()
    expect(group.texts('c')).toEqual(['x'])
  })
})

describe('paper, figure 2: RequestVote', () => {
  const vote = (term: number, last: { term: number; index: number }, from = 'b'): Message => {
    return { type: 'vote', from, to: 'a', term, last, isTransfer: false }
  }
  const answer = (group: Group, message: Message): boolean | undefined => {
    group.step('a', message)
    return only(group.out('a'), 'vote-response')[0]?.isGranted
  }

  it('"Reply false if term < currentTerm" (here: no reply, which counts for as little)', () => {
    const group = Group.start('abc', PLAIN)
    group.elect('a')
    expect(answer(group, vote(1, { term: 9, index: 9 }))).toBeUndefined()
  })

  it(
    '"If votedFor is null or candidateId, and candidate’s log is at least ' +
      'as up-to-date as receiver’s log, grant vote"',
    () => {
      const group = Group.start('abc', PLAIN)
      expect(answer(group, vote(2, { term: 1, index: 1 }))).toBe(true)
      expect(answer(group, vote(2, { term: 1, index: 1 }))).toBe(true)
      expect(answer(group, vote(2, { term: 1, index: 1 }, 'c'))).toBe(false)
      expect(answer(group, vote(3, { term: 0, index: 0 }, 'c'))).toBe(false)
    },
  )

  it(
    '"If the logs have last entries with different terms, then the log with ' +
      'the later term is more up-to-date" (5.4.1)',
    () => {
      const group = Group.start('abc', PLAIN)
      group.feed('a', { term: 1, index: 1 }, [entry(2, 2)], { from: 'c', term: 2 })
      expect(answer(group, vote(3, { term: 1, index: 99 }))).toBe(false)
      expect(answer(group, vote(4, { term: 2, index: 2 }))).toBe(true)
    },
  )

  it(
    '"If the logs end with the same term, then whichever log is longer is ' +
      'more up-to-date" (5.4.1)',
    () => {
      const group = Group.start('abc', PLAIN)
      group.feed('a', { term: 1, index: 1 }, [entry(2, 2), entry(2, 3)], { from: 'c', term: 2 })
      expect(answer(group, vote(3, { term: 2, index: 2 }))).toBe(false)
      expect(answer(group, vote(4, { term: 2, index: 4 }))).toBe(true)
    },
  )

  it(
    '"each server will vote for at most one candidate in a given term", ' +
      'also after a crash (5.2)',
    () => {
      const group = Group.start('abc', PLAIN)
      expect(answer(group, vote(2, { term: 1, index: 1 }))).toBe(true)
      group.restart('a')
      expect(answer(group, vote(2, { term: 1, index: 1 }, 'c'))).toBe(false)
    },
  )
})

describe('paper, figure 2: AppendEntries', () => {
  it('"Reply false if term < currentTerm": it is told the newer term', () => {
    const group = Group.start('abc')
    group.elect('a')
    group.elect('b')
    group.feed('c', { term: 2, index: 2 }, [], { from: 'a', term: 2 })
    const [reply] = only(group.out('c'), 'append-response')
    expect(reply).toMatchObject({ to: 'a', term: 3, index: 0 })
  })

  it(
    '"Reply false if log doesn’t contain an entry at prevLogIndex whose ' +
      'term matches prevLogTerm"',
    () => {
      const group = Group.start('abc')
      group.feed('a', { term: 2, index: 5 }, [], { from: 'b', term: 2 })
      const [reply] = only(group.out('a'), 'append-response')
      expect(reply).toMatchObject({ index: 5, rejected: { term: 1, index: 1 } })
    },
  )

  it(
    '"If an existing entry conflicts with a new one, delete the existing ' +
      'entry and all that follow it"',
    () => {
      const group = Group.start('abc')
      group.feed('a', { term: 1, index: 1 }, [entry(2, 2), entry(2, 3)], { from: 'b', term: 2 })
      group.feed('a', { term: 1, index: 1 }, [entry(3, 2)], { from: 'c', term: 3 })
      expect(group.terms('a')).toEqual([3])
    },
  )

  it(
    '"Append any new entries not already in the log": what it has already ' +
      'stays, and what follows',
    () => {
      const group = Group.start('abc')
      const all = [entry(2, 2), entry(2, 3), entry(2, 4)]
      group.feed('a', { term: 1, index: 1 }, all, { from: 'b', term: 2 })
      group.feed('a', { term: 1, index: 1 }, all.slice(0, 1), { from: 'b', term: 2 })
      expect(group.terms('a')).toEqual([2, 2, 2])
    },
  )

  it('"set commitIndex = min(leaderCommit, index of last new entry)"', () => {
    const group = Group.start('abc')
    group.feed('a', { term: 1, index: 1 }, [entry(2, 2), entry(2, 3)], { from: 'b', term: 2 })
    const late = { from: 'c', term: 3, commit: 3 }
    group.feed('a', { term: 1, index: 1 }, [], late)
    expect(group.status('a').commit).toBe(1)
    group.feed('a', { term: 2, index: 2 }, [], late)
    expect(group.status('a').commit).toBe(2)
  })
})

describe('paper, section 5.2: elections', () => {
  it(
    '"If a follower receives no communication over a period of time called ' +
      'the election timeout, ... begins an election"',
    () => {
      const group = Group.start('abc', PLAIN)
      group.tick('a', 20)
      expect(group.status('a').role).toBe('candidate')
    },
  )

  it(
    '"it increments its current term ... votes for itself and issues ' +
      'RequestVote RPCs to each of the other servers"',
    () => {
      const group = Group.start('abc', PLAIN)
      group.campaign('a')
      const votes = only(group.out('a'), 'vote')
      expect(votes.map(({ to, term }) => [to, term])).toEqual([
        ['b', 2],
        ['c', 2],
      ])
      expect(group.storage('a').hardState).toEqual({ term: 2, vote: 'a', commit: 1 })
    },
  )

  it('"A candidate wins an election if it receives votes from a majority of the servers"', () => {
    const group = Group.start('abcde', PLAIN)
    group.campaign('a')
    const grant = (from: string) => {
      group.step('a', {
        type: 'vote-response',
        from,
        to: 'a',
        term: 2,
        isGranted: true,
        commit: { term: 1, index: 1 },
      })
    }
    grant('b')
    grant('b')
    expect(group.status('a').role).toBe('candidate')
    grant('c')
    expect(group.status('a').role).toBe('leader')
  })

  it(
    '"If the leader’s term is at least as large as the candidate’s current ' +
      'term, then the candidate recognizes the leader"',
    () => {
      const group = Group.start('abc', PLAIN)
      group.campaign('a')
      group.feed('a', { term: 1, index: 1 }, [], { from: 'b', term: 2 })
      expect(group.status('a')).toMatchObject({ role: 'follower', leader: 'b' })
    },
  )

  it(
    '"If the term in the RPC is smaller than the candidate’s current term, ' +
      'then the candidate rejects the RPC"',
    () => {
      const group = Group.start('abc', PLAIN)
      group.campaign('a')
      group.feed('a', { term: 1, index: 1 }, [], { from: 'b', term: 1 })
      expect(group.status('a').role).toBe('candidate')
    },
  )

  it('"each candidate will time out and start a new election by incrementing its term"', () => {
    const group = Group.start('abc', PLAIN)
    group.campaign('a')
    const { term } = group.status('a')
    for (let ticks = 0; group.status('a').term === term; ticks++) {
      expect(ticks).toBeLessThan(20)
      group.tick('a', 1)
    }
    expect(group.status('a')).toMatchObject({ role: 'candidate', term: term + 1 })
  })

  it('"election timeouts are chosen randomly from a fixed interval"', () => {
    const timeouts = new Set<number>()
    for (let seed = 1; seed <= 100; seed++) {
      const group = Group.start('abc', PLAIN, seed)
      let ticks = 0
      for (; group.status('a').role === 'follower'; ticks++) group.tick('a', 1)
      timeouts.add(ticks)
    }
    expect([...timeouts].sort((one, other) => one - other)).toEqual(
      Array.from({ length: 10 }, (_, at) => 10 + at),
    )
  })
})

describe('paper, sections 5.3 and 5.4: logs', () => {
  it(
    '"A log entry is committed once the leader that created the entry has ' +
      'replicated it on a majority"',
    () => {
      const group = Group.start('abc')
      group.elect('a')
      group.propose('a', 'x')
      group.pump('a')
      expect(group.status('a').commit).toBe(2)
      group.deliver('b')
      group.deliver('a')
      expect(group.status('a').commit).toBe(3)
    },
  )

  it(
    '"The leader maintains a nextIndex for each follower ... initializes ' +
      'all nextIndex values to the index just after the last one in its log"',
    () => {
      const group = Group.start('abc')
      group.elect('a')
      group.propose('a', 'x')
      group.settle()
      group.elect('b')
      expect(group.status('b').progress.get('c')?.match).toBe(4)
    },
  )

  it(
    '"a leader never overwrites or deletes entries in its log; it only ' + 'appends new entries"',
    () => {
      const group = Group.start('abc')
      group.elect('a')
      group.feed('a', { term: 1, index: 1 }, [entry(2, 2, 'other')], { from: 'b', term: 2 })
      expect(group.terms('a')).toEqual([2])
      expect(group.status('a').role).toBe('leader')
    },
  )

  it(
    '"only log entries from the leader’s current term are committed by ' +
      'counting replicas" (5.4.2)',
    () => {
      const group = Group.start('abc', PLAIN)
      group.feed('a', { term: 1, index: 1 }, [entry(2, 2)], { from: 'b', term: 2 })
      group.campaign('a')
      group.step('a', {
        type: 'vote-response',
        from: 'c',
        to: 'a',
        term: 3,
        isGranted: true,
        commit: { term: 1, index: 1 },
      })
      group.step('a', { type: 'append-response', from: 'c', to: 'a', term: 3, index: 2 })
      expect(group.status('a').commit).toBe(1)
      group.step('a', { type: 'append-response', from: 'c', to: 'a', term: 3, index: 3 })
      expect(group.status('a').commit).toBe(3)
    },
  )

  it('"Raft RPCs are idempotent" (5.5)', () => {
    const group = Group.start('abc')
    for (let times = 0; times < 3; times++) {
      const leader = { from: 'b', term: 2, commit: 2 }
      group.feed('a', { term: 1, index: 1 }, [entry(2, 2, 'x')], leader)
    }
    expect(group.texts('a')).toEqual(['x'])
  })
})

describe('paper, section 7: snapshots', () => {
  it(
    '"the leader must occasionally send snapshots to followers that lag ' +
      'behind"; "the follower discards its entire log"',
    () => {
      const group = Group.start('abc')
      group.elect('a')
      group.cut('c')
      group.propose('a', 'x')
      group.settle()
      group.compact('a')
      group.mend()
      group.tick('a', 1)
      group.settle()
      expect(group.texts('c')).toEqual(['x'])
      expect(group.storage('c').firstIndex).toBe(4)
    },
  )

  it(
    '"If instead the follower receives a snapshot that describes a prefix ' +
      'of its log, entries following the snapshot are still valid and must be ' +
      'retained"',
    () => {
      const group = Group.start('abc')
      group.feed('a', { term: 1, index: 1 }, [entry(2, 2), entry(2, 3)], { from: 'b', term: 2 })
      const { membership } = group.storage('a')
      const snapshot = { id: { term: 2, index: 2 }, membership, data: new Uint8Array() }
      group.step('a', { type: 'snapshot', from: 'b', to: 'a', term: 2, snapshot })
      expect(group.terms('a')).toEqual([2, 2])
      expect(group.status('a').commit).toBe(2)
    },
  )
})

describe('paper, section 8: clients', () => {
  it(
    '"Raft handles this by having each leader commit a blank no-op entry ' +
      'into the log at the start of its term"',
    () => {
      const group = Group.start('abc')
      group.elect('a')
      expect(group.entries('b')).toEqual([entry(2, 2)])
    },
  )

  it(
    '"having the leader exchange heartbeat messages with a majority of the ' +
      'cluster before responding to read-only requests"',
    () => {
      const group = Group.start('abc')
      group.elect('a')
      group.read('a', 'r')
      expect(group.reads('a')).toEqual([])
      group.settle()
      expect(group.reads('a')).toEqual(['r at 2'])
    },
  )
})
