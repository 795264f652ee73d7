/** Values of the protocol for property tests. */
import fc from 'fast-check'
import type {
  Entry,
  LogRecord,
  Membership,
  Message,
  MembershipChange,
  Proposal,
  Snapshot,
} from '../src/index.ts'

const id = fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' })
const number = fc.oneof(fc.nat(300), fc.maxSafeNat())
const entryId = fc.record({ term: number, index: number })
const data = fc.uint8Array({ maxLength: 40 })

const change: fc.Arbitrary<MembershipChange> = fc.record(
  {
    transition: fc.constantFrom('auto', 'implicit', 'explicit'),
    changes: fc.array(
      fc.record({ type: fc.constantFrom('add-voter', 'add-learner', 'remove'), id }),
      { maxLength: 4 },
    ),
    context: data,
  },
  { requiredKeys: ['transition', 'changes'] },
)
const proposal: fc.Arbitrary<Proposal> = fc.oneof(
  fc.record({ kind: fc.constant('normal'), data }),
  fc.record({ kind: fc.constant('change'), change }),
)

/** That follow each other from `first` on. */
const entriesFrom = (first: number): fc.Arbitrary<readonly Entry[]> => {
  return fc
    .array(fc.tuple(number, proposal), { maxLength: 5 })
    .map((list) => list.map(([term, one], at) => ({ ...one, term, index: first + at })))
}
const index = fc.nat(2 ** 40)

const membership: fc.Arbitrary<Membership> = fc
  .uniqueArray(id, { minLength: 1, maxLength: 9 })
  .chain((ids) => fc.tuple(fc.constant(ids), fc.array(fc.nat(4), { maxLength: 9 }), fc.boolean()))
  .map(([ids, places, autoLeave]) => {
    const at = (...wanted: number[]): readonly string[] => {
      return ids.filter((_, index_) => wanted.includes(places[index_] ?? 0)).sort()
    }
    const votersOutgoing = at(1, 2, 3)
    const isJoint = votersOutgoing.length > 0
    return {
      voters: at(0, 1),
      votersOutgoing,
      learners: at(4),
      learnersNext: at(3),
      autoLeave: isJoint && autoLeave,
    }
  })

const snapshot: fc.Arbitrary<Snapshot> = fc.record({ id: entryId, membership, data })

const body = fc.oneof(
  index.chain((at) =>
    fc.record({
      type: fc.constant('append'),
      previous: fc.record({ term: number, index: fc.constant(at) }),
      entries: entriesFrom(at + 1),
      commit: number,
    }),
  ),
  fc.record(
    { type: fc.constant('append-response'), index: number, rejected: entryId },
    { requiredKeys: ['type', 'index'] },
  ),
  fc.record({ type: fc.constant('heartbeat'), commit: number, round: number }),
  fc.record({ type: fc.constant('heartbeat-response'), round: number }),
  fc.record({
    type: fc.constantFrom('vote', 'pre-vote'),
    last: entryId,
    isTransfer: fc.boolean(),
  }),
  fc.record({
    type: fc.constantFrom('vote-response', 'pre-vote-response'),
    isGranted: fc.boolean(),
    commit: entryId,
  }),
  fc.record({ type: fc.constant('snapshot'), snapshot }),
  fc.record({ type: fc.constant('timeout-now') }),
  fc.record({ type: fc.constant('transfer-leader'), transferee: id }),
  fc.record({ type: fc.constant('propose'), proposals: fc.array(proposal, { maxLength: 4 }) }),
  fc.record({ type: fc.constant('read-index'), context: data }),
  fc.record({ type: fc.constant('read-index-response'), context: data, index: number }),
)

export const message: fc.Arbitrary<Message> = fc
  .tuple(fc.record({ from: id, to: id, term: number }), body)
  .map(([head, rest]) => ({ ...head, ...rest }) as Message)

export const record: fc.Arbitrary<LogRecord> = fc.record(
  {
    hardState: fc.record({ term: number, vote: fc.option(id, { nil: undefined }), commit: number }),
    snapshot,
    entries: index.chain((at) => entriesFrom(at + 1)),
  },
  { requiredKeys: ['entries'] },
)
