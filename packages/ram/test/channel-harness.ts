import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type ListenOptions, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BulkChannel, BulkChannelProvider, Clock, NodeId } from '@mycelium/interface'
import type { BulkChannelSetup } from '@mycelium/interface/testing'

/** Real time that a test can move forward at once. */
export class JumpingClock implements Clock {
  #offset = 0
  readonly #due = new Set<{ at: number; callback: () => void }>()

  now(): number {
    return performance.now() + this.#offset
  }

  unixMs(): number {
    return Date.now() + this.#offset
  }

  schedule(at: number, callback: () => void): () => void {
    const job = { at, callback }
    this.#due.add(job)
    const fire = (): void => {
      if (!this.#due.has(job)) return
      if (this.now() >= at) {
        this.#due.delete(job)
        callback()
      } else {
        timer = setTimeout(fire, Math.ceil(at - this.now()))
      }
    }
    let timer = setTimeout(fire, Math.max(0, Math.ceil(at - this.now())))
    return () => {
      clearTimeout(timer)
      this.#due.delete(job)
    }
  }

  jump(ms: number): void {
    this.#offset += ms
    for (const job of [...this.#due]) {
      if (job.at > this.now() || !this.#due.delete(job)) continue
      job.callback()
    }
  }
}

/** A wire between the ends that a test can cut: forwards bytes between two addresses. */
export class Cable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #cut = false
  /** What may still pass from near to far before it is cut. */
  #allowance: { bytes: number; readonly onUsedUp: () => void } | undefined

  constructor(
    target: { readonly path: string } | { readonly host: string; readonly port: number },
  ) {
    this.#server = createServer((near) => {
      if (this.#cut) {
        near.destroy()
        return
      }
      const far = connect(target)
      near.on('data', ({ length }: Buffer) => this.#count(length))
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket)
        socket.on('error', () => {}) // whoever is at the end sees it close
        socket.on('close', () => {
          this.#sockets.delete(socket)
          other.destroy()
        })
        socket.pipe(other)
      }
    })
  }

  async listen(options: ListenOptions): Promise<ReturnType<Server['address']>> {
    await new Promise<void>((resolve) => {
      this.#server.listen(options, resolve)
    })
    return this.#server.address()
  }

  cut(): void {
    this.#cut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Resolves when so many bytes have gone in from near, and it is cut. What of the last ones
   * comes out is not said. */
  async cutAfter(bytes: number): Promise<void> {
    await new Promise<void>((onUsedUp) => {
      this.#allowance = { bytes, onUsedUp }
    })
  }

  #count(bytes: number): void {
    if (this.#allowance === undefined) return
    this.#allowance.bytes -= bytes
    if (this.#allowance.bytes > 0) return
    const { onUsedUp } = this.#allowance
    this.#allowance = undefined
    this.cut()
    onUsedUp()
  }

  mend(): void {
    this.#cut = false
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
  }
}

export async function temporaryFolder(): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'ram-'))
}

export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true })
}

export const OPENER = 'opener' as NodeId
export const ACCEPTOR = 'acceptor' as NodeId
/** Small, so that the cases fill the buffers quickly; no real time decides anything. */
export const TEST_INIT = {
  bufferBytesMax: 2 ** 20,
  messageBytesMax: 2 ** 18,
  graceMs: 1_000_000,
  silenceMs: 100_000,
  connectMs: 100_000,
  backoffMs: 1,
  backoffMsMax: 4,
} as const

async function until(channel: BulkChannel, state: BulkChannel['state']): Promise<void> {
  while (channel.state !== state) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}

/** What a suite needs, from two providers and the cable between them. */
export async function setupOver(wiring: {
  readonly opener: BulkChannelProvider
  readonly acceptor: BulkChannelProvider
  readonly cable: Cable
  readonly clock: JumpingClock
  readonly dispose: () => Promise<void>
}): Promise<BulkChannelSetup> {
  const { cable, clock } = wiring
  const accepted = wiring.acceptor.accept('test/')[Symbol.asyncIterator]()
  const [opener, next] = await Promise.all([
    wiring.opener.open(ACCEPTOR, 'test/channel'),
    accepted.next(),
  ])
  if (next.done === true) throw new Error('no channel was accepted')
  const acceptor = next.value
  const both = async (state: BulkChannel['state']): Promise<void> => {
    await Promise.all([until(opener, state), until(acceptor, state)])
  }
  return {
    opener,
    acceptor,
    suspend: async () => {
      cable.cut()
      await both('suspended')
    },
    resume: async () => {
      cable.mend()
      await both('open')
    },
    lose: async () => {
      cable.cut()
      await both('suspended')
      clock.jump(TEST_INIT.graceMs)
      await both('closed')
    },
    [Symbol.asyncDispose]: async () => {
      await cable.close()
      await wiring.dispose()
    },
  }
}
