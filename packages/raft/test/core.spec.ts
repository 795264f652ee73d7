/** The parts of the core, each alone. */
import { createSeededRandom } from '@mycelium/simulator'
import { describe, expect, it } from 'vitest'
import { Inflights, Progress } from '../src/core/progress.ts'
import { ReadQueue, Rounds } from '../src/core/reads.ts'
import { RaftLog } from '../src/core/log.ts'
import { Unstable } from '../src/core/unstable.ts'
import {
  type Entry,
  InvariantError,
  type Membership,
  MemoryStorage,
  RawNode,
  type RaftInit,
} from '../src/index.ts'

const entry = (term: number, index: number, bytes = 0): Entry => {
  return { term, index, kind: 'normal', data: new Uint8Array(bytes) }
}
const entries = (...terms: number[]): Entry[] => terms.map((term, at) => entry(term, at + 1))
const membership: Membership = {
  voters: ['a'],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
}
const snapshotAt = (term: number, index: number) => {
  return { id: { term, index }, membership, data: new Uint8Array() }
}

describe('inflights', () => {
  it('are full by count and by bytes, and free what has arrived', () => {
    const inflights = new Inflights({ countMax: 2, bytesMax: 100 })
    inflights.add(1, 10)
    expect(inflights.isFull).toBe(false)
    inflights.add(3, 10)
    expect(inflights.isFull).toBe(true)
    inflights.free(2)
    expect([inflights.count, inflights.isFull]).toEqual([1, false])
    inflights.add(4, 90)
    expect(inflights.isFull).toBe(true)
    inflights.free(4)
    expect(inflights.count).toBe(0)
    inflights.add(5, 100)
    expect(inflights.isFull).toBe(true)
    inflights.reset()
    expect([inflights.count, inflights.isFull]).toEqual([0, false])
  })
})

describe('progress', () => {
  const make = (next = 5) => {
    const inflights = new Inflights({ countMax: 2, bytesMax: 1_000 })
    return new Progress({ next, isLearner: false, inflights })
  }

  it('probes one append at a time', () => {
    const progress = make()
    progress.sent(0, 0)
    expect(progress.isPaused).toBe(false)
    progress.sent(3, 10)
    expect([progress.isPaused, progress.next]).toEqual([true, 5])
    expect(progress.acknowledged(7)).toBe(true)
    expect([progress.isPaused, progress.match, progress.next]).toEqual([false, 7, 8])
    expect(progress.acknowledged(7)).toBe(false)
  })

  it('replicates without waiting, until the window is full', () => {
    const progress = make()
    progress.acknowledged(4)
    progress.becomeReplicate()
    progress.sent(1, 10)
    expect([progress.next, progress.isPaused]).toEqual([6, false])
    progress.sent(2, 10)
    expect([progress.next, progress.isPaused]).toEqual([8, true])
  })

  it('goes back to what is refused, never before what matches; old answers do nothing', () => {
    const progress = make(10)
    progress.acknowledged(3)
    expect(progress.refused(4, 2)).toBe(false)
    expect(progress.refused(9, 6)).toBe(true)
    expect(progress.next).toBe(7)
    expect(progress.refused(6, 1)).toBe(true)
    expect(progress.next).toBe(4)
    progress.becomeReplicate()
    progress.sent(3, 10)
    expect(progress.refused(3, 3)).toBe(false)
    expect(progress.refused(5, 5)).toBe(true)
    expect(progress.next).toBe(4)
  })

  it('sends nothing but the snapshot, then what follows it', () => {
    const progress = make(3)
    progress.becomeSnapshot(20)
    expect([progress.isPaused, progress.next]).toEqual([true, 21])
    progress.becomeProbe()
    expect([progress.state, progress.next, progress.isPaused]).toEqual(['probe', 21, false])
  })

  it('a higher commit index is worth a message if it can be used', () => {
    const progress = make(5)
    expect(progress.canRaiseCommit(3)).toBe(true)
    progress.sentCommit = 3
    expect(progress.canRaiseCommit(3)).toBe(false)
    progress.sentCommit = 4
    expect(progress.canRaiseCommit(9)).toBe(false)
  })
})

describe('reads', () => {
  it('are confirmed by their round and by later ones, in order', () => {
    const reads = new ReadQueue()
    const read = (round: number) => {
      return { context: Uint8Array.of(round), index: 1, from: 'a', round }
    }
    for (const round of [1, 1, 2, 4]) reads.add(read(round))
    expect(reads.take(0)).toEqual([])
    expect(reads.take(2)).toEqual([read(1), read(1), read(2)])
    expect(reads.count).toBe(1)
    expect(reads.take(9)).toEqual([read(4)])
  })

  it('rounds know when they began, for as long as that is of use', () => {
    const rounds = new Rounds(10)
    expect([rounds.begin(1), rounds.begin(1), rounds.begin(5)]).toEqual([1, 2, 3])
    expect([0, 1, 2, 3, 4].map((round) => rounds.tickOf(round))).toEqual([undefined, 1, 1, 5, 5])
    rounds.begin(12)
    expect([rounds.tickOf(2), rounds.tickOf(3), rounds.tickOf(4)]).toEqual([undefined, 5, 12])
  })
})

describe('unstable', () => {
  it('gives out each entry once, and forgets what is durable', () => {
    const unstable = new Unstable(1)
    unstable.append(entries(1, 1))
    expect(unstable.nextEntries).toEqual(entries(1, 1))
    unstable.accept()
    expect(unstable.hasNext).toBe(false)
    unstable.append([entry(1, 3)])
    expect(unstable.nextEntries).toEqual([entry(1, 3)])
    unstable.stableTo({ term: 1, index: 2 })
    expect([unstable.offset, unstable.lastIndex]).toEqual([3, 3])
    expect(unstable.nextEntries).toEqual([entry(1, 3)])
  })

  it('what was replaced is not made durable by what was on its way before', () => {
    const unstable = new Unstable(1)
    unstable.append(entries(1, 1, 1))
    unstable.accept()
    unstable.append([entry(2, 2)])
    expect(unstable.nextEntries).toEqual([entry(2, 2)])
    unstable.stableTo({ term: 1, index: 3 })
    expect(unstable.offset).toBe(1)
    unstable.stableTo({ term: 1, index: 1 })
    expect(unstable.offset).toBe(2)
    unstable.append([entry(3, 1)])
    expect([unstable.offset, unstable.nextEntries]).toEqual([1, [entry(3, 1)]])
  })

  it('a snapshot comes before the entries after it', () => {
    const unstable = new Unstable(1)
    unstable.append(entries(1, 1))
    unstable.restore(snapshotAt(2, 9))
    expect([unstable.lastIndex, unstable.term(9), unstable.term(2)]).toEqual([9, 2, undefined])
    expect(unstable.nextSnapshot?.id.index).toBe(9)
    unstable.accept()
    expect(unstable.nextSnapshot).toBeUndefined()
    unstable.snapshotStableTo(8)
    expect(unstable.snapshot).toBeDefined()
    unstable.snapshotStableTo(9)
    expect(unstable.lastIndex).toBeUndefined()
  })
})

describe('log', () => {
  const make = (...terms: number[]) => {
    const storage = new MemoryStorage()
    storage.append(entries(...terms))
    return { storage, log: new RaftLog({ storage, applied: 0, applyingBytesMax: 40 }) }
  }

  it('takes what follows, keeps what it has, replaces what differs', () => {
    const { log } = make(1, 1)
    expect(log.offer({ term: 1, index: 2 }, [entry(2, 3)], 0)).toBe(3)
    expect(log.offer({ term: 0, index: 0 }, entries(1), 0)).toBe(1)
    expect(log.last).toEqual({ term: 2, index: 3 })
    expect(log.offer({ term: 1, index: 1 }, [entry(3, 2)], 0)).toBe(2)
    expect(log.last).toEqual({ term: 3, index: 2 })
    expect(log.offer({ term: 9, index: 2 }, [], 0)).toBeUndefined()
    expect(log.offer({ term: 3, index: 7 }, [], 0)).toBeUndefined()
  })

  it('commits no further than what was compared', () => {
    const { log } = make(1, 1, 1)
    log.offer({ term: 1, index: 1 }, [entry(1, 2)], 3)
    expect(log.committed).toBe(2)
  })

  it('never replaces what is committed, nor commits what is not there', () => {
    const { log } = make(1, 1)
    log.commitTo(2)
    const replace = (): unknown => log.offer({ term: 1, index: 1 }, [entry(2, 2)], 0)
    expect(replace).toThrow(InvariantError)
    expect(() => log.append([entry(2, 2)])).toThrow(InvariantError)
    expect(() => log.commitTo(3)).toThrow('commit 3 is beyond the end 2: data was lost')
  })

  it('finds where two logs may agree, whole terms at a time', () => {
    const { log } = make(1, 1, 3, 3, 5)
    expect(log.agreementBefore({ term: 4, index: 5 })).toEqual({ term: 3, index: 4 })
    expect(log.agreementBefore({ term: 2, index: 4 })).toEqual({ term: 1, index: 2 })
    expect(log.agreementBefore({ term: 0, index: 4 })).toEqual({ term: 0, index: 0 })
  })

  it('reads over the border between what is durable and what is not, within bytes', () => {
    const { log } = make(1, 1)
    log.append([entry(2, 3), entry(2, 4)])
    expect(log.entries(1, 5, Infinity).map(({ index }) => index)).toEqual([1, 2, 3, 4])
    expect(log.entries(1, 5, 48).map(({ index }) => index)).toEqual([1, 2, 3])
    expect(log.entries(2, 5, 1).map(({ index }) => index)).toEqual([2])
    expect(() => log.entries(1, 6, 1)).toThrow(InvariantError)
  })

  it('gives out no more to be applied than may be under way', () => {
    const { log } = make(1, 1, 1, 1)
    log.commitTo(4)
    const first = log.nextCommitted(true)
    expect(first.map(({ index }) => index)).toEqual([1, 2])
    log.given(first)
    const second = log.nextCommitted(true)
    expect(second.map(({ index }) => index)).toEqual([3])
    log.given(second)
    expect([log.nextCommitted(true), log.hasNextCommitted(true)]).toEqual([[], false])
    log.appliedTo(2, 32)
    expect(log.nextCommitted(true).map(({ index }) => index)).toEqual([4])
    expect(() => log.appliedTo(1, 0)).toThrow(InvariantError)
  })
})

describe('memory storage', () => {
  it('keeps entries after its snapshot, and those before it until told', () => {
    const storage = new MemoryStorage()
    storage.append(entries(1, 1, 2))
    storage.keep(snapshotAt(1, 2))
    expect([storage.firstIndex, storage.lastIndex]).toEqual([1, 3])
    storage.compact(1)
    expect([storage.firstIndex, storage.term(1), storage.term(0)]).toEqual([2, 1, undefined])
    expect(() => storage.compact(3)).toThrow(InvariantError)
    expect(() => storage.append([entry(1, 1)])).toThrow(InvariantError)
    expect(() => storage.append([entry(1, 5)])).toThrow(InvariantError)
    storage.replace(snapshotAt(3, 9))
    expect([storage.firstIndex, storage.lastIndex, storage.term(9)]).toEqual([10, 9, 3])
  })
})

describe('raw node', () => {
  const random = createSeededRandom(1)
  const makeBoth = (init: Partial<RaftInit> = {}) => {
    const storage = new MemoryStorage({ snapshot: snapshotAt(1, 1) })
    const node = new RawNode('a', { random }, { storage, ...init })
    const persist = (): void => {
      const ready = node.ready()
      storage.persist(ready)
      node.persisted(ready.number)
    }
    return { node, persist }
  }
  const make = (init: Partial<RaftInit> = {}) => makeBoth(init).node

  it.each<[string, Partial<RaftInit>]>([
    ['electionTicks must be an integer of at least 1', { electionTicks: 0 }],
    ['electionTicks must be above 10', { heartbeatTicks: 10 }],
    ['inflightCountMax must be', { inflightCountMax: 0.5 }],
    ['appendBytesMax must be at most 16 MiB', { appendBytesMax: 2 ** 24 + 1 }],
    ['reads must be safe', { reads: 'lease', checkQuorum: false }],
    ['appliedIndex must be in 1..1, got 0', { appliedIndex: 0 }],
    ['appliedIndex must be in 1..1, got 2', { appliedIndex: 2 }],
  ])('refuses: %s', (words, init) => {
    expect(() => make(init)).toThrow(RangeError)
    expect(() => make(init)).toThrow(words)
  })

  it('begins where its snapshot ends, though the log begins before', () => {
    const storage = new MemoryStorage()
    storage.append(entries(1, 1, 1))
    storage.keep(snapshotAt(1, 2))
    storage.hardState = { term: 1, vote: undefined, commit: 3 }
    const node = new RawNode('a', { random }, { storage })
    expect(node.status()).toMatchObject({ applied: 2, commit: 3, membership })
  })

  it('a late word of the disk says nothing of entries that were replaced and came again', () => {
    const node = make({ isAsync: true })
    const feed = (term: number, list: readonly Entry[]) => {
      const previous = { term: 1, index: 1 }
      const rest = { previous, entries: list, commit: 1 }
      node.step({ type: 'append', from: 'b', to: 'a', term, ...rest })
      return node.ready()
    }
    const first = feed(2, [entry(2, 2)])
    feed(3, [entry(3, 2)])
    const last = feed(4, [entry(2, 2)])
    node.persisted(first.number)
    // It would be read from the storage, which may have the one of term 3 there.
    node.step({
      type: 'vote-response',
      from: 'b',
      to: 'a',
      term: 4,
      isGranted: true,
      commit: { term: 1, index: 1 },
    })
    expect(node.status().lastIndex).toBe(2)
    node.persisted(last.number)
    expect(last.entries).toEqual([entry(2, 2)])
  })

  it('does not stand for election while a committed change is not applied', () => {
    const { node, persist } = makeBoth({ isAsync: true, preVote: false })
    const change = { transition: 'auto', changes: [{ type: 'add-voter', id: 'c' }] } as const
    const list = [{ term: 2, index: 2, kind: 'change', change }] as const
    const previous = { term: 1, index: 1 }
    node.step({ type: 'append', from: 'b', to: 'a', term: 2, previous, entries: list, commit: 2 })
    persist()
    const ready = node.ready()
    node.campaign()
    expect(node.status().role).toBe('follower')
    for (const entry_ of ready.committed) if (entry_.kind === 'change') node.applyChange(entry_)
    node.applied(2)
    node.campaign()
    expect(node.status()).toMatchObject({ role: 'candidate', membership: { voters: ['a', 'c'] } })
  })

  it('a change applied after a newer snapshot has come leaves that one in force', () => {
    const { node, persist } = makeBoth({ isAsync: true })
    const change = { transition: 'auto', changes: [{ type: 'add-voter', id: 'c' }] } as const
    const list = [{ term: 2, index: 2, kind: 'change', change }] as const
    const head = { from: 'b', to: 'a', term: 2 }
    const previous = { term: 1, index: 1 }
    node.step({ ...head, type: 'append', previous, entries: list, commit: 2 })
    persist()
    const [late] = node.ready().committed
    const voters = ['a', 'd']
    const newer = { ...snapshotAt(2, 9), membership: { ...membership, voters } }
    node.step({ ...head, type: 'snapshot', snapshot: newer })
    if (late?.kind !== 'change') throw new Error('the change was not given out')
    expect(node.applyChange(late).voters).toEqual(['a', 'c'])
    expect(node.status().membership.voters).toEqual(voters)
    persist()
    expect(node.applyChange(late).voters).toEqual(voters)
    expect(node.status().membership.voters).toEqual(voters)
  })

  it('calls that come in the wrong order are refused', () => {
    const node = make()
    expect(() => node.advance()).toThrow(InvariantError)
    node.campaign()
    node.ready()
    expect(() => node.ready()).toThrow(InvariantError)
    expect(() => node.proposeAll([])).toThrow(RangeError)
    expect(() => node.readIndex(new Uint8Array(1_025))).toThrow(RangeError)
  })
})
