import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import { tls } from '@libp2p/tls'
import {
  createFabric,
  createSystemClock,
  createSystemRandom,
  type Fabric,
  measureCapabilities,
} from '@mycelium/fabric'
import type { Membership } from '@mycelium/identity'
import type { Clock, NodeId } from '@mycelium/interface'
import { type AdminServer, type Check, startAdminServer } from './admin/server.ts'
import { BootstrapRunner } from './bootstrap-runner.ts'
import type { Command, MemberStatus, NodeStatus, NodeTypeName } from './command.ts'
import type { EffectiveConfig } from './config.ts'
import type { Metric } from './core/metrics.ts'
import { NotReadyError } from './errors.ts'
import { execute, type Executor } from './execute.ts'
import type { LeveledLogger } from './logger.ts'
import { type NodeParts, openNodeParts } from './node-parts.ts'
import type { Paths } from './paths.ts'
import { PeerExchange } from './peer-exchange.ts'
import { readStateFile, writeStateFile } from './state-file.ts'

export interface DaemonDeps {
  readonly logger: LeveledLogger
}

export interface DaemonInit {
  readonly paths: Paths
  readonly effective: EffectiveConfig
  readonly version: string
}

/** Addresses are asked for again so often: interfaces come and go. */
const ADDRESSES_MS = 5_000

/** A running node. */
export interface Daemon extends AsyncDisposable {
  /** Settles when the admin interface answers, which is before the node is ready. */
  readonly socket: string
}

/**
 * Starts a node. Resolves when it listens; whether it is ready, its status tells.
 *
 * Rejects `ERR_NODE_ALREADY_RUNNING`, `ERR_NODE_NOT_READY` if it is a member of no network, and as
 * what it is made of does.
 */
export async function startDaemon(deps: DaemonDeps, init: DaemonInit): Promise<Daemon> {
  await using opened = new AsyncDisposableStack()
  const node = new RunningNode(deps, init)
  const { socket } = init.paths
  const admin = {
    execute: (command: Command) => execute(node.executor, command),
    checks: () => node.checks(),
    metrics: () => node.metrics(),
  }
  const { metricsPort } = init.effective.config
  const server: AdminServer = opened.use(
    await startAdminServer(admin, {
      socket,
      version: init.version,
      ...groupOf('mycelium'),
      ...(metricsPort > 0 && { metricsPort }),
    }),
  )
  opened.use(node)
  await node.start()
  deps.logger.log('info', 'node started', { socket, metricsPort: server.metricsPort })
  const ends = opened.move()
  return { socket, [Symbol.asyncDispose]: () => ends.disposeAsync() }
}

/** The number of a group, if the machine has it (group(5)). */
function groupOf(name: string): { readonly groupId?: number } {
  try {
    const line = readFileSync('/etc/group', 'utf8')
      .split('\n')
      .find((one) => one.startsWith(`${name}:`))
    const id = line?.split(':')[2]
    return id === undefined ? {} : { groupId: Number(id) }
  } catch {
    return {} // no such file: no groups
  }
}

interface Running {
  readonly parts: NodeParts
  readonly fabric: Fabric
  readonly exchange: PeerExchange
  readonly bootstrap: BootstrapRunner
}

class RunningNode implements AsyncDisposable {
  readonly #deps: DaemonDeps
  readonly #init: DaemonInit
  readonly #clock: Clock = createSystemClock()
  readonly #startedAt: number
  readonly #ends = new AsyncDisposableStack()
  /** What members were when they were last connected. */
  readonly #seen = new Map<NodeId, { nodeType: NodeTypeName; roles: readonly string[] }>()
  #running: Running | undefined
  /** Members say so; the fact itself does not come to who is not let in. */
  #isRevoked = false
  readonly #refusals = new Map<string, number>()

  constructor(deps: DaemonDeps, init: DaemonInit) {
    this.#deps = deps
    this.#init = init
    this.#startedAt = this.#clock.now()
  }

  get executor(): Executor {
    const { parts, fabric } = this.#here
    return {
      parts,
      logger: this.#deps.logger,
      status: () => this.#status(),
      isRevoked: () => this.#isRevoked,
      tokenAddresses: () => fabric.addresses,
    }
  }

  get #here(): Running {
    if (this.#running) return this.#running
    throw new NotReadyError('the node is starting')
  }

  async start(): Promise<void> {
    const { paths, effective } = this.#init
    const { logger } = this.#deps
    const parts = this.#ends.use(await openNodeParts({ logger }, { paths, effective }))
    const { membership } = parts
    if (membership.status().network === undefined) {
      throw new NotReadyError('this node is a member of no network', {
        fix: 'mycelium init --name NAME to create one, or mycelium join --token-file FILE',
      })
    }
    const fabric = this.#ends.use(this.#makeFabric(parts))
    const exchange = this.#ends.use(await this.#makeExchange(parts, fabric))
    const bootstrap = this.#ends.use(await this.#makeBootstrap(parts, fabric))
    this.#running = { parts, fabric, exchange, bootstrap }
    this.#listen(this.#running)
    bootstrap.start()
    await bootstrap.untilFirstOutcome()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ends.disposeAsync()
  }

  #makeFabric({ membership }: NodeParts): Fabric {
    const { config } = this.#init.effective
    const { network } = membership.status()
    const random = createSystemRandom()
    return createFabric(
      { clock: this.#clock, random, logger: this.#deps.logger },
      {
        privateKey: privateKeyFromRaw(membership.nodePrivateKey()),
        ...(network && { nodeType: network.certificate.nodeType }),
        connectionEncrypters: [membership.secure(tls())],
        services: { membership: membership.service },
        listen: config.listen,
        announce: config.announce,
        mdns: config.mdns,
        ...(config.relay && { relay: true }),
      },
    )
  }

  async #makeExchange({ membership, audit }: NodeParts, fabric: Fabric): Promise<PeerExchange> {
    const path = join(this.#init.paths.dataFolder, 'peers.cbor')
    let writing: Promise<void> = Promise.resolve()
    let isDue = false
    const keep = (bytes: Uint8Array): void => {
      latest = bytes
      if (isDue) return
      isDue = true
      writing = writing
        .then(async () => {
          isDue = false
          await writeStateFile(path, latest)
        })
        .catch((error: unknown) => {
          // Only a hint for the next start.
          this.#deps.logger.log('warn', 'peers not kept', { error })
        })
    }
    let latest: Uint8Array = new Uint8Array()
    const exchange = new PeerExchange(
      {
        clock: this.#clock,
        transport: fabric.transport('peers'),
        learn: (node, addresses) => {
          fabric.learn(node, addresses)
        },
        keep,
        refused: (node, why) => {
          audit.append({ event: 'peers:refused', node, reason: why })
        },
      },
      membership.node,
      await readStateFile(path),
    )
    this.#ends.defer(() => writing)
    for (const { node, addresses } of membership.peers()) fabric.learn(node as NodeId, addresses)
    this.#learnConfigured(fabric)
    return exchange
  }

  /** Multiaddrs of the configuration, which end with `/p2p/<id>`. */
  #learnConfigured(fabric: Fabric): void {
    for (const address of this.#init.effective.config.peers) {
      const id = /\/p2p\/([^/]+)$/.exec(address)?.[1]
      if (id === undefined) {
        throw new NotReadyError(`the peer ${address} does not end with /p2p/<its id>`)
      }
      fabric.learn(id as NodeId, [address])
    }
  }

  async #makeBootstrap({ membership }: NodeParts, fabric: Fabric): Promise<BootstrapRunner> {
    const { logger } = this.#deps
    const { dataFolder } = this.#init.paths
    return await BootstrapRunner.open(
      { clock: this.#clock, logger },
      {
        path: join(dataFolder, 'bootstrap.json'),
        steps: {
          bootstrap: async () => {
            await fabric.start()
            const { network } = membership.status()
            return `member of ${network?.name ?? 'no network'}`
          },
          discovery: async (signal) => await discover(fabric, signal),
          registration: async () => {
            const clock = this.#clock
            const init = { folder: dataFolder }
            const { processor, memory } = await measureCapabilities({ clock }, init)
            const mebibytes = Math.round(memory.totalBytes / 2 ** 20)
            return `${processor.cores} cores, ${mebibytes} MiB`
          },
          handoff: () =>
            Promise.resolve({ nobody: 'local management: the network has no managers yet' }),
        },
      },
    )
  }

  #listen({ parts, fabric, exchange }: Running): void {
    const { membership } = parts
    const announce = (): void => {
      exchange.announce(fabric.addresses)
      cancel = this.#clock.schedule(this.#clock.now() + ADDRESSES_MS, announce)
    }
    let cancel = (): void => {}
    fabric.addEventListener('peer:up', () => {
      exchange.announce(fabric.addresses)
    })
    announce()
    this.#ends.defer(() => {
      cancel()
    })
    membership.addEventListener('member:proven', ({ detail: { node, nodeType, roles } }) => {
      this.#seen.set(node, { nodeType, roles })
    })
    membership.addEventListener('member:revoked', ({ detail: { node } }) => {
      if (node === undefined) return
      exchange.forget(node)
      if (node !== membership.node) fabric.drop(node, 'revoked')
    })
    membership.addEventListener('member:refused', ({ detail: { reason, isByPeer } }) => {
      if (isByPeer && reason === 'revoked') this.#isRevoked = true
      this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1)
    })
  }

  // ---- what others see

  checks(): readonly Check[] {
    const running = this.#running
    if (!running) return [{ name: 'node', ok: false, message: 'starting' }]
    const { network } = running.parts.membership.status()
    const { state } = running.bootstrap
    const { isFailing } = running.parts.audit.metrics
    return [
      {
        name: 'membership',
        ok: network !== undefined && !network.isDegraded && !this.#isRevoked,
        message: this.#membershipIn(network),
      },
      {
        name: 'fabric',
        ok: running.fabric.addresses.length > 0 || this.#init.effective.config.listen.length === 0,
        message: running.fabric.addresses.join(' ') || 'listens nowhere',
      },
      {
        name: 'bootstrap',
        ok: state.phase === 'monitoring',
        message: `${state.phase}: ${state.message}`,
      },
      { name: 'audit', ok: !isFailing, message: isFailing ? 'the disk takes nothing' : 'written' },
    ]
  }

  #membershipIn(network: ReturnType<Membership['status']>['network']): string {
    if (network === undefined) return 'member of no network'
    if (this.#isRevoked) return `the membership of ${network.name} was revoked`
    return network.isDegraded ? 'the certificate has expired' : `member of ${network.name}`
  }

  #status(): NodeStatus {
    const { parts, fabric, bootstrap } = this.#here
    const { node, network } = parts.membership.status()
    const { state } = bootstrap
    const failing = this.checks().find(({ ok }) => !ok)
    return {
      node,
      version: this.#init.version,
      network: network?.id ?? '',
      networkName: network?.name ?? '',
      phase: state.phase,
      isReady: failing === undefined,
      message: failing ? `${failing.name}: ${failing.message}` : `ready, ${state.message}`,
      uptimeMs: Math.round(this.#clock.now() - this.#startedAt),
      rssBytes: process.memoryUsage.rss(),
      listening: [...fabric.addresses],
      ...(network && { certificateUntil: network.certificate.notAfter }),
      members: this.#members(),
    }
  }

  #members(): MemberStatus[] {
    const { parts, fabric, exchange } = this.#here
    const { node: self, network, members } = parts.membership.status()
    const authorities = new Set(network?.authorities)
    const sessions = new Map(members.map((session) => [session.node, session]))
    const peers = new Map(fabric.peers.map((peer) => [peer.peer, peer]))
    const known = new Set<NodeId>([
      self,
      ...sessions.keys(),
      ...exchange.announcements.map(({ node }) => node),
    ])
    return [...known].sort().map((node) => {
      const isSelf = node === self
      const seen = isSelf ? network?.certificate : this.#seen.get(node)
      const peer = peers.get(node)
      const isDegraded = isSelf ? network?.isDegraded : sessions.get(node)?.isDegraded
      const isConnected = isSelf || peer !== undefined
      const isWell = isDegraded !== true
      const state = !isConnected ? 'away' : isWell ? 'connected' : 'degraded'
      return {
        node,
        ...(seen && { nodeType: seen.nodeType, roles: [...seen.roles] }),
        isSelf,
        isAuthority: authorities.has(node),
        state,
        ...(peer?.roundTripMs !== undefined && { rttMs: peer.roundTripMs }),
        addresses: isSelf ? [...fabric.addresses] : [...exchange.addressesOf(node)],
        message: messageOf(state, peer?.isRelayed === true, isSelf),
      }
    })
  }

  metrics(): readonly Metric[] {
    const gauge = (name: string, help: string, value: number): Metric => ({
      name: `mycelium_${name}`,
      type: 'gauge',
      help,
      values: [{ value }],
    })
    const uptimeS = (this.#clock.now() - this.#startedAt) / 1_000
    const always = [
      gauge('uptime_seconds', 'Since the daemon started.', uptimeS),
      gauge('resident_bytes', 'Memory of the daemon.', process.memoryUsage.rss()),
      gauge('ready', '1: the node serves.', this.checks().every(({ ok }) => ok) ? 1 : 0),
    ]
    if (!this.#running) return always
    const { parts, fabric } = this.#running
    const { eventsTotal, findingsTotal } = parts.monitor.metrics
    const counter = (name: string, label: string, help: string, counts: object): Metric => ({
      name: `mycelium_${name}`,
      type: 'counter',
      help,
      values: Object.entries(counts).map(([key, value]) => ({
        value: value as number,
        labels: { [label]: key },
      })),
    })
    return [
      ...always,
      gauge('peers', 'Members connected now.', fabric.peers.length),
      gauge('audit_entries', 'Number of the last entry.', parts.audit.metrics.entries),
      {
        name: 'mycelium_peer_round_trip_seconds',
        type: 'gauge',
        help: 'Median of the last heartbeats.',
        values: fabric.peers.flatMap(({ peer, roundTripMs }) =>
          roundTripMs === undefined ? [] : [{ value: roundTripMs / 1_000, labels: { peer } }],
        ),
      },
      counter('refusals', 'reason', 'Handshakes refused.', Object.fromEntries(this.#refusals)),
      counter('security_events', 'cause', 'Events the monitor counted.', eventsTotal),
      counter('security_findings', 'rule', 'Rules of the monitor broken.', findingsTotal),
    ]
  }
}

function messageOf(state: MemberStatus['state'], isRelayed: boolean, isSelf: boolean): string {
  if (isSelf) return state === 'degraded' ? 'certificate expired' : 'this node'
  if (state === 'away') return 'not connected'
  const how = isRelayed ? 'through a relay' : 'directly'
  return state === 'degraded' ? `certificate expired, connected ${how}` : `connected ${how}`
}

/** Resolves when a member is connected, or when there is none to look for. */
async function discover(fabric: Fabric, signal: AbortSignal): Promise<string> {
  if (fabric.known.length === 0) return 'no other member is known'
  if (fabric.peers.length === 0) {
    await new Promise<void>((resolve, reject) => {
      fabric.addEventListener(
        'peer:up',
        () => {
          resolve()
        },
        { once: true, signal },
      )
      signal.addEventListener('abort', () => {
        reject(new Error(`none of ${fabric.known.length} known members can be reached`))
      })
    })
  }
  return `${fabric.peers.length} of ${fabric.known.length} known members connected`
}
