import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { createBoottimeClock } from '@mycelium/ram'
import { fencingLeasesCases } from '@mycelium/interface/testing'
import type { FencingLeasesSetup } from '@mycelium/interface/testing'
import type { NodeId } from '@mycelium/interface'
import { describe, test } from 'vitest'
import { createLeaseClient } from '../../src/lease/lease-client.ts'
import type { LeaseClient } from '../../src/lease/lease-client.ts'
import { createLeaseServer } from '../../src/lease/lease-server.ts'

/** Short, so that cases which wait for it are quick; long against a pause of a busy machine. */
const TTL_MS = 600

const clock = createBoottimeClock()

/** A client whose wire can be cut. */
class CutClient {
  readonly self: NodeId
  readonly leases: LeaseClient
  readonly #streams = new Set<Duplex>()
  #isConnected = true

  constructor(self: string, socketPath: string) {
    this.self = self as NodeId
    const init = { self: this.self, socketPath }
    this.leases = createLeaseClient({ clock, connect: (path) => this.#connect(path) }, init)
  }

  setConnected(isConnected: boolean): void {
    this.#isConnected = isConnected
    if (isConnected) return
    for (const stream of this.#streams) stream.destroy()
  }

  #connect(path: string): Duplex {
    if (!this.#isConnected) return new Duplex().destroy()
    const stream = connect(path)
    this.#streams.add(stream)
    stream.once('close', () => this.#streams.delete(stream))
    return stream
  }
}

async function setUp(): Promise<FencingLeasesSetup> {
  const folder = mkdtempSync(join(tmpdir(), 'mycelium-lease-'))
  let server = createLeaseServer({ clock }, { folder })
  await server.start()
  const clients = ['a', 'b', 'c'].map((self) => new CutClient(self, server.socketPath))
  return {
    clients,
    clock,
    ttlMs: TTL_MS,
    elapse: (ms) => new Promise((resolve) => clock.schedule(clock.now() + ms, resolve)),
    setConnected: async (index, isConnected) => {
      clients[index]?.setConnected(isConnected)
      await Promise.resolve()
    },
    restartGrantor: async () => {
      await server.stop()
      server = createLeaseServer({ clock }, { folder })
      await server.start()
    },
    [Symbol.asyncDispose]: async () => {
      for (const { leases } of clients) await leases.stop()
      await server.stop()
      rmSync(folder, { recursive: true })
    },
  }
}

describe('fencing leases of a lease server over a unix socket', () => {
  for (const each of fencingLeasesCases) test(each.name, () => each.run(setUp))
})
