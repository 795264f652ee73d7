import type { Duplex } from 'node:stream'
import type { AbortOptions, BulkChannel, Clock, NodeId, Random } from '@mycelium/interface'
import type { ChannelConfig } from './channel-config.ts'
import { NODE_ID_BYTES_MAX, PURPOSE_BYTES_MAX, SESSION_ID_BYTES } from './core/session-constants.ts'
import { DuplexChannel } from './duplex-channel.ts'

export interface OpenChannelDeps {
  readonly clock: Clock
  readonly random: Random
  /** A new connection to the peer, authenticated as far as the transport does that. */
  readonly connect: (options: { readonly signal: AbortSignal }) => Promise<Duplex>
}

export interface OpenChannelInit {
  readonly local: NodeId
  readonly remote: NodeId
  readonly purpose: string
  readonly config: ChannelConfig
  /** Channels that are not over; this one joins and leaves it. */
  readonly opened: Set<DuplexChannel>
}

/** Opens a channel as {@link BulkChannelProvider.open} says. */
export async function openChannel(
  deps: OpenChannelDeps,
  init: OpenChannelInit,
  options: AbortOptions,
): Promise<BulkChannel> {
  const { local, remote, purpose, config, opened } = init
  checkName('remote', remote, NODE_ID_BYTES_MAX)
  checkName('purpose', purpose, PURPOSE_BYTES_MAX)
  const sessionId = deps.random.bytes(SESSION_ID_BYTES)
  const identity = { local, remote, purpose, sessionId }
  const channel = new DuplexChannel(deps, identity, { ...config, role: 'opener' })
  opened.add(channel)
  void channel.ended().then(() => opened.delete(channel))
  await channel.open(options)
  return channel
}

function checkName(name: string, value: string, bytesMax: number): void {
  const bytes = Buffer.byteLength(value)
  if (bytes < 1 || bytes > bytesMax) {
    throw new RangeError(`${name} must have 1..${bytesMax} bytes, got ${bytes}`)
  }
}
