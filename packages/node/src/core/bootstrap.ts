/**
 * How a node comes up, and what it falls back to (spec: "Handoff state machine"). Pure: the shell
 * carries out `run` effects and tells how they ended.
 */
import type { MonotonicMs } from '@mycelium/interface'

export type Phase =
  | 'bootstrap' // who am I? Identity, certificate, network
  | 'discovery' // find members
  | 'registration' // tell capabilities
  | 'handoff' // give control to the services that manage the network
  | 'monitoring' // look that all goes well
  | 'fallback' // manage alone, because that failed

/** What the outside does for a phase. */
export type BootstrapStep = 'bootstrap' | 'discovery' | 'registration' | 'handoff'

export interface BootstrapState {
  readonly phase: Phase
  /** Who manages: this node alone, or services of the network. */
  readonly management: 'local' | 'network'
  /** Failures of the present phase in a row. */
  readonly failures: number
  readonly message: string
}

export type BootstrapInput =
  | { readonly type: 'start' }
  | { readonly type: 'tick' }
  | { readonly type: 'done'; readonly step: BootstrapStep; readonly message: string }
  /** `handoff` succeeded, and nobody is there to take over. */
  | { readonly type: 'nobody'; readonly message: string }
  | { readonly type: 'failed'; readonly step: BootstrapStep; readonly message: string }
  /** The services that manage have gone. */
  | { readonly type: 'lost'; readonly message: string }

export type BootstrapEffect =
  | { readonly type: 'run'; readonly step: BootstrapStep }
  /** To be durable before anything is told of it. */
  | { readonly type: 'persist'; readonly state: BootstrapState }
  | { readonly type: 'changed'; readonly state: BootstrapState }

/** First retry after so long, then twice as long each time. Shorter wakes more, longer waits. */
export const RETRY_MS_MIN = 1_000
/** Longest wait between two tries. */
export const RETRY_MS_MAX = 60_000
/** After so many failures of one step in a row it falls back; it goes on trying from there. */
export const FAILURES_MAX = 5

const NEXT: Readonly<Record<BootstrapStep, Phase>> = {
  bootstrap: 'discovery',
  discovery: 'registration',
  registration: 'handoff',
  handoff: 'monitoring',
}

export const FIRST_STATE: BootstrapState = Object.freeze({
  phase: 'bootstrap',
  management: 'local',
  failures: 0,
  message: 'starting',
})

export class Bootstrap {
  #state: BootstrapState
  /** Under way. */
  #running: BootstrapStep | undefined
  /** What to try again, and when. */
  #retry: { readonly step: BootstrapStep; readonly at: MonotonicMs } | undefined

  /** @param last - as persisted: whatever it was, identity is checked first */
  constructor(last: BootstrapState = FIRST_STATE) {
    this.#state = { ...last, phase: 'bootstrap', management: 'local', failures: 0 }
  }

  get state(): BootstrapState {
    return this.#state
  }

  nextDeadline(): MonotonicMs | undefined {
    return this.#retry?.at
  }

  step(input: BootstrapInput, now: MonotonicMs): BootstrapEffect[] {
    switch (input.type) {
      case 'start':
        return this.#running === undefined ? [this.#run('bootstrap')] : []
      case 'tick':
        return this.#tick(now)
      case 'done':
        return this.#done(input.step, input.message)
      case 'nobody':
        return this.#nobody(input.message)
      case 'failed':
        return this.#failed(input.step, input.message, now)
      case 'lost':
        return this.#lost(input.message, now)
    }
  }

  #run(step: BootstrapStep): BootstrapEffect {
    this.#running = step
    this.#retry = undefined
    return { type: 'run', step }
  }

  #become(state: BootstrapState): BootstrapEffect[] {
    this.#state = Object.freeze(state)
    return [
      { type: 'persist', state },
      { type: 'changed', state },
    ]
  }

  #tick(now: MonotonicMs): BootstrapEffect[] {
    if (this.#retry === undefined || now < this.#retry.at) return []
    return [this.#run(this.#retry.step)]
  }

  #done(step: BootstrapStep, message: string): BootstrapEffect[] {
    if (this.#running !== step) return []
    this.#running = undefined
    const phase = NEXT[step]
    const management = phase === 'monitoring' ? 'network' : 'local'
    const effects = this.#become({ phase, management, failures: 0, message })
    if (phase !== 'monitoring' && phase !== 'fallback') effects.push(this.#run(phase))
    return effects
  }

  #nobody(message: string): BootstrapEffect[] {
    if (this.#running !== 'handoff') return []
    this.#running = undefined
    return this.#become({ phase: 'monitoring', management: 'local', failures: 0, message })
  }

  #failed(step: BootstrapStep, message: string, now: MonotonicMs): BootstrapEffect[] {
    if (this.#running !== step) return []
    this.#running = undefined
    const failures = this.#state.failures + 1
    const wait = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** (failures - 1))
    this.#retry = { step, at: now + wait }
    const phase = failures >= FAILURES_MAX ? 'fallback' : this.#state.phase
    return this.#become({ phase, management: 'local', failures, message })
  }

  /** Control comes back, workloads go on; then it is handed over anew. */
  #lost(message: string, now: MonotonicMs): BootstrapEffect[] {
    if (this.#state.management !== 'network') return []
    this.#retry = { step: 'discovery', at: now + RETRY_MS_MIN }
    return this.#become({ phase: 'fallback', management: 'local', failures: 0, message })
  }
}
