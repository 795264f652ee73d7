/**
 * Identity of networks and nodes: certificates of membership, join tokens, a proof of membership
 * inside each connection, an audit log.
 *
 * @packageDocumentation
 */
export type {
  Certificate,
  Crypto,
  DocumentKind,
  Envelope,
  Fact,
  Genesis,
  JoinToken,
  KeyRotation,
  NetworkId,
  NodeType,
  RefusalReason,
  RevocationReason,
  Signer,
  Statement,
  TrustSource,
  UnixSeconds,
} from './core/model.ts'
export { createNetworkState } from './core/facts-state.ts'
export type {
  FactVerdict,
  NetworkState,
  NetworkStateDeps,
  NetworkStateInit,
} from './core/network-state.ts'
export { ACCESS_LEVELS, accessLevelOf, isAccessAtLeast, type AccessLevel } from './core/access.ts'
export { isAdmitted, scoreOf, type Factors } from './core/authentication.ts'
export { decodeCertificate, encodeCertificate } from './core/certificate.ts'
export {
  addSignatures,
  decodeEnvelope,
  encodeEnvelope,
  signEnvelope,
  verifyEnvelope,
  type SignEnvelopeInit,
} from './core/envelope.ts'
export { decodeFact, encodeFact } from './core/facts.ts'
export {
  decodeGenesis,
  encodeGenesis,
  verifyGenesis,
  type VerifiedGenesis,
} from './core/genesis.ts'
export { networkIdOf, nodeIdOf, publicKeyOf } from './core/ids.ts'
export { decodeKeyRotation, encodeKeyRotation } from './core/key-chain.ts'
export { decodeToken, encodeToken } from './core/token.ts'
export { createCrypto, createSigner } from './crypto.ts'
export {
  DocumentError,
  NodeIdError,
  SignatureError,
  TokenError,
  TokenExpiredError,
  TokenForeignError,
} from './errors.ts'
export { decodeCanonical, encodeCanonical } from './wire.ts'
export type { CborMap, CborValue, DecodeLimits } from './wire.ts'
