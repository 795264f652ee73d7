/** Real libp2p nodes on loopback, each with a membership in memory. */
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import type { Libp2p, PeerId } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import type { Clock } from '@mycelium/interface'
import { createLibp2p } from 'libp2p'
import type { AuditEntry } from '../../src/core/audit-entry.ts'
import { createMembership } from '../../src/membership.ts'
import type { Membership, MembershipInit } from '../../src/membership.ts'
import type { MembershipService } from '../../src/membership-service.ts'
import { createMemoryStore } from '../../src/testing/memory-store.ts'
import type { IdentityStore } from '../../src/store.ts'

export interface TestNode extends AsyncDisposable {
  readonly membership: Membership
  readonly libp2p: Libp2p<{ membership: MembershipService }>
  /** What the audit log would hold. */
  readonly audit: readonly AuditEntry[]
  /** The node dies without a word: connections break, nothing is said. */
  destroy(): Promise<void>
}

export interface TestNodeInit extends MembershipInit {
  readonly store?: IdentityStore
  readonly clock?: Clock
}

export async function startNode(init: TestNodeInit = {}): Promise<TestNode> {
  const audit: AuditEntry[] = []
  const { store = createMemoryStore(), clock, ...rest } = init
  const membership = await createMembership(
    {
      store,
      audit: { append: (entry) => void audit.push(entry) },
      ...(clock !== undefined && { clock }),
    },
    rest,
  )
  const libp2p = await createLibp2p({
    privateKey: privateKeyFromRaw(membership.nodePrivateKey()),
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [membership.secure(tls())],
    streamMuxers: [yamux()],
    services: { membership: membership.service },
    // All of these tests come from one address.
    connectionManager: {
      inboundConnectionThreshold: 1000,
      maxIncomingPendingConnections: 1000,
      inboundUpgradeTimeout: 60_000,
    },
    connectionMonitor: { enabled: false },
  })
  const destroy = async (): Promise<void> => {
    await libp2p.stop()
    await membership[Symbol.asyncDispose]()
  }
  return { membership, libp2p, audit, destroy, [Symbol.asyncDispose]: destroy }
}

/** Dials text: the multiaddr package is libp2p's own, taken from an address that it made. */
export async function dial(from: TestNode, to: TestNode): Promise<void> {
  const [address] = to.libp2p.getMultiaddrs()
  if (address === undefined) throw new Error('the node does not listen')
  await from.libp2p.dial(address)
}

/** What may have changed something that a test waits for. */
const MEMBERSHIP_EVENTS = [
  'member:admitted',
  'member:proven',
  'member:refused',
  'member:revoked',
  'certificate:renewed',
  'fact',
] as const
const LIBP2P_EVENTS = ['connection:open', 'connection:close'] as const
/** Some of what is waited for tells nobody: a dial that was begun, a key that arrived. */
const LOOK_INTERVAL_MS = 50
const UNTIL_TIMEOUT_MS = 15_000

/** Resolves when `check` holds: asks after each event of the nodes. */
export async function until(
  nodes: readonly TestNode[],
  check: () => boolean,
  what = 'it',
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const end = new AbortController()
  const { signal } = end
  // After the others have heard of it as well.
  const look = (): void => {
    setImmediate(() => {
      if (check()) resolve()
    })
  }
  for (const { membership, libp2p } of nodes) {
    for (const type of MEMBERSHIP_EVENTS) membership.addEventListener(type, look, { signal })
    for (const type of LIBP2P_EVENTS) libp2p.addEventListener(type, look, { signal })
  }
  const deadline = setTimeout(() => reject(new Error(`${what} did not happen`)), UNTIL_TIMEOUT_MS)
  const poll = setInterval(look, LOOK_INTERVAL_MS)
  look()
  try {
    await promise
  } finally {
    end.abort()
    clearTimeout(deadline)
    clearInterval(poll)
  }
}

export function isConnected(from: TestNode, to: TestNode): boolean {
  return from.libp2p
    .getConnections(to.libp2p.peerId as PeerId)
    .some(({ status }) => status === 'open')
}
