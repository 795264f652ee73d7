import type { Clock, MessageTransport, NodeId } from '@mycelium/interface'
import { type CborValue, decodeCanonical, encodeCanonical } from '@mycelium/identity'
import * as z from 'zod'
import {
  ADDRESS_CHARS_MAX,
  ADDRESSES_MAX,
  type Announcement,
  ANNOUNCEMENTS_MAX,
  PeerBook,
  PEERS_MAX,
  type PeerBookInput,
} from './core/peer-book.ts'

const announcement = z.strictObject({
  node: z
    .string()
    .max(64)
    .transform((text) => text as NodeId),
  version: z.int().min(0),
  addresses: z.array(z.string().max(ADDRESS_CHARS_MAX)).max(ADDRESSES_MAX),
})

/** Of one message, and of what is kept. */
const MESSAGE_BYTES_MAX = 262_144
const BOOK_BYTES_MAX = 16 * 1_048_576

const message = z.array(announcement).max(ANNOUNCEMENTS_MAX)
const book = z.array(announcement).max(PEERS_MAX)

export interface PeerExchangeDeps {
  readonly clock: Clock
  readonly transport: MessageTransport
  /** Connects to a node there, from now on. */
  learn(node: NodeId, addresses: readonly string[]): void
  /** Bytes for the next life. */
  keep(bytes: Uint8Array): void
  /** A peer tells nonsense. */
  refused(peer: NodeId, why: string): void
}

/** Carries out a {@link PeerBook} over a transport. */
export class PeerExchange implements Disposable {
  readonly #deps: PeerExchangeDeps
  readonly #core: PeerBook
  readonly #over = new AbortController()
  #cancel = (): void => {}

  /** @param kept - what `keep` was given in an earlier life; unreadable: as if there was none */
  constructor(deps: PeerExchangeDeps, self: NodeId, kept: Uint8Array | undefined) {
    this.#deps = deps
    this.#core = new PeerBook(self, kept && readAnnouncements(kept, book, BOOK_BYTES_MAX))
    const { transport } = deps
    const { signal } = this.#over
    for (const { node, addresses } of this.#core.others) {
      if (addresses.length > 0) deps.learn(node, addresses)
    }
    for (const peer of transport.peers()) this.#step({ type: 'up', peer })
    transport.addEventListener(
      'peer:up',
      ({ detail: { peer } }) => {
        this.#step({ type: 'up', peer })
      },
      { signal },
    )
    transport.addEventListener(
      'peer:down',
      ({ detail: { peer } }) => {
        this.#step({ type: 'down', peer })
      },
      { signal },
    )
    transport.addEventListener(
      'message',
      ({ detail }) => {
        this.#receive(detail.from, detail.message)
      },
      { signal },
    )
  }

  get announcements(): readonly Announcement[] {
    return this.#core.announcements
  }

  addressesOf(node: NodeId): readonly string[] {
    return this.#core.addressesOf(node)
  }

  announce(addresses: readonly string[]): void {
    this.#step({ type: 'self', addresses })
  }

  forget(node: NodeId): void {
    this.#step({ type: 'forget', node })
  }

  [Symbol.dispose](): void {
    this.#over.abort()
    this.#cancel()
  }

  #receive(by: NodeId, bytes: Uint8Array): void {
    const announcements = readAnnouncements(bytes, message, MESSAGE_BYTES_MAX)
    if (announcements === undefined) this.#deps.refused(by, 'announcements that make no sense')
    else this.#step({ type: 'told', by, announcements })
  }

  #step(input: PeerBookInput): void {
    const { clock, transport } = this.#deps
    if (this.#over.signal.aborted) return
    const time = { now: clock.now(), unixMs: clock.unixMs() }
    for (const effect of this.#core.step(input, time)) {
      switch (effect.type) {
        case 'tell':
          transport.send(effect.to, bytesOf(effect.announcements))
          break
        case 'learn':
          this.#deps.learn(effect.node, effect.addresses)
          break
        case 'changed':
          this.#deps.keep(bytesOf(this.#core.others))
          break
      }
    }
    this.#arm()
  }

  #arm(): void {
    this.#cancel()
    const at = this.#core.nextDeadline()
    this.#cancel =
      at === undefined
        ? () => {}
        : this.#deps.clock.schedule(at, () => {
            this.#step({ type: 'tick' })
          })
  }
}

function bytesOf(announcements: readonly Announcement[]): Uint8Array {
  return encodeCanonical(announcements as unknown as CborValue)
}

function readAnnouncements(
  bytes: Uint8Array,
  schema: typeof message,
  bytesMax: number,
): readonly Announcement[] | undefined {
  try {
    return schema.safeParse(decodeCanonical(bytes, { bytesMax })).data
  } catch {
    return undefined // not canonical: as refused as a wrong shape
  }
}
