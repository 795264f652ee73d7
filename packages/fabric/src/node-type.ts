import type { NodeType } from '@mycelium/identity'
import { DELAY_MS_MAX, HEARTBEAT_MS } from './constants.ts'

/** Defaults of one kind of node. */
export interface NodePreset {
  /** Multiaddrs to listen on. */
  readonly listen: readonly string[]
  /** Relays connections between members that cannot reach each other. */
  readonly isRelay: boolean
  readonly heartbeatMs: number
  readonly dialDelayMsMax: number
  /** What it lends of the machine: all that is free, what is left over, nothing. */
  readonly resources: 'full' | 'adaptive' | 'minimal'
}

/** Every address of both families, a free port. */
const ANY: readonly string[] = ['/ip4/0.0.0.0/tcp/0', '/ip6/::/tcp/0']

const FULL: NodePreset = {
  listen: ANY,
  isRelay: true,
  heartbeatMs: HEARTBEAT_MS,
  dialDelayMsMax: DELAY_MS_MAX,
  resources: 'full',
}

/** Presets by node type, each as what differs from a full node. */
export const NODE_PRESETS: Readonly<Record<NodeType, NodePreset>> = Object.freeze({
  'sclerotium-dedicated': FULL,
  // A relay that comes and goes takes its connections along.
  'sclerotium-dynamic': { ...FULL, isRelay: false },
  rhizomorph: { ...FULL, resources: 'adaptive' },
  // Often on a battery, behind NAT, on a line that is paid by the byte: it calls, nobody calls it.
  hypha: {
    ...FULL,
    listen: [],
    isRelay: false,
    heartbeatMs: 6 * HEARTBEAT_MS,
    resources: 'minimal',
  },
})
