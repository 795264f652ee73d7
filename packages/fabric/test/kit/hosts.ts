import { generateKeyPair } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import type { Clock, NodeId } from '@mycelium/interface'
import {
  createFabric,
  createSystemClock,
  createSystemRandom,
  type Fabric,
  type FabricInit,
} from '../../src/index.ts'

const LOOPBACK = ['/ip4/127.0.0.1/tcp/0']

/** The system's time, which can be moved on for what was scheduled on it. */
export class ElasticClock implements Clock {
  readonly #clock = createSystemClock()
  readonly #jobs = new Set<{ readonly at: number; run: () => void }>()
  #aheadMs = 0

  now(): number {
    return this.#clock.now() + this.#aheadMs
  }

  unixMs(): number {
    return this.#clock.unixMs() + this.#aheadMs
  }

  schedule(at: number, callback: () => void): () => void {
    let cancel = (): void => {}
    const job = {
      at,
      run: (): void => {
        cancel()
        this.#jobs.delete(job)
        callback()
      },
    }
    this.#jobs.add(job)
    cancel = this.#clock.schedule(at - this.#aheadMs, job.run)
    return () => {
      cancel()
      this.#jobs.delete(job)
    }
  }

  elapse(ms: number): void {
    this.#aheadMs += ms
    for (const job of [...this.#jobs].sort((a, b) => a.at - b.at)) {
      if (job.at <= this.now() && this.#jobs.has(job)) job.run()
    }
  }
}

export async function newKey(): Promise<PrivateKey> {
  return await generateKeyPair('Ed25519')
}

export async function newFabric(
  init: Partial<FabricInit> = {},
  clock: Clock = createSystemClock(),
): Promise<Fabric> {
  const privateKey = init.privateKey ?? (await newKey())
  const random = createSystemRandom()
  return createFabric({ clock, random }, { listen: LOOPBACK, ...init, privateKey })
}

/** Each knows the addresses of all. */
export function introduce(fabrics: readonly Fabric[]): void {
  for (const one of fabrics) {
    for (const other of fabrics) one.learn(other.nodeId, other.addresses)
  }
}

export function isUp(one: Fabric, peer: NodeId): boolean {
  return one.peers.some((view) => view.peer === peer)
}

/** Resolves when `holds`, which is asked at each event of any of them. */
export async function whenever(fabrics: readonly Fabric[], holds: () => boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const ask = (): void => {
    if (holds()) resolve()
  }
  const controller = new AbortController()
  for (const fabric of fabrics) {
    for (const type of ['peer:up', 'peer:down', 'peer:addresses'] as const) {
      fabric.addEventListener(type, ask, { signal: controller.signal })
    }
  }
  ask()
  await promise
  controller.abort()
}

/** Every one of them is connected with every other. */
export async function meshed(fabrics: readonly Fabric[]): Promise<void> {
  await whenever(fabrics, () =>
    fabrics.every((one) => fabrics.every((other) => one === other || isUp(one, other.nodeId))),
  )
}
