import { CodedError } from '@mycelium/interface'

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
