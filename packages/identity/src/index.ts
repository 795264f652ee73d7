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
  ExchangeError,
  HandshakeRefusedError,
  JoinError,
  MemberAlreadyError,
  NodeIdError,
  NotAuthorityError,
  NotMemberError,
  SignatureError,
  ThresholdError,
  TokenError,
  TokenExpiredError,
  TokenForeignError,
} from './errors.ts'
export { decodeCanonical, encodeCanonical } from './wire.ts'
export type { CborMap, CborValue, DecodeLimits } from './wire.ts'
export { createAuditLog } from './audit-log.ts'
export type { AuditLog, AuditLogDeps, AuditLogInit, AuditMetrics } from './audit-log.ts'
export type {
  AuditHead,
  AuditProblem,
  AuditProblemKind,
  AuditSummary,
} from './core/audit-checker.ts'
export type { AuditEntry, AuditRecord, AuditSink } from './core/audit-entry.ts'
export type {
  SecurityCause,
  SecurityEvent,
  SecurityFinding,
  SecurityMetrics,
  SecurityRule,
} from './core/security-monitor.ts'
export {
  AuditDamagedError,
  IdentityClosedError,
  IdentityDamagedError,
  IdentityFullError,
  IdentityLockedError,
  IdentityUnsafePathError,
  IdentityWriteError,
  KeyFileDamagedError,
  KeyFileForeignError,
  PassphraseMissingError,
  PassphraseWrongError,
} from './disk-errors.ts'
export { createFileStore } from './file-store.ts'
export type { FileStore, FileStoreInit } from './file-store.ts'
export { describeKeyFile, openKeyFile, sealKeyFile } from './key-file.ts'
export type { KeyFileInfo, KeyKind, OpenedKey, SealKeyInit } from './key-file.ts'
export { createSecurityMonitor } from './security-monitor.ts'
export type { SecurityMonitor, SecurityMonitorDeps } from './security-monitor.ts'
export type { IdentityStore, RecordName } from './store.ts'
export { formatAuditHead, parseAuditHead, readAudit, verifyAudit } from './verify-audit.ts'
export type { AuditVerdict, VerifyAuditInit } from './verify-audit.ts'
export { createMembership } from './membership.ts'
export type {
  CreatedToken,
  CreateNetworkInit,
  CreateTokenInit,
  JoinInit,
  MemberSession,
  Membership,
  MembershipDeps,
  MembershipEvents,
  MembershipInit,
  MembershipStatus,
  TokenInfo,
} from './membership.ts'
export { HANDSHAKE_PROTOCOL } from './connection-encrypter.ts'
export type { EncrypterComponents } from './connection-encrypter.ts'
export type { CoSignRequest } from './core/co-sign.ts'
export type { PeerAddresses } from './core/welcome.ts'
export { MEMBERSHIP_PROTOCOL, REAUTHENTICATION_PROTOCOL } from './membership-service.ts'
export type { MembershipComponents, MembershipService } from './membership-service.ts'
export { createSystemClock, createSystemRandom } from './system.ts'
export { packIdentity, unpackIdentity } from './backup.ts'
export { BackupForeignError, BackupNotEmptyError } from './disk-errors.ts'
