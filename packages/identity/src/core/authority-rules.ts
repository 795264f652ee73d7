/**
 * Who is an authority, as a function of a set of facts: the same set gives the same authorities,
 * in whatever order its facts came.
 *
 * - Genesis nodes are authorities. A fact counts if its issuer is one, all who signed it are, and
 *   enough of them: one for most facts, the network's threshold for those about authorities.
 * - `authority-removed` ends an authority for ever, under that key: its facts up to `lastNumber`
 *   go on counting, later ones do not. Of several removals the lowest number counts.
 * - Who was removed counts no more as a co-signer of what is dated after the removal.
 * - Two different facts of one issuer under one number: an `authority-added` among them does not
 *   count, an `authority-removed` does. Facts that expire do not take part in that.
 * - Removals may cut each other off: two authorities remove each other. Then those count that count
 *   without that. Of the others, one that takes away what makes its own issuer an authority does
 *   not count; then the most senior issuer's does, then again those do not count that take away
 *   what made that one count, and so on. Genesis nodes are senior to others, then lower keys to
 *   higher ones. If there are more than 16 in such circles, only the 16 most senior are considered.
 *
 * "Counts unless something that counts forbids it" is a logic program with negation; what is
 * computed is its well-founded model, by the alternating fixpoint (Van Gelder, Ross, Schlipf: "The
 * Well-Founded Semantics for General Logic Programs", Journal of the ACM 38(3), 1991).
 */
import { CIRCLES_MAX } from '../constants.ts'
import { textOf } from '../wire.ts'
import { isCoSigned } from './facts.ts'
import type { Fact, UnixSeconds } from './model.ts'

/** A fact whose signatures are valid. Keys are in hex. */
export interface SignedFact {
  /** SHA-256 of its envelope in hex. */
  readonly id: string
  readonly fact: Fact
  readonly issuer: string
  readonly signers: readonly string[]
  /** SHA-256 of its body in hex. */
  readonly hash: string
}

export interface AuthorityInit {
  /** In hex. */
  readonly genesisNodes: readonly string[]
  readonly threshold: number
}

export interface Authorities<T extends SignedFact> {
  /** Everybody who is or was one; who is here and not in `removed` is one at present. */
  readonly all: ReadonlySet<string>
  /** The lowest number from which its facts do not count any more is `lastNumber` + 1. */
  readonly removed: ReadonlyMap<string, Removal>
  /** Of the facts given, those that count or are evidence of a dispute. */
  readonly counting: ReadonlySet<T>
  /** Whoever could be an authority if nothing were forbidden: facts of others need no thought. */
  readonly candidates: ReadonlySet<string>
}

export interface Removal {
  readonly lastNumber: number
  readonly at: UnixSeconds
}

/** Name of an issuer's number. */
export const slotOf = ({ issuer, fact }: SignedFact): string => `${issuer}:${fact.number}`

/** Whether it bears witness that its issuer said different things under one number. */
export const isLasting = ({ fact }: SignedFact): boolean => fact.expiresAt === undefined

/**
 * The authorities.
 *
 * @param facts - those about authorities, and the lasting ones that share a number with one.
 *   Time: the number of facts times the depth to which they depend on each other.
 */
export function evaluateAuthorities<T extends SignedFact>(
  facts: readonly T[],
  init: AuthorityInit,
): Authorities<T> {
  const program = new Program(facts, init)
  const nothing: ReadonlySet<T> = new Set()
  const { authorities: candidates } = program.derive(nothing, { tried: nothing, barred: nothing })
  // Of removals whose counting depends on their not counting.
  const choice = { tried: new Set<T>(), barred: new Set<T>() }
  for (;;) {
    const { most, least } = wellFounded(program, choice)
    const undecided = [...most.facts]
      .filter((fact) => isRemoval(fact) && !least.facts.has(fact) && !choice.tried.has(fact))
      .toSorted((one, other) => program.compareSeniority(one, other))
    const [senior] = undecided
    if (senior === undefined) {
      const removed = removalsOf([...least.facts, ...choice.tried])
      const evidence = program.evidenceFor(least, removed)
      const counting = new Set([...least.facts, ...evidence])
      return { all: least.authorities, removed, counting, candidates }
    }
    const absurd = [
      ...undecided.slice(CIRCLES_MAX),
      ...undecided.slice(0, CIRCLES_MAX).filter((fact) => !isTenable(program, choice, fact)),
    ]
    // Some of the rest may not be in doubt without these.
    if (absurd.length > 0) for (const fact of absurd) choice.barred.add(fact)
    else choice.tried.add(senior)
  }
}

/** Whether a removal, and those tried before it, still can count with all that it forbids. */
function isTenable<T extends SignedFact>(
  program: Program<T>,
  { tried, barred }: Choice<T>,
  fact: T,
): boolean {
  const all = new Set([...tried, fact])
  const { most } = wellFounded(program, { tried: all, barred })
  return [...all].every((one) => most.facts.has(one))
}

interface Choice<T> {
  /** Removals that forbid what they forbid; they still have to follow from the rest. */
  readonly tried: ReadonlySet<T>
  /** Removals that do not count. */
  readonly barred: ReadonlySet<T>
}

/** What counts for sure, and what might: equal if nothing depends on its own negation. */
function wellFounded<T extends SignedFact>(
  program: Program<T>,
  choice: Choice<T>,
): { readonly most: Derived<T>; readonly least: Derived<T> } {
  let most = program.derive(new Set(), choice)
  let least = program.derive(most.facts, choice)
  for (;;) {
    const [mostSize, leastSize] = [most.facts.size, least.facts.size]
    most = program.derive(least.facts, choice)
    least = program.derive(most.facts, choice)
    if (most.facts.size === mostSize && least.facts.size === leastSize) return { most, least }
  }
}

/** How keys, hashes and ids stand in sets and maps. */
export const hexOf = (bytes: Uint8Array): string => textOf(bytes, 'hex')

const isRemoval = ({ fact }: SignedFact): boolean => fact.statement.kind === 'authority-removed'

function removalsOf(facts: Iterable<SignedFact>): ReadonlyMap<string, Removal> {
  const removals = new Map<string, Removal>()
  for (const { fact } of facts) {
    const { statement, at } = fact
    if (statement.kind !== 'authority-removed') continue
    const node = hexOf(statement.node)
    const before = removals.get(node)
    removals.set(node, {
      lastNumber: Math.min(before?.lastNumber ?? Infinity, statement.lastNumber),
      at: Math.min(before?.at ?? Infinity, at),
    })
  }
  return removals
}

/** Slots in which lasting facts with different bodies stand. */
export function conflictsOf(facts: Iterable<SignedFact>): ReadonlySet<string> {
  const hashes = new Map<string, string>()
  const conflicts = new Set<string>()
  for (const fact of facts) {
    if (!isLasting(fact)) continue
    const slot = slotOf(fact)
    if ((hashes.get(slot) ?? fact.hash) !== fact.hash) conflicts.add(slot)
    hashes.set(slot, fact.hash)
  }
  return conflicts
}

interface Derived<T> {
  readonly authorities: ReadonlySet<string>
  readonly facts: ReadonlySet<T>
}

class Program<T extends SignedFact> {
  readonly #init: AuthorityInit
  readonly #genesisNodes: ReadonlySet<string>
  readonly #bySigner = new Map<string, T[]>()
  /** Slots in which an issuer said different things, whether or not enough others signed them. */
  readonly #disputed = new Map<string, T[]>()

  constructor(facts: readonly T[], init: AuthorityInit) {
    this.#init = init
    this.#genesisNodes = new Set(init.genesisNodes)
    for (const fact of facts) {
      for (const signer of fact.signers) {
        const signed = this.#bySigner.get(signer)
        if (signed === undefined) this.#bySigner.set(signer, [fact])
        else signed.push(fact)
      }
    }
    for (const slot of conflictsOf(facts)) this.#disputed.set(slot, [])
    for (const fact of facts) this.#disputed.get(slotOf(fact))?.push(fact)
  }

  /**
   * What follows from the genesis if the facts assumed, and those tried, forbid what they forbid.
   * The more is assumed, the less follows.
   */
  derive(assumed: ReadonlySet<T>, { tried, barred }: Choice<T>): Derived<T> {
    const removals = removalsOf([...assumed, ...tried])
    const authorities = new Set(this.#genesisNodes)
    const facts = new Set<T>()
    const fresh = [...this.#genesisNodes]
    for (let key = fresh.pop(); key !== undefined; key = fresh.pop()) {
      for (const signed of this.#bySigner.get(key) ?? []) {
        if (facts.has(signed) || barred.has(signed)) continue
        if (!this.#counts(signed, authorities, removals)) continue
        facts.add(signed)
        const { statement } = signed.fact
        if (statement.kind !== 'authority-added' || this.#disputed.has(slotOf(signed))) continue
        const node = hexOf(statement.node)
        if (authorities.has(node)) continue
        authorities.add(node)
        fresh.push(node)
      }
    }
    return { authorities, facts }
  }

  #counts(
    { fact, issuer, signers }: T,
    authorities: ReadonlySet<string>,
    removals: ReadonlyMap<string, Removal>,
  ): boolean {
    if (fact.number > (removals.get(issuer)?.lastNumber ?? Infinity)) return false
    if (!signers.every((signer) => authorities.has(signer))) return false
    if (!isCoSigned(fact.statement)) return true
    const counted = signers.filter(
      (signer) => signer === issuer || fact.at <= (removals.get(signer)?.at ?? Infinity),
    )
    return counted.length >= this.#init.threshold
  }

  /** Where something that an authority said counts, one envelope of all else that it said there. */
  evidenceFor({ authorities, facts }: Derived<T>, removed: ReadonlyMap<string, Removal>): T[] {
    return [...this.#disputed.values()].flatMap((disputed) => {
      if (!disputed.some((signed) => facts.has(signed))) return []
      const byHash = new Map<string, T>()
      for (const signed of disputed.toSorted((one, other) => compareTexts(one.id, other.id))) {
        const last = removed.get(signed.issuer)?.lastNumber ?? Infinity
        if (!authorities.has(signed.issuer) || signed.fact.number > last) return []
        const known = byHash.get(signed.hash)
        if (known === undefined || (facts.has(signed) && !facts.has(known))) {
          byHash.set(signed.hash, signed)
        }
      }
      return [...byHash.values()]
    })
  }

  compareSeniority(one: T, other: T): number {
    const rank = ({ issuer }: T): number => (this.#genesisNodes.has(issuer) ? 0 : 1)
    return (
      rank(one) - rank(other) ||
      compareTexts(one.issuer, other.issuer) ||
      one.fact.number - other.fact.number ||
      compareTexts(one.hash, other.hash)
    )
  }
}

const compareTexts = (one: string, other: string): number =>
  one === other ? 0 : one < other ? -1 : 1
