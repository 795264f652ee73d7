import * as z from 'zod'
import { UsageError } from './errors.ts'
import { LOG_LEVELS } from './logger.ts'

const addresses = (countMax: number) =>
  z
    .array(z.string().max(256), 'must be a list of texts')
    .max(countMax, `must be at most ${countMax}`)

const whole = (min: number, max: number) => {
  const message = `must be a whole number from ${min} to ${max}`
  return z.int(message).min(min, message).max(max, message)
}

const yesOrNo = z.boolean('must be true or false')

/** What can be configured, with its defaults. */
export const CONFIG_SCHEMA = z.strictObject({
  /** Multiaddrs to listen on; port 0: any. 7752 is nobody's at IANA. */
  listen: addresses(16).default(['/ip4/0.0.0.0/tcp/7752', '/ip6/::/tcp/7752']),
  /** Multiaddrs under which others reach this node; empty: those it listens on. */
  announce: addresses(16).default([]),
  /** Multiaddrs of members to begin with, `/p2p/` included. */
  peers: addresses(256).default([]),
  /** Look for members on the local network. */
  mdns: yesOrNo.default(false),
  /** Forward connections between members that cannot reach each other. */
  relay: yesOrNo.default(false),
  logLevel: z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`).default('info'),
  /** Port of `/metrics` on 127.0.0.1; 0: only on the socket. */
  metricsPort: whole(0, 65_535).default(0),
  /** File with the passphrase under which private keys are encrypted; empty: they are not. */
  keyPassphraseFile: z.string('must be a path').max(4_096, 'must be a path').default(''),
  /** Disk for the audit log. */
  auditMebibytes: whole(1, 65_536).default(64),
})

export type NodeConfig = z.output<typeof CONFIG_SCHEMA>
export type ConfigKey = keyof NodeConfig

const KEYS = Object.keys(CONFIG_SCHEMA.shape) as ConfigKey[]

/** Some values, and where they come from: a file's path, an environment variable, a flag. */
export interface ConfigSource {
  readonly name: string
  readonly values: unknown
}

export interface EffectiveConfig {
  readonly config: NodeConfig
  /** Of each key: who set it last. */
  readonly sources: Readonly<Record<ConfigKey, string>>
}

/**
 * Puts sources together, later ones over earlier ones, key by key.
 *
 * @throws {UsageError} a key is unknown or a value makes no sense; names source and key
 */
export function resolveConfig(given: readonly ConfigSource[]): EffectiveConfig {
  const merged: Record<string, unknown> = {}
  const origins: Record<string, string> = {}
  for (const { name, values } of given) {
    if (values === undefined || values === null) continue // an empty file
    if (typeof values !== 'object' || Array.isArray(values)) {
      throw new UsageError(`${name}: must be a mapping of keys to values`)
    }
    for (const [key, value] of Object.entries(values)) {
      if (value === undefined) continue
      if (!(KEYS as string[]).includes(key)) {
        throw new UsageError(`${name}: ${key}: no such key; there are ${KEYS.join(', ')}`)
      }
      const { error } = CONFIG_SCHEMA.shape[key as ConfigKey].safeParse(value)
      if (error) throw new UsageError(`${name}: ${key}: ${error.issues[0]?.message ?? 'invalid'}`)
      merged[key] = value
      origins[key] = name
    }
  }
  const config = CONFIG_SCHEMA.parse(merged)
  const sources = Object.fromEntries(KEYS.map((key) => [key, origins[key] ?? 'default']))
  return { config, sources: sources as Record<ConfigKey, string> }
}

/** `MYCELIUM_LOG_LEVEL` for `logLevel`. */
function variableOf(key: string): string {
  return `MYCELIUM_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}

/** One source for each variable that is set; lists are separated by commas. */
export function environmentSources(
  environment: Readonly<Record<string, string | undefined>>,
): ConfigSource[] {
  return KEYS.flatMap((key) => {
    const name = variableOf(key)
    const text = environment[name]
    return text === undefined ? [] : [{ name, values: { [key]: valueOf(key, text) } }]
  })
}

/** Text that is no value of its type stays text, for the message. */
function valueOf(key: ConfigKey, text: string): unknown {
  const standard = CONFIG_SCHEMA.shape[key].parse(undefined)
  if (Array.isArray(standard)) return text === '' ? [] : text.split(',').map((part) => part.trim())
  if (typeof standard === 'boolean') return { true: true, false: false }[text] ?? text
  if (typeof standard === 'number') return /^\d+$/.test(text) ? Number(text) : text
  return text
}
