import type { ConnectionEncrypter } from '@libp2p/interface'
import type { AbortOptions, Clock, EventSource, Logger, NodeId, Random } from '@mycelium/interface'
import type { AuditSink } from './core/audit-entry.ts'
import type { CoSignRequest } from './core/co-sign.ts'
import type {
  Certificate,
  KeyRotation,
  NetworkId,
  NodeType,
  RefusalReason,
  RevocationReason,
  TrustSource,
  UnixSeconds,
} from './core/model.ts'
import type { NetworkState } from './core/network-state.ts'
import type { PeerAddresses } from './core/welcome.ts'
import type { EncrypterComponents } from './connection-encrypter.ts'
import { createCrypto } from './crypto.ts'
import { MemberNode } from './member-node.ts'
import type { MembershipComponents, MembershipService } from './membership-service.ts'
import { NetworkRecords } from './network-records.ts'
import type { IdentityStore } from './store.ts'
import { createSystemClock, createSystemRandom } from './system.ts'

export interface MembershipDeps {
  /** Where the identity is kept. The membership disposes of it. */
  readonly store: IdentityStore
  /** @default the system's */
  readonly clock?: Clock
  /** @default the system's CSPRNG */
  readonly random?: Random
  /** @default none */
  readonly audit?: AuditSink
  /** @default nothing is known of anybody */
  readonly trust?: TrustSource
  /** @default none */
  readonly logger?: Logger
}

export interface MembershipInit {
  /** Encrypts private keys at rest. @default none: files are protected by their mode alone */
  readonly passphrase?: string
  /** Compatibility versions that the program speaks. @default 1 to 1 */
  readonly versions?: { readonly min: number; readonly max: number }
  /**
   * Whether this authority signs what another one asks for, all rules having been checked. Only
   * with a threshold above 1. @default yes
   */
  readonly approve?: (request: CoSignRequest, requester: NodeId) => boolean | Promise<boolean>
}

export interface CreateNetworkInit {
  /** For people: 1..64 characters. */
  readonly name: string
  /** Of this node. @default 'sclerotium-dedicated' */
  readonly nodeType?: NodeType
  /** Of this node, at most 16. @default none */
  readonly roles?: readonly string[]
  /** Compatibility version below which nobody is let in. @default the lowest that we speak */
  readonly compatibility?: number
  /**
   * Signatures that certificates and authorities need. More: one stolen machine admits nobody.
   * Fewer: fewer machines must be reachable to admit and renew. @default 1
   */
  readonly authorityThreshold?: number
  /** Of 1000. @default 700 */
  readonly admissionThreshold?: number
  /** Days between scheduled rotations of the network key. @default 90 */
  readonly rotationDays?: number
}

export interface CreateTokenInit {
  /** Milliseconds for which the token is good, up to 30 days. @default 1 hour */
  readonly ttlMs?: number
  /** Of the node that joins. @default 'sclerotium-dynamic' */
  readonly nodeType?: NodeType
  /** Of the node that joins, at most 16. @default none */
  readonly roles?: readonly string[]
  /** Multiaddrs of this node. @default those that the libp2p node of the service listens on */
  readonly addresses?: readonly string[]
}

export interface CreatedToken {
  /** Secret: whoever has it gets in, once. */
  readonly text: string
  /** In hex; names the token where the secret must not be seen. */
  readonly id: string
  readonly expiresAt: UnixSeconds
}

export interface TokenInfo {
  readonly id: string
  readonly expiresAt: UnixSeconds
  readonly nodeType: NodeType
  readonly roles: readonly string[]
  readonly state: 'open' | 'used' | 'expired' | 'revoked'
  readonly usedBy?: NodeId
}

export interface JoinInit extends AbortOptions {
  /** Dials a multiaddr that ends with `/p2p/<id>`: `(a) => node.dial(multiaddr(a))`. */
  dial(address: string, options: AbortOptions): Promise<unknown>
}

export interface MembershipStatus {
  readonly node: NodeId
  /** Absent: member of no network. */
  readonly network?: {
    readonly id: NetworkId
    readonly name: string
    readonly certificate: Certificate
    /** Its certificate has expired: connections go on, new ones are refused. */
    readonly isDegraded: boolean
    readonly isAuthority: boolean
    /** The newest isolation key is still to come: members that have it are asked. */
    readonly lacksIsolationKey: boolean
    readonly authorities: readonly NodeId[]
    readonly authorityThreshold: number
    readonly rotations: number
    readonly facts: number
    /** Facts that wait for others before they count. */
    readonly factsHeld: number
  }
  readonly members: readonly MemberSession[]
}

/** A member that is connected, or was a moment ago. */
export interface MemberSession {
  readonly node: NodeId
  readonly nodeType: NodeType
  readonly roles: readonly string[]
  /** Of 1000. */
  readonly score: number
  /** Its certificate has expired. */
  readonly isDegraded: boolean
}

export interface MembershipEvents {
  /** This node let another one in by a token, or it was founded or joined itself. */
  'member:admitted': { readonly node: NodeId; readonly nodeType: NodeType }
  /** A node proved its membership on a connection. */
  'member:proven': MemberSession
  /** Somebody was refused, or refused us. */
  'member:refused': {
    readonly reason: RefusalReason
    readonly isByPeer: boolean
    readonly address: string
    readonly node?: NodeId
  }
  /** A fact revoked a node, or a certificate of a connected one. */
  'member:revoked': { readonly node?: NodeId; readonly reason: RevocationReason }
  'certificate:renewed': { readonly certificate: Certificate }
  /** A fact counts from now on. */
  fact: { readonly envelope: Uint8Array; readonly kind: string }
}

/** A node's identity, and its place in a network. */
export interface Membership extends EventSource<MembershipEvents>, AsyncDisposable {
  readonly node: NodeId
  readonly publicKey: Uint8Array
  /** What all members know; absent: member of no network. */
  readonly state: NetworkState | undefined
  /** The encryption and proof of membership of each connection: for `connectionEncrypters`. */
  secure<Components extends EncrypterComponents>(
    encryption: (components: Components) => ConnectionEncrypter,
  ): (components: Components) => ConnectionEncrypter
  /** For `services`: one libp2p node for one membership. */
  readonly service: (components: MembershipComponents) => MembershipService
  /** 64 bytes for `privateKeyFromRaw`: libp2p has to have the key of this node. Secret. */
  nodePrivateKey(): Uint8Array
  status(): MembershipStatus
  /** Where members were when this node joined, and what it learned since. */
  peers(): readonly PeerAddresses[]

  /** @throws {MemberAlreadyError} `ERR_IDENTITY_MEMBER_ALREADY` */
  createNetwork(init: CreateNetworkInit): Promise<NetworkId>
  /**
   * Begins a network of several founders: each signs its genesis. The result goes from one founder
   * to the next, each calls {@link signNetwork}; the first calls {@link foundNetwork} with the
   * result of the last, the others then join with a token. It holds nothing secret.
   *
   * @param founders - all but this node
   */
  proposeNetwork(init: CreateNetworkInit, founders: readonly NodeId[]): Promise<Uint8Array>
  /** @throws {DocumentError} `ERR_IDENTITY_DOCUMENT` this node is none of the founders */
  signNetwork(proposal: Uint8Array): Promise<Uint8Array>
  /** @throws {SignatureError} `ERR_IDENTITY_SIGNATURE` not everybody has signed */
  foundNetwork(proposal: Uint8Array): Promise<NetworkId>

  /** @throws {NotAuthorityError} `ERR_IDENTITY_NOT_AUTHORITY` */
  createToken(init?: CreateTokenInit): Promise<CreatedToken>
  tokens(): readonly TokenInfo[]
  /** @param id - in hex. Resolves to false: there is no such token here. */
  revokeToken(id: string): Promise<boolean>
  /**
   * Becomes a member by a token.
   *
   * @throws {TokenError} `ERR_IDENTITY_TOKEN`
   * @throws {TokenExpiredError} `ERR_IDENTITY_TOKEN_EXPIRED`
   * @throws {TokenForeignError} `ERR_IDENTITY_TOKEN_FOREIGN`: of another network than this node's
   * @throws {MemberAlreadyError} `ERR_IDENTITY_MEMBER_ALREADY`
   * @throws {JoinError} `ERR_IDENTITY_JOIN`
   */
  join(token: string, init: JoinInit): Promise<NetworkId>

  /** Connected nodes close within moments. `compromised` rotates the isolation key as well. */
  revoke(
    target: { readonly node: NodeId } | { readonly serial: Uint8Array },
    reason: RevocationReason,
  ): Promise<void>
  /**
   * Gives the node a new key, with the certificate and place of the old one, and with it a new id.
   * It holds from the next start on: end the libp2p node, dispose of this, create both anew. The
   * old certificate counts until it expires, at most 7 days. If its key was stolen, revoke instead.
   *
   * @returns the id that the node will have
   * @throws {ThresholdError} `ERR_IDENTITY_THRESHOLD`: nobody can be reached that may
   */
  rotateNodeKey(): Promise<NodeId>
  /** `scheduled` needs the network key, which the founder has; `emergency` the authorities. */
  rotateNetworkKey(cause: KeyRotation['cause']): Promise<void>
  rotateIsolationKey(): Promise<void>
  /** Asks for a new certificate now. @throws {ThresholdError} nobody can be reached that may */
  renew(): Promise<void>
  /** Tells the authorities, and forgets the network. Resolves to false: nobody heard it. */
  leave(): Promise<boolean>
}

/** Reads the identity of a node, or gives it one. */
export async function createMembership(
  deps: MembershipDeps,
  init: MembershipInit = {},
): Promise<Membership> {
  const { store, clock = createSystemClock(), random = createSystemRandom() } = deps
  const crypto = createCrypto()
  const { passphrase } = init
  const records = await NetworkRecords.open({ store, clock, random, crypto, passphrase })
  return new MemberNode({ ...deps, clock, random, crypto, records }, init)
}
