/**
 * Looks every 10 s at what failed in the last minute, per source and in all, and says which of its
 * rules that breaks. Counts are integers; memory is bounded by {@link SOURCES_MAX}.
 */
import type { MonotonicMs } from '@mycelium/interface'
import type { RefusalReason } from './model.ts'

/** How often rules are looked at. */
export const ROUND_MS = 10_000
/** Rules count over so many rounds: a minute. */
const ROUNDS = 6
/** Addresses that are counted apart. Events of more count for all sources together only. */
export const SOURCES_MAX = 1_024
/** Findings of one round; what is above is counted in the metrics only. */
export const FINDINGS_MAX = 32
/** The source of a finding about all addresses together: who attacks from many. */
export const ALL_SOURCES = 'all'

export type SecurityCause =
  /** Somebody could not prove to be a member. */
  | 'authentication'
  /** A signature, or another proof of possession, was wrong: not a mistake of a person. */
  | 'signature'
  /** Something was shown again that counts once. */
  | 'replay'
  /** What cannot be read, takes too long or comes too often. */
  | 'abuse'

export interface SecurityEvent {
  readonly cause: SecurityCause
  /** Address without its port. */
  readonly source: string
}

export type SecurityRule = 'authentication' | 'signature' | 'replay' | 'rate'

export interface SecurityFinding {
  readonly rule: SecurityRule
  /** An address, or `all`. */
  readonly source: string
  /** Events of the last minute. */
  readonly count: number
}

export interface SecurityMetrics {
  readonly eventsTotal: Readonly<Record<SecurityCause, number>>
  readonly findingsTotal: Readonly<Record<SecurityRule, number>>
  /** Addresses that are counted at present. */
  readonly sources: number
  /** Events whose address found no place. */
  readonly sourcelessTotal: number
}

const CAUSES: readonly SecurityCause[] = ['authentication', 'signature', 'replay', 'abuse']

/**
 * Events of a minute that break a rule: of one source, and of all. Lower: found sooner, and people
 * who mistype a token are found too. A node that retries with a certificate that ran out makes up
 * to 6 a minute.
 */
export const RULES: readonly {
  readonly rule: SecurityRule
  readonly causes: readonly SecurityCause[]
  readonly perSource: number
  readonly inAll: number
}[] = [
  { rule: 'authentication', causes: ['authentication'], perSource: 10, inAll: 100 },
  { rule: 'signature', causes: ['signature'], perSource: 3, inAll: 10 },
  { rule: 'replay', causes: ['replay'], perSource: 3, inAll: 10 },
  { rule: 'rate', causes: CAUSES, perSource: 60, inAll: 600 },
]

type Counts = Record<SecurityCause, number>

interface Source {
  /** The round that goes on is the last one. */
  readonly rounds: Counts[]
  /** Rounds until a rule may be found broken again. */
  readonly quiet: Map<SecurityRule, number>
}

/** What a refusal means; `undefined`: nothing, as when both sides speak no common version. */
export function securityCauseOf(reason: RefusalReason): SecurityCause | undefined {
  switch (reason) {
    case 'wrong-network':
    case 'certificate-missing':
    case 'certificate-expired':
    case 'certificate-not-yet-valid':
    case 'revoked':
    case 'distrusted':
    case 'token-unknown':
    case 'token-expired':
      return 'authentication'
    case 'certificate-invalid':
    case 'certificate-of-another':
    case 'no-possession':
    case 'stale-key-chain':
    case 'token-proof':
      return 'signature'
    case 'token-used':
      return 'replay'
    case 'malformed':
    case 'timeout':
    case 'busy':
    case 'slowed':
      return 'abuse'
    case 'incompatible':
      return undefined
  }
}

export class SecurityMonitorCore {
  readonly #sources = new Map<string, Source>()
  readonly #all = newSource()
  readonly #events: Counts = newCounts()
  readonly #findings: Record<SecurityRule, number> = {
    authentication: 0,
    signature: 0,
    replay: 0,
    rate: 0,
  }
  #sourceless = 0
  #roundEndsAt: MonotonicMs | undefined

  get metrics(): SecurityMetrics {
    return {
      eventsTotal: { ...this.#events },
      findingsTotal: { ...this.#findings },
      sources: this.#sources.size,
      sourcelessTotal: this.#sourceless,
    }
  }

  /** @returns findings of a round that had ended before the event */
  observe({ cause, source }: SecurityEvent, now: MonotonicMs): readonly SecurityFinding[] {
    const findings = this.tick(now)
    this.#roundEndsAt ??= now + ROUND_MS
    this.#events[cause]++
    count(this.#all, cause)
    let own = this.#sources.get(source)
    if (own === undefined && this.#sources.size < SOURCES_MAX) {
      own = newSource()
      this.#sources.set(source, own)
    }
    if (own === undefined) this.#sourceless++
    else count(own, cause)
    return findings
  }

  /** Looks at the rules once for each round that has ended; nothing before. */
  tick(now: MonotonicMs): readonly SecurityFinding[] {
    const findings: SecurityFinding[] = []
    for (let rounds = 0; this.#roundEndsAt !== undefined && this.#roundEndsAt <= now; rounds++) {
      findings.push(...this.#endRound())
      // After a minute without events there is nothing left to look at.
      const isIdle = this.#sources.size === 0 && sum(this.#all, CAUSES) === 0
      if (isIdle || rounds > ROUNDS) this.#roundEndsAt = undefined
      else this.#roundEndsAt += ROUND_MS
    }
    return findings
  }

  nextDeadline(): MonotonicMs | undefined {
    return this.#roundEndsAt
  }

  #endRound(): readonly SecurityFinding[] {
    const found = [...this.#examine(this.#all, ALL_SOURCES)]
    for (const [name, source] of this.#sources) found.push(...this.#examine(source, name))
    for (const { rule } of found) this.#findings[rule]++
    turn(this.#all)
    for (const [name, source] of this.#sources) {
      turn(source)
      if (sum(source, CAUSES) === 0) this.#sources.delete(name)
    }
    return found.slice(0, FINDINGS_MAX)
  }

  /** A rule that stays broken is told of once a minute. */
  #examine(source: Source, name: string): readonly SecurityFinding[] {
    return RULES.flatMap(({ rule, causes, perSource, inAll }) => {
      const quiet = source.quiet.get(rule) ?? 0
      source.quiet.set(rule, Math.max(0, quiet - 1))
      const events = sum(source, causes)
      if (quiet > 0 || events < (source === this.#all ? inAll : perSource)) return []
      source.quiet.set(rule, ROUNDS - 1)
      return [{ rule, source: name, count: events }]
    })
  }
}

function newCounts(): Counts {
  return { authentication: 0, signature: 0, replay: 0, abuse: 0 }
}

function newSource(): Source {
  return { rounds: [newCounts()], quiet: new Map() }
}

function count({ rounds }: Source, cause: SecurityCause): void {
  const last = rounds.at(-1)
  if (last !== undefined) last[cause]++
}

function turn({ rounds }: Source): void {
  rounds.push(newCounts())
  if (rounds.length > ROUNDS) rounds.shift()
}

function sum({ rounds }: Source, causes: readonly SecurityCause[]): number {
  let all = 0
  for (const round of rounds) for (const cause of causes) all += round[cause]
  return all
}
