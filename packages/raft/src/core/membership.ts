/** Configurations and how they change: dissertation, chapter 4. Pure. */
import { MembershipChangeError } from '../errors.ts'
import type { Voters } from './quorum.ts'
import type { Membership, MembershipChange, RaftId, SingleChange } from './types.ts'

/** A {@link Membership} that questions can be asked of. Never changed in place. */
export interface Config extends Voters {
  readonly learners: ReadonlySet<RaftId>
  readonly learnersNext: ReadonlySet<RaftId>
  readonly autoLeave: boolean
}

export const EMPTY_MEMBERSHIP: Membership = Object.freeze({
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
})

export function isJoint({ outgoing }: Voters): boolean {
  return outgoing.size > 0
}

/** All voters, of both halves of a joint configuration. */
export function votersOf({ incoming, outgoing }: Voters): ReadonlySet<RaftId> {
  return new Set([...incoming, ...outgoing])
}

/** Voters and learners, ascending. */
export function membersOf(config: Config): readonly RaftId[] {
  return [...new Set([...votersOf(config), ...config.learners])].sort()
}

export function configOf(membership: Membership): Config {
  const config = {
    incoming: new Set(membership.voters),
    outgoing: new Set(membership.votersOutgoing),
    learners: new Set(membership.learners),
    learnersNext: new Set(membership.learnersNext),
    autoLeave: membership.autoLeave,
  }
  check(config)
  return config
}

export function membershipOf(config: Config): Membership {
  const sorted = (ids: ReadonlySet<RaftId>): readonly RaftId[] => [...ids].sort()
  return {
    voters: sorted(config.incoming),
    votersOutgoing: sorted(config.outgoing),
    learners: sorted(config.learners),
    learnersNext: sorted(config.learnersNext),
    autoLeave: config.autoLeave,
  }
}

/** Does `change` ask to leave the joint configuration? */
export function isLeave({ transition, changes }: MembershipChange): boolean {
  return transition === 'auto' && changes.length === 0
}

/** How `change` is made: at once, or through a joint configuration that is left how? */
function wayOf({ transition, changes }: MembershipChange): 'simple' | 'joint-auto' | 'joint' {
  if (transition === 'auto' && changes.length <= 1) return 'simple'
  return transition === 'explicit' ? 'joint' : 'joint-auto'
}

/**
 * The configuration after `change`.
 *
 * @throws {MembershipChangeError} it would leave no voter, overlap too little, or enter a joint
 *   configuration from one
 */
export function changed(config: Config, change: MembershipChange): Config {
  if (isLeave(change)) return leaveJoint(config)
  const way = wayOf(change)
  return way === 'simple'
    ? simple(config, change.changes)
    : enterJoint(config, change.changes, way === 'joint-auto')
}

/** One voter more or less: any two majorities meet (section 4.1). */
function simple(config: Config, changes: readonly SingleChange[]): Config {
  if (isJoint(config)) throw new MembershipChangeError('change must wait: a joint one is in force')
  const next = applied(config, changes)
  const differences = [...votersOf(config), ...next.incoming].filter(
    (id) => config.incoming.has(id) !== next.incoming.has(id),
  )
  if (new Set(differences).size > 1) {
    throw new MembershipChangeError('change must be joint: more than one voter changes')
  }
  return next
}

function enterJoint(config: Config, changes: readonly SingleChange[], autoLeave: boolean): Config {
  if (isJoint(config)) throw new MembershipChangeError('change must wait: a joint one is in force')
  if (config.incoming.size === 0) {
    throw new MembershipChangeError('change must not be joint: there are no voters')
  }
  const outgoing = new Set(config.incoming)
  return { ...applied({ ...config, outgoing }, changes), autoLeave }
}

function leaveJoint(config: Config): Config {
  if (!isJoint(config)) throw new MembershipChangeError('change must not leave: none is in force')
  const next = {
    incoming: config.incoming,
    outgoing: new Set<RaftId>(),
    learners: new Set([...config.learners, ...config.learnersNext]),
    learnersNext: new Set<RaftId>(),
    autoLeave: false,
  }
  check(next)
  return next
}

function applied(config: Config, changes: readonly SingleChange[]): Config {
  const incoming = new Set(config.incoming)
  const learners = new Set(config.learners)
  const learnersNext = new Set(config.learnersNext)
  const remove = (id: RaftId): void => {
    incoming.delete(id)
    learners.delete(id)
    learnersNext.delete(id)
  }
  for (const { type, id } of changes) {
    if (id === '') throw new MembershipChangeError('change must name a node')
    if (type === 'add-learner' && learners.has(id)) continue
    remove(id)
    if (type === 'add-voter') incoming.add(id)
    // A voter of the old configuration votes until that is left.
    else if (type === 'add-learner') (config.outgoing.has(id) ? learnersNext : learners).add(id)
  }
  if (incoming.size === 0) throw new MembershipChangeError('change must leave a voter')
  const next = { ...config, incoming, learners, learnersNext }
  check(next)
  return next
}

/** What holds for every configuration. */
function check({ incoming, outgoing, learners, learnersNext, autoLeave }: Config): void {
  for (const id of learnersNext) {
    if (!outgoing.has(id)) throw new MembershipChangeError(`${id} must be an outgoing voter`)
  }
  for (const id of learners) {
    if (incoming.has(id) || outgoing.has(id)) {
      throw new MembershipChangeError(`${id} must not be voter and learner`)
    }
  }
  if (outgoing.size === 0 && (learnersNext.size > 0 || autoLeave)) {
    throw new MembershipChangeError('only a joint configuration can be left')
  }
}
