import type { Clock, Random } from '@mycelium/interface'
import {
  SERIAL_BYTES,
  TOKEN_MEMORY_S,
  TOKEN_SECRET_BYTES,
  TOKEN_TTL_S,
  TOKEN_TTL_S_MAX,
  WELCOME_BYTES_MAX,
  WELCOME_RESERVE_BYTES,
} from './constants.ts'
import type { Authority } from './authority.ts'
import { decodeEnvelope } from './core/envelope.ts'
import { decodeFact } from './core/facts.ts'
import { nodeIdOf } from './core/ids.ts'
import type { Crypto, NodeType, RefusalReason, Statement } from './core/model.ts'
import type { NetworkState } from './core/network-state.ts'
import { encodeToken, tokenKeyOf } from './core/token.ts'
import type { PeerAddresses, Welcome } from './core/welcome.ts'
import { NotAuthorityError, NotMemberError, ThresholdError } from './errors.ts'
import { unixSecondsOf } from './handshake-run.ts'
import type { CreatedToken, CreateTokenInit, TokenInfo } from './membership.ts'
import type { MemberRecords, NetworkRecords, TokenRecord } from './network-records.ts'
import { areEqual, bytesOfText, textOf } from './wire.ts'

export interface AdmissionDeps {
  readonly records: NetworkRecords
  readonly authority: Authority
  readonly clock: Clock
  readonly random: Random
  readonly crypto: Crypto
  /** A certificate that founders signed together. */
  certificateOf(publicKey: Uint8Array): Uint8Array | undefined
}

/** Tokens, and the nodes that come with them. One call at a time. */
export class Admission {
  readonly #deps: AdmissionDeps

  constructor(deps: AdmissionDeps) {
    this.#deps = deps
  }

  async createToken(init: CreateTokenInit, addresses: readonly string[]): Promise<CreatedToken> {
    const { records, authority, random, crypto, clock } = this.#deps
    const member = this.#member()
    if (!authority.isAuthority) throw new NotAuthorityError()
    const { ttlMs = TOKEN_TTL_S * 1000, nodeType = 'sclerotium-dynamic' } = init
    if (!(ttlMs >= 1000 && ttlMs <= TOKEN_TTL_S_MAX * 1000)) {
      throw new RangeError(`ttlMs: must be 1000..${TOKEN_TTL_S_MAX * 1000} (got ${ttlMs})`)
    }
    const tokenId = random.bytes(SERIAL_BYTES)
    const secret = random.bytes(TOKEN_SECRET_BYTES)
    const expiresAt = unixSecondsOf(clock) + Math.ceil(ttlMs / 1000)
    const text = encodeToken({
      network: member.state.network,
      tokenId,
      secret,
      expiresAt,
      issuers: [{ node: records.node, addresses }],
    })
    const roles = (init.roles ?? []).toSorted()
    await records.putToken({ tokenId, key: tokenKeyOf(crypto, secret), expiresAt, nodeType, roles })
    return { text, id: textOf(tokenId, 'hex'), expiresAt }
  }

  tokens(): readonly TokenInfo[] {
    const now = unixSecondsOf(this.#deps.clock)
    return this.#deps.records.tokens.map((token) => ({
      id: textOf(token.tokenId, 'hex'),
      expiresAt: token.expiresAt,
      nodeType: token.nodeType,
      roles: token.roles,
      state: stateOf(token, now),
      ...(token.usedBy !== undefined && { usedBy: nodeIdOf(token.usedBy) }),
    }))
  }

  async revokeToken(id: string): Promise<boolean> {
    const { records, authority } = this.#deps
    const tokenId = bytesOfText(id, 'hex', 2 * SERIAL_BYTES)
    const token = tokenId === undefined ? undefined : records.tokenOf(tokenId)
    if (token === undefined) return false
    await records.putToken({ ...token, isRevoked: true })
    const expiresAt = token.expiresAt + TOKEN_MEMORY_S
    await authority.state({ kind: 'token-revoked', tokenId: token.tokenId }, { expiresAt })
    return true
  }

  /** Admits a node that has proved its token. What it gets is given only after all is durable. */
  async admit(
    tokenId: Uint8Array,
    subject: Uint8Array,
    peers: readonly PeerAddresses[],
  ): Promise<Welcome | RefusalReason> {
    const { records, clock } = this.#deps
    const member = this.#member()
    const token = records.tokenOf(tokenId)
    // Once more: another connection could have been faster.
    if (token === undefined || token.isRevoked === true) return 'token-unknown'
    if (token.usedBy !== undefined && !areEqual(token.usedBy, subject)) return 'token-used'
    if (member.state.isNodeRevoked(subject)) return 'revoked'
    const certificate = await this.#certify(token, subject)
    if (certificate === undefined) return 'busy'
    const now = unixSecondsOf(clock)
    const verdict = member.state.checkCertificate(certificate, subject, now)
    if ('refused' in verdict) return verdict.refused
    await records.putToken({ ...token, usedBy: subject })
    await this.#stateAdmission(token, subject)
    return {
      certificate,
      network: {
        genesis: member.genesis,
        isolationKeys: member.isolationKeys(now),
        facts: factsForWelcome(member.state),
        issuerCertificate: member.certificate,
        peers,
      },
    }
  }

  /** `undefined`: too few authorities can be reached. */
  async #certify(token: TokenRecord, subject: Uint8Array): Promise<Uint8Array | undefined> {
    const { authority, certificateOf } = this.#deps
    const { nodeType, roles } = token
    try {
      return (
        certificateOf(subject) ??
        (await authority.certify({ subject, nodeType, roles, capabilities: [] }))
      )
    } catch (error) {
      if (error instanceof ThresholdError) return undefined
      throw error
    }
  }

  async #stateAdmission(token: TokenRecord, subject: Uint8Array): Promise<void> {
    const { authority } = this.#deps
    const { state } = this.#member()
    const { tokenId } = token
    if (!state.isTokenSpent(tokenId)) {
      const expiresAt = token.expiresAt + TOKEN_MEMORY_S
      await authority.state({ kind: 'token-used', tokenId, node: subject }, { expiresAt })
    }
    const isKnown = state.authorities.some((key) => areEqual(key, subject))
    if (!isSclerotium(token.nodeType) || isKnown) return
    try {
      await authority.state({ kind: 'authority-added', node: subject })
    } catch (error) {
      // A member all the same; it becomes an authority when enough of them can be reached.
      if (!(error instanceof ThresholdError)) throw error
    }
  }

  #member(): MemberRecords {
    const { member } = this.#deps.records
    if (member === undefined) throw new NotMemberError()
    return member
  }
}

/** Kinds of nodes that stay: each becomes an authority, so that no machine is needed for ever. */
const isSclerotium = (nodeType: NodeType): boolean => nodeType.startsWith('sclerotium')

function stateOf(token: TokenRecord, now: number): TokenInfo['state'] {
  if (token.isRevoked === true) return 'revoked'
  if (token.usedBy !== undefined) return 'used'
  return now >= token.expiresAt ? 'expired' : 'open'
}

/** What makes authorities and keys, first: without it nothing else can be checked. */
const FIRST: readonly Statement['kind'][] = [
  'authority-added',
  'authority-removed',
  'key-rotated',
  'isolation-rotated',
]

/** As many facts as fit, those that others depend on first. */
function factsForWelcome(state: NetworkState): readonly Uint8Array[] {
  const { first = [], others = [] } = Object.groupBy(state.facts(), (envelope) =>
    FIRST.includes(decodeFact(decodeEnvelope(envelope).body).statement.kind) ? 'first' : 'others',
  )
  let bytes = WELCOME_RESERVE_BYTES
  const fitting = [...first, ...others].filter((envelope) => {
    bytes += envelope.byteLength + 8
    return bytes <= WELCOME_BYTES_MAX
  })
  return fitting
}
