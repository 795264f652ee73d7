import type { Duplex } from 'node:stream'
import type { ChannelLink } from './channel-link.ts'

/** Links of a channel by number: the present one and, while a new one takes over, the old one. */
export class ChannelLinks {
  readonly #links = new Map<number, ChannelLink>()
  #connecting: { readonly number: number; readonly abort: AbortController } | undefined

  /** The newest. */
  get current(): ChannelLink | undefined {
    return [...this.#links.values()].at(-1)
  }

  add(number: number, link: ChannelLink): void {
    this.#links.set(number, link)
  }

  delete(number: number): void {
    this.#links.delete(number)
  }

  /** Gives up link `number`, or the attempt to make it. */
  drop(number: number): void {
    if (this.#connecting?.number === number) this.stopConnecting()
    this.#links.get(number)?.destroy()
    this.#links.delete(number)
  }

  /** Forgets all links without closing them. */
  clear(): void {
    this.#links.clear()
  }

  /** Starts `connect`; after {@link drop} or {@link stopConnecting} neither callback comes. */
  connect(
    number: number,
    connect: (options: { readonly signal: AbortSignal }) => Promise<Duplex>,
    on: { readonly connected: (duplex: Duplex) => void; readonly failed: (why: string) => void },
  ): void {
    const abort = new AbortController()
    this.#connecting = { number, abort }
    connect({ signal: abort.signal }).then(
      (duplex) => {
        if (abort.signal.aborted) {
          duplex.destroy()
          return
        }
        this.#connecting = undefined
        on.connected(duplex)
      },
      (error: unknown) => {
        if (!abort.signal.aborted) on.failed(error instanceof Error ? error.message : String(error))
      },
    )
  }

  stopConnecting(): void {
    this.#connecting?.abort.abort(new Error('the connection is not wanted any more'))
    this.#connecting = undefined
  }
}
