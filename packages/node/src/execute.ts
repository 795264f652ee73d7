import { createSystemRandom } from '@mycelium/fabric'
import {
  NotMemberError,
  packIdentity,
  readAudit,
  type TokenInfo,
  verifyAudit,
} from '@mycelium/identity'
import type { NodeId } from '@mycelium/interface'
import type { Command, CommandInput, CommandName, CommandResult, NodeStatus } from './command.ts'
import { NotReadyError, UsageError } from './errors.ts'
import type { LeveledLogger } from './logger.ts'
import { type NodeParts, rotateNodeKey } from './node-parts.ts'

/** What carries commands out: a daemon, or a process that opened the node for one command. */
export interface Executor {
  readonly parts: NodeParts
  readonly logger: LeveledLogger
  /** Absent: no daemon. */
  status?(): NodeStatus
  /** Becomes a member by a token. Absent: not here, not now. */
  join?(token: string): Promise<void>
  /** Do other members say that this node is a member no more? Absent: nobody was asked. */
  isRevoked?(): boolean
  /** Multiaddrs for tokens when nobody names any. */
  tokenAddresses(): readonly string[]
}

type Handlers = {
  readonly [Name in CommandName]: (
    executor: Executor,
    input: CommandInput<Name>,
  ) => Promise<CommandResult<Name>>
}

/** Commands that change something: the audit log has them, without their input. */
const AUDITED: ReadonlySet<CommandName> = new Set<CommandName>([
  'init',
  'token.create',
  'token.revoke',
  'join',
  'revoke',
  'leave',
  'identity.rotate',
  'identity.backup',
  'log.level',
])

/** The one place where commands are carried out. Rejects as what they ask for does. */
export async function execute<Name extends CommandName>(
  executor: Executor,
  { name, input }: Extract<Command, { readonly name: Name }>,
): Promise<CommandResult<Name>> {
  // SAFETY: the handler and the input are of one name.
  const handler = HANDLERS[name] as unknown as (
    executor: Executor,
    input: unknown,
  ) => Promise<CommandResult<Name>>
  const isAudited = AUDITED.has(name)
  const { audit } = executor.parts
  const event = `command:${name.replaceAll('.', '-')}`
  try {
    const result = await handler(executor, input)
    if (isAudited) audit.append({ event })
    return result
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    if (isAudited) audit.append({ event, reason: `failed: ${reason}` })
    throw error
  }
}

const HANDLERS: Handlers = {
  init: async (executor, { name, nodeType, authorityThreshold }) => {
    const { membership } = executor.parts
    await membership.createNetwork({ name, nodeType, authorityThreshold })
    return identityOf(executor)
  },
  join: async (executor, { token }) => {
    if (!executor.join) throw new NotReadyError('a running node is a member already')
    await executor.join(token)
    return identityOf(executor)
  },
  'token.create': async (executor, { ttlSeconds, nodeType, roles, addresses: named }) => {
    const { membership } = executor.parts
    if (membership.status().network === undefined) throw new NotMemberError()
    if (executor.isRevoked?.() === true) {
      throw new NotReadyError('the membership of this node was revoked: it admits nobody')
    }
    const addresses = named.length > 0 ? named : executor.tokenAddresses()
    if (addresses.length === 0) {
      throw new UsageError(
        'nobody could find this node by the token: start it (mycelium up), or give --address',
      )
    }
    const ttlMs = ttlSeconds * 1_000
    const created = await membership.createToken({ ttlMs, nodeType, roles, addresses })
    const { text: token, id: tokenId, expiresAt } = created
    return { token, tokenId, expiresAt }
  },
  'token.list': async ({ parts }) => ({ tokens: parts.membership.tokens().map(tokenOf) }),
  'token.revoke': async ({ parts }, { tokenId }) => {
    if (!(await parts.membership.revokeToken(tokenId))) {
      throw new UsageError(`there is no token ${tokenId} here`)
    }
    return {}
  },
  status: async (executor) => statusOf(executor),
  nodes: async (executor) => ({ members: statusOf(executor).members }),
  revoke: async ({ parts }, { node, reason }) => {
    await parts.membership.revoke({ node: node as NodeId }, reason)
    return {}
  },
  leave: async ({ parts }) => {
    if (!(await parts.membership.leave())) {
      throw new NotReadyError(
        'the network was left, but no authority heard of it: there this node counts as away ' +
          'until its certificate runs out',
      )
    }
    return {}
  },
  'identity.show': async (executor) => identityOf(executor),
  'identity.rotate': async (executor, { what }) => {
    const { membership } = executor.parts
    if (what === 'node-key') {
      const nextNode = await rotateNodeKey(executor.parts)
      return { ...identityOf(executor), nextNode }
    }
    if (what === 'certificate') await membership.renew()
    else if (what === 'network-key') await membership.rotateNetworkKey('scheduled')
    else await membership.rotateIsolationKey()
    return identityOf(executor)
  },
  'identity.backup': async ({ parts }, { passphrase }) => {
    if (!parts.membership.status().network) throw new NotMemberError()
    const random = createSystemRandom()
    const packed = await packIdentity({ store: parts.store, random }, { passphrase })
    return { backup: Buffer.from(packed).toString('base64') }
  },
  'identity.restore': () => {
    // Nobody else may be at work on what is replaced: see `offline.ts`.
    return Promise.reject(new NotReadyError('a backup is restored while the node does not run'))
  },
  'audit.show': async ({ parts }, { last }) => {
    await parts.audit.flush()
    const entries: CommandResult<'audit.show'>['entries'] = []
    for await (const { isSigned: _, ...entry } of readAudit(parts.auditFolder)) {
      entries.push({ ...entry, detail: entry.detail && { ...entry.detail } })
      if (entries.length > last) entries.shift()
    }
    return { entries }
  },
  'audit.verify': async ({ parts }) => {
    await parts.audit.flush()
    const { publicKey } = parts.membership
    const verdict = await verifyAudit(parts.auditFolder, { publicKey })
    if (!verdict.ok) {
      const { file, message } = verdict
      return { ok: false, message: file === undefined ? message : `${file}: ${message}` }
    }
    return { ok: true, message: 'nothing was cut out of the audit log or changed' }
  },
  'log.level': async ({ logger }, { level }) => {
    if (level !== undefined) logger.level = level
    return { level: logger.level }
  },
  'log.show': async ({ logger }, { last }) => ({ lines: logger.recent.slice(-last) }),
  'config.show': async ({ parts }) => {
    const { config, sources } = parts.effective
    return {
      values: Object.entries(config).map(([key, value]) => ({
        key,
        value,
        source: sources[key as keyof typeof sources],
      })),
    }
  },
}

function statusOf(executor: Executor): NodeStatus {
  if (!executor.status) throw new NotReadyError('no daemon runs', { fix: 'mycelium up' })
  return executor.status()
}

function tokenOf({ id: tokenId, expiresAt, nodeType, roles, state }: TokenInfo) {
  return { tokenId, expiresAt, nodeType, roles: [...roles], state }
}

function identityOf({ parts }: Executor): CommandResult<'identity.show'> {
  const { node, network } = parts.membership.status()
  if (network === undefined) return { node, isAuthority: false, keyRotations: 0 }
  const { nodeType, roles, notAfter } = network.certificate
  return {
    node,
    network: network.id,
    networkName: network.name,
    nodeType,
    roles: [...roles],
    certificateUntil: notAfter,
    isAuthority: network.isAuthority,
    keyRotations: network.rotations,
  }
}
