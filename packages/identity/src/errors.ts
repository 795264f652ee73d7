import { CodedError } from '@mycelium/interface'
import type { NetworkId, RefusalReason } from './core/model.ts'

/** A document is malformed: truncated, not canonical CBOR, a field is missing or out of bounds. */
export class DocumentError extends CodedError<'ERR_IDENTITY_DOCUMENT'> {
  override get name(): 'DocumentError' {
    return 'DocumentError'
  }
  readonly code = 'ERR_IDENTITY_DOCUMENT'
}

/** A well-formed document that is not signed by those who have to sign it. */
export class SignatureError extends CodedError<'ERR_IDENTITY_SIGNATURE'> {
  override get name(): 'SignatureError' {
    return 'SignatureError'
  }
  readonly code = 'ERR_IDENTITY_SIGNATURE'
}

/** A text that is not the id of a node with an Ed25519 key. */
export class NodeIdError extends CodedError<'ERR_IDENTITY_NODE_ID'> {
  override get name(): 'NodeIdError' {
    return 'NodeIdError'
  }
  readonly code = 'ERR_IDENTITY_NODE_ID'
}

/** A text that is not a token, or only a part of one. */
export class TokenError extends CodedError<'ERR_IDENTITY_TOKEN'> {
  override get name(): 'TokenError' {
    return 'TokenError'
  }
  readonly code = 'ERR_IDENTITY_TOKEN'
}

/** A token whose time has passed. */
export class TokenExpiredError extends CodedError<'ERR_IDENTITY_TOKEN_EXPIRED'> {
  override get name(): 'TokenExpiredError' {
    return 'TokenExpiredError'
  }
  readonly code = 'ERR_IDENTITY_TOKEN_EXPIRED'
}

/** A token of another network than the one that this node is a member of. */
export class TokenForeignError extends CodedError<'ERR_IDENTITY_TOKEN_FOREIGN'> {
  override get name(): 'TokenForeignError' {
    return 'TokenForeignError'
  }
  readonly code = 'ERR_IDENTITY_TOKEN_FOREIGN'
}

/** A peer was refused, or refused us, before its connection was worth anything. */
export class HandshakeRefusedError extends CodedError<'ERR_IDENTITY_REFUSED'> {
  override get name(): 'HandshakeRefusedError' {
    return 'HandshakeRefusedError'
  }
  readonly code = 'ERR_IDENTITY_REFUSED'
  readonly reason: RefusalReason
  /** The peer refused us; a stranger is not told why, and reads it as `wrong-network`. */
  readonly isByPeer: boolean

  constructor(reason: RefusalReason, isByPeer: boolean, options?: ErrorOptions) {
    super(isByPeer ? `refused by the peer: ${reason}` : `the peer is refused: ${reason}`, options)
    this.reason = reason
    this.isByPeer = isByPeer
  }
}

/** No network yet: nothing can be proved to a peer. */
export class NotMemberError extends CodedError<'ERR_IDENTITY_NOT_MEMBER'> {
  override get name(): 'NotMemberError' {
    return 'NotMemberError'
  }
  readonly code = 'ERR_IDENTITY_NOT_MEMBER'

  constructor(options?: ErrorOptions) {
    super('this node is a member of no network: create one, or join one with a token', options)
  }
}

/** This node is a member already: it would have to leave first. */
export class MemberAlreadyError extends CodedError<'ERR_IDENTITY_MEMBER_ALREADY'> {
  override get name(): 'MemberAlreadyError' {
    return 'MemberAlreadyError'
  }
  readonly code = 'ERR_IDENTITY_MEMBER_ALREADY'
  readonly network: NetworkId

  constructor(network: NetworkId, options?: ErrorOptions) {
    super(`this node is a member of ${network} already: leave it first`, options)
    this.network = network
  }
}

/** Only an authority may do this, and this node is none. */
export class NotAuthorityError extends CodedError<'ERR_IDENTITY_NOT_AUTHORITY'> {
  override get name(): 'NotAuthorityError' {
    return 'NotAuthorityError'
  }
  readonly code = 'ERR_IDENTITY_NOT_AUTHORITY'

  constructor(options?: ErrorOptions) {
    super('this node is no authority of its network', options)
  }
}

/** Not enough authorities signed: they cannot be reached, or they do not want to. */
export class ThresholdError extends CodedError<'ERR_IDENTITY_THRESHOLD'> {
  override get name(): 'ThresholdError' {
    return 'ThresholdError'
  }
  readonly code = 'ERR_IDENTITY_THRESHOLD'
  readonly signed: number
  readonly needed: number

  constructor(signed: number, needed: number, options?: ErrorOptions) {
    super(`${signed} of ${needed} authorities signed: connect to more of them`, options)
    this.signed = signed
    this.needed = needed
  }
}

/** None of the nodes that a token names admitted its holder. */
export class JoinError extends CodedError<'ERR_IDENTITY_JOIN'> {
  override get name(): 'JoinError' {
    return 'JoinError'
  }
  readonly code = 'ERR_IDENTITY_JOIN'
  /** What the node that was reached last said; absent: none was reached. */
  readonly reason: RefusalReason | undefined

  constructor(why: string, reason: RefusalReason | undefined, options?: ErrorOptions) {
    super(`could not join: ${why}`, options)
    this.reason = reason
  }
}

/** A peer did not keep to the membership protocol, or does not do what it was asked for. */
export class ExchangeError extends CodedError<'ERR_IDENTITY_EXCHANGE'> {
  override get name(): 'ExchangeError' {
    return 'ExchangeError'
  }
  readonly code = 'ERR_IDENTITY_EXCHANGE'
}
