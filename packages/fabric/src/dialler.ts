import type { Clock, Logger, NodeId, Random } from '@mycelium/interface'
import { PEERS_MAX } from './constants.ts'
import {
  createReconnect,
  type Reconnect,
  type ReconnectConfig,
  type ReconnectEffect,
  type ReconnectInput,
} from './core/reconnect.ts'

/** What is told before the start: every known peer, learned and forgotten again. */
const EARLY_MAX: number = 2 * PEERS_MAX

export interface DiallerDeps {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Makes a connection, or rejects; the table of connections hears of it by itself. */
  readonly dial: (peer: NodeId, addresses: readonly string[], signal: AbortSignal) => Promise<void>
}

/** Carries out what the core of reconnects says. */
export class Dialler {
  readonly #deps: DiallerDeps
  readonly #core: Reconnect
  readonly #dials = new Map<NodeId, AbortController>()
  readonly #early: ReconnectInput[] = []
  #state: 'new' | 'running' | 'stopped' = 'new'
  #cancelTimer = (): void => {}

  constructor(deps: DiallerDeps, config: ReconnectConfig) {
    this.#deps = deps
    this.#core = createReconnect(deps, config)
  }

  get known(): Reconnect['known'] {
    return this.#core.known
  }

  start(): void {
    this.#state = 'running'
    for (const input of this.#early.splice(0)) this.step(input)
  }

  /** Dials under way are aborted; nothing follows. */
  stop(): void {
    this.#state = 'stopped'
    this.#cancelTimer()
    for (const controller of this.#dials.values()) controller.abort(new Error('stopped'))
  }

  /** Before the start, kept until then. */
  step(input: ReconnectInput): void {
    if (this.#state === 'new' && this.#early.length < EARLY_MAX) this.#early.push(input)
    if (this.#state !== 'running') return
    const now = this.#deps.clock.now()
    for (const effect of this.#core.step(input, now)) this.#carryOut(effect)
    this.#arm()
  }

  #carryOut(effect: ReconnectEffect): void {
    switch (effect.type) {
      case 'dial':
        void this.#dial(effect.peer, effect.addresses)
        break
      case 'cancel':
        this.#dials.get(effect.peer)?.abort(new Error('not wanted any more'))
        break
      case 'full':
        this.#deps.logger.log('warn', 'too many known peers', { peer: effect.peer })
        break
    }
  }

  /** Never rejects. */
  async #dial(peer: NodeId, addresses: readonly string[]): Promise<void> {
    const controller = new AbortController()
    this.#dials.set(peer, controller)
    try {
      await this.#deps.dial(peer, addresses, controller.signal)
    } catch (error) {
      this.#deps.logger.log('debug', 'dial failed', { peer, error: String(error) })
    }
    this.#dials.delete(peer)
    this.step({ type: 'dialled', peer })
  }

  #arm(): void {
    this.#cancelTimer()
    if (this.#state !== 'running') return
    const at = this.#core.nextDeadline()
    if (at === undefined) return
    this.#cancelTimer = this.#deps.clock.schedule(at, () => this.step({ type: 'tick' }))
  }
}
