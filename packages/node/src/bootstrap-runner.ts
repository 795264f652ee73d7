import type { Clock, Logger } from '@mycelium/interface'
import {
  Bootstrap,
  type BootstrapInput,
  type BootstrapState,
  type BootstrapStep,
  FIRST_STATE,
} from './core/bootstrap.ts'
import { readStateFile, writeStateFile } from './state-file.ts'

/** Longest time of one step; what takes longer has failed and is tried again. */
const STEP_MS_MAX = 10_000

/** Does a step. Resolves to what people may read, or to why nobody takes over. */
export type StepRun = (signal: AbortSignal) => Promise<string | { readonly nobody: string }>

export interface BootstrapRunnerInit {
  /** Where the state is kept. */
  readonly path: string
  readonly steps: Readonly<Record<BootstrapStep, StepRun>>
}

/** Carries out a {@link Bootstrap}. */
export class BootstrapRunner implements AsyncDisposable {
  readonly #deps: { readonly clock: Clock; readonly logger: Logger }
  readonly #init: BootstrapRunnerInit
  readonly #core: Bootstrap
  readonly #over = new AbortController()
  readonly #outcome = Promise.withResolvers<void>()
  #running: Promise<void> = Promise.resolve()
  #writing: Promise<void> = Promise.resolve()
  #cancel = (): void => {}

  private constructor(
    deps: { readonly clock: Clock; readonly logger: Logger },
    init: BootstrapRunnerInit,
    last: BootstrapState,
  ) {
    this.#deps = deps
    this.#init = init
    this.#core = new Bootstrap(last)
  }

  static async open(
    deps: { readonly clock: Clock; readonly logger: Logger },
    init: BootstrapRunnerInit,
  ): Promise<BootstrapRunner> {
    return new BootstrapRunner(deps, init, stateOf(await readStateFile(init.path)))
  }

  get state(): BootstrapState {
    return this.#core.state
  }

  start(): void {
    this.#step({ type: 'start' })
  }

  /** Settles when the first step is done, or rejects as it failed: then nothing else can work. */
  async untilFirstOutcome(): Promise<void> {
    await this.#outcome.promise
  }

  /** The services that manage have gone. */
  lost(message: string): void {
    this.#step({ type: 'lost', message })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new Error('the node stops'))
    this.#cancel()
    await this.#running
    await this.#writing
  }

  #step(input: BootstrapInput): void {
    const { clock, logger } = this.#deps
    if (this.#over.signal.aborted) return
    for (const effect of this.#core.step(input, clock.now())) {
      switch (effect.type) {
        case 'run':
          this.#running = this.#run(effect.step)
          break
        case 'persist':
          this.#persist(effect.state)
          break
        case 'changed':
          logger.log('info', 'bootstrap', { ...effect.state })
          break
      }
    }
    this.#cancel()
    const at = this.#core.nextDeadline()
    this.#cancel =
      at === undefined
        ? () => {}
        : clock.schedule(at, () => {
            this.#step({ type: 'tick' })
          })
  }

  /** Never rejects. */
  async #run(step: BootstrapStep): Promise<void> {
    const { clock } = this.#deps
    const deadline = new AbortController()
    const cancel = clock.schedule(clock.now() + STEP_MS_MAX, () => {
      deadline.abort(new Error(`${step} took longer than ${STEP_MS_MAX / 1_000} s`))
    })
    try {
      const signal = AbortSignal.any([this.#over.signal, deadline.signal])
      const result = await this.#init.steps[step](signal)
      if (step === 'bootstrap') this.#outcome.resolve()
      if (typeof result === 'string') this.#step({ type: 'done', step, message: result })
      else this.#step({ type: 'nobody', message: result.nobody })
    } catch (error) {
      if (step === 'bootstrap') this.#outcome.reject(error)
      const message = error instanceof Error ? error.message : String(error)
      this.#step({ type: 'failed', step, message })
    } finally {
      cancel()
    }
  }

  #persist(state: BootstrapState): void {
    this.#writing = this.#writing
      .then(() => writeStateFile(this.#init.path, `${JSON.stringify(state)}\n`))
      .catch((error: unknown) => {
        // It is told by the status all the same.
        this.#deps.logger.log('warn', 'state of the bootstrap not kept', { error })
      })
  }
}

/** A file that makes no sense is as good as none: identity is checked anew in any case. */
function stateOf(bytes: Uint8Array | undefined): BootstrapState {
  if (bytes === undefined) return FIRST_STATE
  try {
    const state = JSON.parse(new TextDecoder().decode(bytes)) as Partial<BootstrapState>
    return { ...FIRST_STATE, ...(typeof state.message === 'string' && { message: state.message }) }
  } catch {
    return FIRST_STATE
  }
}
