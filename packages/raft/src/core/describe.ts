/** One line for each thing, for people and for golden transcripts. */
import type {
  Entry,
  EntryId,
  HardState,
  Membership,
  MembershipChange,
  Message,
  Proposal,
  Ready,
  Snapshot,
  SoftState,
} from './types.ts'

/** Longest piece of data that is shown. */
const SHOWN_BYTES_MAX = 24

export function describeId({ term, index }: EntryId): string {
  return `${term}/${index}`
}

export function describeData(data: Uint8Array): string {
  const shown = [...data.subarray(0, SHOWN_BYTES_MAX)]
    .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${hex(byte)}`))
    .join('')
  const rest = data.byteLength - SHOWN_BYTES_MAX
  return `"${shown}"${rest > 0 ? `+${rest}` : ''}`
}

const hex = (byte: number): string => byte.toString(16).padStart(2, '0')

export function describeChange({ transition, changes }: MembershipChange): string {
  if (transition === 'auto' && changes.length === 0) return 'leave-joint'
  const marks = { 'add-voter': 'v', 'add-learner': 'l', remove: 'r' } as const
  const list = changes.map(({ type, id }) => `${marks[type]}${id}`).join(' ')
  return transition === 'auto' ? list : `${transition} ${list}`
}

export function describeProposal(proposal: Proposal): string {
  return proposal.kind === 'change'
    ? `change ${describeChange(proposal.change)}`
    : describeData(proposal.data)
}

export function describeEntry(entry: Entry): string {
  return `${describeId(entry)} ${describeProposal(entry)}`
}

export function describeMembership(membership: Membership): string {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = membership
  const parts = [`voters(${voters.join(' ')})`]
  if (votersOutgoing.length > 0) parts.push(`outgoing(${votersOutgoing.join(' ')})`)
  if (learners.length > 0) parts.push(`learners(${learners.join(' ')})`)
  if (learnersNext.length > 0) parts.push(`learners-next(${learnersNext.join(' ')})`)
  if (autoLeave) parts.push('auto-leave')
  return parts.join(' ')
}

export function describeSnapshot({ id, membership, data }: Snapshot): string {
  return `${describeId(id)} ${describeMembership(membership)} ${data.byteLength} bytes`
}

export function describeHardState({ term, vote, commit }: HardState): string {
  return `term ${term}${vote === undefined ? '' : ` vote ${vote}`} commit ${commit}`
}

export function describeSoftState({ role, leader }: SoftState): string {
  return `${role}${leader === undefined ? '' : ` of ${leader}`}`
}

export function describeMessage(message: Message): string {
  const { from, to, term, type } = message
  const head = `${from}->${to} ${type}${term === 0 ? '' : ` term ${term}`}`
  const rest = describeBody(message)
  return rest === '' ? head : `${head} ${rest}`
}

function describeBody(message: Message): string {
  switch (message.type) {
    case 'append': {
      const { previous, entries, commit } = message
      const list = entries.map(describeEntry).join(', ')
      return `after ${describeId(previous)} commit ${commit}${list === '' ? '' : ` [${list}]`}`
    }
    case 'append-response': {
      const { index, rejected } = message
      if (rejected === undefined) return `index ${index}`
      return `rejected ${index} hint ${describeId(rejected)}`
    }
    case 'heartbeat':
      return `commit ${message.commit} round ${message.round}`
    case 'heartbeat-response':
      return `round ${message.round}`
    case 'vote':
    case 'pre-vote':
      return `last ${describeId(message.last)}${message.isTransfer ? ' transfer' : ''}`
    case 'vote-response':
    case 'pre-vote-response':
      return `${message.isGranted ? 'granted' : 'refused'} commit ${describeId(message.commit)}`
    case 'snapshot':
      return describeSnapshot(message.snapshot)
    case 'timeout-now':
      return ''
    case 'transfer-leader':
      return `to ${message.transferee}`
    case 'propose':
      return `[${message.proposals.map(describeProposal).join(', ')}]`
    case 'read-index':
      return describeData(message.context)
    case 'read-index-response':
      return `${describeData(message.context)} at ${message.index}`
  }
}

/** Several lines, each without its end. */
export function describeReady(ready: Ready): readonly string[] {
  const { softState, hardState, entries, snapshot, committed, messages, afterPersist } = ready
  const lines: string[] = []
  const list = (title: string, items: readonly string[]): void => {
    if (items.length > 0) lines.push(`${title}:`, ...items.map((item) => `  ${item}`))
  }
  if (softState) lines.push(`state: ${describeSoftState(softState)}`)
  if (hardState) lines.push(`hard: ${describeHardState(hardState)}`)
  if (snapshot) lines.push(`snapshot: ${describeSnapshot(snapshot)}`)
  list('entries', entries.map(describeEntry))
  list('committed', committed.map(describeEntry))
  list('messages', messages.map(describeMessage))
  list('after persist', afterPersist.map(describeMessage))
  const reads = ready.readStates.map(({ context, index }) => `${describeData(context)} at ${index}`)
  list('reads', reads)
  return lines
}
