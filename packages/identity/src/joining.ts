import type { JoinToken, NetworkId, RefusalReason, UnixSeconds } from './core/model.ts'
import { decodeToken, isTokenExpired } from './core/token.ts'
import { JoinError, MemberAlreadyError, TokenExpiredError, TokenForeignError } from './errors.ts'
import type { JoinInit } from './membership.ts'

/** A token that is being shown, and what was said to it. */
export interface Joining {
  readonly token: JoinToken
  refused?: RefusalReason
}

/** What people are told; the rest speaks for itself. */
const JOIN_REASONS: Partial<Record<RefusalReason, string>> = {
  'wrong-network': 'the token is not known there, or of another network',
  'token-unknown': 'the token was revoked',
  'token-used': 'the token was used by another node before',
  'token-expired': 'the token has expired',
  incompatible: 'the versions of the programs do not fit',
  revoked: 'this node was revoked',
  busy: 'nobody can be admitted at present: try again',
}

/**
 * A token that this node may show.
 *
 * @param init - `network`: that this node is a member of
 */
export function readToken(
  text: string,
  { network, now }: { readonly network: NetworkId | undefined; readonly now: UnixSeconds },
): JoinToken {
  const token = decodeToken(text)
  if (network !== undefined) {
    if (network === token.network) throw new MemberAlreadyError(network)
    throw new TokenForeignError(
      `the token is of ${token.network}, this node is a member of ${network}: leave it first`,
    )
  }
  if (!isTokenExpired(token, now)) return token
  throw new TokenExpiredError('the token has expired: ask for a new one')
}

/**
 * Dials those who made a token, one address after the other, until one of them has admitted us or
 * said why not.
 *
 * @throws {JoinError} `ERR_IDENTITY_JOIN`
 */
export async function dialIssuers(
  joining: Joining,
  isMember: () => boolean,
  { dial, signal }: JoinInit,
): Promise<void> {
  let failure: unknown
  for (const { node, addresses } of joining.token.issuers) {
    for (const address of addresses) {
      signal?.throwIfAborted()
      const whole = address.includes('/p2p/') ? address : `${address}/p2p/${node}`
      try {
        await dial(whole, signal === undefined ? {} : { signal })
      } catch (error) {
        failure = error
      }
      // A dial may fail after all was stored: the token is used, and this node is a member.
      if (isMember()) return
      if (joining.refused !== undefined) break
    }
  }
  signal?.throwIfAborted()
  const { refused } = joining
  if (refused !== undefined) {
    throw new JoinError(JOIN_REASONS[refused] ?? refused, refused, { cause: failure })
  }
  const isNameless = joining.token.issuers.every(({ addresses }) => addresses.length === 0)
  const why = isNameless ? 'the token names no address' : 'none of its addresses answers'
  throw new JoinError(why, undefined, { cause: failure })
}
