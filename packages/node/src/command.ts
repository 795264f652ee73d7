import * as z from 'zod'

/**
 * Everything that a node can be asked to do. The command line, the HTTP interface and tests all
 * build values of {@link Command}; `execute.ts` is the one place that carries them out.
 */

/** Whom a command is for. Who may use the admin socket may do all of them: equal to root here. */
export type Authority = 'read' | 'operate' | 'admin'

/** Whether a running daemon is needed, must not run, or does not matter. */
export type Where = 'daemon' | 'offline' | 'either'

export interface CommandSpec {
  readonly summary: string
  readonly authority: Authority
  readonly where: Where
  readonly input: z.ZodObject
  readonly output: z.ZodType
}

/** Kinds of nodes. */
export const NODE_TYPES = [
  'sclerotium-dedicated',
  'sclerotium-dynamic',
  'rhizomorph',
  'hypha',
] as const
export type NodeTypeName = (typeof NODE_TYPES)[number]

const nodeId = z.string().regex(/^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/, 'is no node id')
const name = z
  .string()
  .min(1, 'must have 1 to 64 characters')
  .max(64, 'must have 1 to 64 characters')
const names = z.array(name).max(16)
const hex16 = z.string().regex(/^[0-9a-f]{32}$/, 'must be 32 hexadecimal digits')
const reason = z.enum(['left', 'removed', 'compromised'])
const unixSeconds = z.int().min(0)

/** What one node knows of a member. */
const member = z.object({
  node: nodeId,
  /** Unknown until it was connected once in the life of this daemon. */
  nodeType: z.enum(NODE_TYPES).optional(),
  roles: names.optional(),
  isSelf: z.boolean(),
  isAuthority: z.boolean(),
  /** `degraded`: its certificate has expired, the connection goes on. */
  state: z.enum(['connected', 'degraded', 'away']),
  rttMs: z.number().optional(),
  addresses: z.array(z.string()),
  message: z.string(),
})

const status = z.object({
  node: nodeId,
  version: z.string(),
  network: z.string(),
  networkName: z.string(),
  phase: z.string(),
  isReady: z.boolean(),
  /** In words, for people. */
  message: z.string(),
  uptimeMs: z.number(),
  rssBytes: z.number(),
  listening: z.array(z.string()),
  certificateUntil: unixSeconds.optional(),
  members: z.array(member),
})

const token = z.object({
  tokenId: hex16,
  expiresAt: unixSeconds,
  nodeType: z.enum(NODE_TYPES),
  roles: names,
  state: z.enum(['open', 'used', 'expired', 'revoked']),
})

const auditEntry = z.object({
  number: z.int(),
  /** Milliseconds since 1970. */
  at: z.int().min(0),
  event: z.string(),
  node: z.string().optional(),
  address: z.string().optional(),
  reason: z.string().optional(),
  detail: z.record(z.string(), z.union([z.string(), z.number()])).optional(),
  /** How many events it stands for. */
  count: z.int().optional(),
})

const identity = z.object({
  node: nodeId,
  network: z.string().optional(),
  networkName: z.string().optional(),
  nodeType: z.enum(NODE_TYPES).optional(),
  roles: names.optional(),
  certificateUntil: unixSeconds.optional(),
  isAuthority: z.boolean(),
  keyRotations: z.int(),
})

const nothing = z.object({})

export const COMMANDS = {
  init: {
    summary: 'Creates a network with this node as its first member.',
    authority: 'admin',
    where: 'offline',
    input: z.object({
      name,
      nodeType: z.enum(NODE_TYPES).default('sclerotium-dedicated'),
      authorityThreshold: z.int().min(1).max(16).default(1),
    }),
    output: identity,
  },
  'token.create': {
    summary: 'Makes a token with which one node may join, once.',
    authority: 'admin',
    where: 'either',
    input: z.object({
      ttlSeconds: z.int().min(1).max(31_536_000).default(3_600),
      nodeType: z.enum(NODE_TYPES).default('sclerotium-dedicated'),
      roles: names.default([]),
      addresses: z.array(z.string().max(256)).max(16).default([]),
    }),
    output: z.object({ token: z.string(), tokenId: hex16, expiresAt: unixSeconds }),
  },
  'token.list': {
    summary: 'Lists the tokens of this node.',
    authority: 'read',
    where: 'either',
    input: nothing,
    output: z.object({ tokens: z.array(token) }),
  },
  'token.revoke': {
    summary: 'Takes a token back that was not used.',
    authority: 'admin',
    where: 'either',
    input: z.object({ tokenId: hex16 }),
    output: nothing,
  },
  join: {
    summary: 'Makes this node a member of the network that issued a token.',
    authority: 'admin',
    where: 'offline',
    input: z.object({ token: z.string().max(4_096) }),
    output: identity,
  },
  status: {
    summary: 'Tells how this node and its network are.',
    authority: 'read',
    where: 'daemon',
    input: nothing,
    output: status,
  },
  nodes: {
    summary: 'Lists the members of the network.',
    authority: 'read',
    where: 'daemon',
    input: nothing,
    output: z.object({ members: z.array(member) }),
  },
  revoke: {
    summary: 'Ends the membership of a node, everywhere.',
    authority: 'admin',
    where: 'daemon',
    input: z.object({ node: nodeId, reason: reason.default('removed') }),
    output: nothing,
  },
  leave: {
    summary: 'Ends the membership of this node.',
    authority: 'admin',
    where: 'either',
    input: nothing,
    output: nothing,
  },
  'identity.show': {
    summary: 'Tells who this node is.',
    authority: 'read',
    where: 'either',
    input: nothing,
    output: identity,
  },
  'identity.rotate': {
    summary: 'Gives this node a new certificate or key, or the network a new key.',
    authority: 'admin',
    where: 'either',
    input: z.object({
      what: z
        .enum(['certificate', 'node-key', 'network-key', 'isolation-key'])
        .default('certificate'),
    }),
    /** `nextNode`: who this node is from its next start on. */
    output: identity.extend({ nextNode: nodeId.optional() }),
  },
  'identity.backup': {
    summary: 'Packs the identity of this node, encrypted with a passphrase.',
    authority: 'admin',
    where: 'either',
    input: z.object({ passphrase: z.string().min(8, 'must have 8 characters or more').max(1_024) }),
    /** Base64. */
    output: z.object({ backup: z.string() }),
  },
  'identity.restore': {
    summary: 'Makes this node who a backup says.',
    authority: 'admin',
    where: 'offline',
    input: z.object({ passphrase: z.string().min(1).max(1_024), backup: z.string() }),
    output: identity,
  },
  'audit.show': {
    summary: 'Shows the newest entries of the audit log.',
    authority: 'read',
    where: 'either',
    input: z.object({ last: z.int().min(1).max(10_000).default(100) }),
    output: z.object({ entries: z.array(auditEntry) }),
  },
  'audit.verify': {
    summary: 'Proves that nothing was changed in the audit log.',
    authority: 'read',
    where: 'either',
    input: nothing,
    output: z.object({
      ok: z.boolean(),
      message: z.string(),
    }),
  },
  'log.level': {
    summary: 'Tells or changes what is logged.',
    authority: 'operate',
    where: 'daemon',
    input: z.object({ level: z.enum(['trace', 'debug', 'info', 'warn', 'error']).optional() }),
    output: z.object({ level: z.string() }),
  },
  'log.show': {
    summary: 'Shows the newest lines of the log.',
    authority: 'read',
    where: 'daemon',
    input: z.object({ last: z.int().min(1).max(10_000).default(100) }),
    output: z.object({ lines: z.array(z.string()) }),
  },
  'config.show': {
    summary: 'Tells the configuration in force, and where each value comes from.',
    authority: 'read',
    where: 'either',
    input: nothing,
    output: z.object({
      values: z.array(z.object({ key: z.string(), value: z.unknown(), source: z.string() })),
    }),
  },
} as const satisfies Record<string, CommandSpec>

export type CommandName = keyof typeof COMMANDS

/** What goes into a command, with its defaults filled in. */
export type CommandInput<Name extends CommandName> = z.output<(typeof COMMANDS)[Name]['input']>
/** What a caller may leave out, left out. */
export type CommandOptions<Name extends CommandName> = z.input<(typeof COMMANDS)[Name]['input']>
export type CommandResult<Name extends CommandName> = z.output<(typeof COMMANDS)[Name]['output']>

/** One thing that a node is asked to do. */
export type Command = {
  [Name in CommandName]: { readonly name: Name; readonly input: CommandInput<Name> }
}[CommandName]

export type NodeStatus = CommandResult<'status'>
export type MemberStatus = NodeStatus['members'][number]

export function isCommandName(text: string): text is CommandName {
  return Object.hasOwn(COMMANDS, text)
}

/** What is wrong with an input, in one line; without any value, which may be a secret. */
export function complaintOf(error: z.ZodError): string {
  return error.issues
    .slice(0, 3)
    .map(({ path, message }) => `${path.length > 0 ? `${path.join('.')}: ` : ''}${message}`)
    .join('; ')
}
