import type { NodeId } from '@mycelium/interface'
import type { HostConfig, HostEvent } from '../internal/host-protocol.ts'
import { Child, type Program } from './child.ts'
import { HostProcess } from './host-process.ts'

/** What all hosts of a cluster have in common. */
export type ClusterInit = Omit<HostConfig, 'self' | 'role' | 'channelFolder' | 'leaseSocket'>

export interface ClusterDeps {
  /** Empty, 0700, removed by the caller. */
  readonly folder: string
  /** @default this program */
  readonly program?: Program
  readonly onEvent?: (host: HostProcess, event: HostEvent) => void
}

type LeaseServerEvent = { readonly type: 'ready'; readonly socketPath: string }

/** A lease server and host processes of one VM, all on this machine. */
export class Cluster {
  readonly #deps: ClusterDeps
  readonly #init: ClusterInit
  readonly #children = new Set<{ stop(): Promise<void> }>()
  #leaseServer: Child<never, LeaseServerEvent> | undefined
  #leaseSocket = ''
  #nodes = 0

  constructor(deps: ClusterDeps, init: ClusterInit) {
    this.#deps = deps
    this.#init = init
  }

  get leaseServer(): Child<never, LeaseServerEvent> {
    if (this.#leaseServer === undefined) throw new TypeError('there is no lease server yet')
    return this.#leaseServer
  }

  /** Starts it, or another one on the folder of the one before, and waits until it grants. */
  async startLeaseServer(signal: AbortSignal): Promise<void> {
    const ready = Promise.withResolvers<string>()
    const args = ['lease-server', '--folder', `${this.#deps.folder}/leases`]
    const child = new Child<never, LeaseServerEvent>(
      args,
      ({ socketPath }) => {
        ready.resolve(socketPath)
      },
      this.#deps.program,
    )
    this.#leaseServer = child
    this.#children.add(child)
    signal.addEventListener('abort', () => {
      ready.reject(signal.reason as Error)
    })
    void child.exited.then(() => {
      ready.reject(new Error(`the lease server ended: ${child.complaint}`))
    })
    this.#leaseSocket = await ready.promise
  }

  /** @param changes - to what all hosts have in common; `self` is `node-1`, `node-2`, ... */
  startHost(role: HostConfig['role'], changes: Partial<HostConfig> = {}): HostProcess {
    const host = new HostProcess(
      {
        ...this.#init,
        self: `node-${++this.#nodes}` as NodeId,
        role,
        channelFolder: `${this.#deps.folder}/channels`,
        leaseSocket: this.#leaseSocket,
        ...changes,
      },
      this.#deps.onEvent,
      this.#deps.program,
    )
    this.#children.add(host)
    return host
  }

  /** Asks all to end and waits for them. Idempotent. */
  async stop(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.stop()))
  }
}
