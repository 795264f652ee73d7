import { CodedError, type MonotonicMs } from '@mycelium/interface'

/** A simulation goes on without end, or waits for what cannot happen any more. */
export class SimulationStuckError extends CodedError<'ERR_SIMULATION_STUCK'> {
  override get name(): 'SimulationStuckError' {
    return 'SimulationStuckError'
  }
  readonly code = 'ERR_SIMULATION_STUCK'
  /** Virtual time. */
  readonly at: MonotonicMs

  constructor(at: MonotonicMs, why: string, options?: ErrorOptions) {
    super(`stuck at ${at} ms: ${why}`, options)
    this.at = at
  }
}

/** A simulated disk has no room. Nothing was written. */
export class DiskFullError extends CodedError<'ERR_SIMULATION_DISK_FULL'> {
  override get name(): 'DiskFullError' {
    return 'DiskFullError'
  }
  readonly code = 'ERR_SIMULATION_DISK_FULL'

  constructor(capacityBytes: number) {
    super(`the disk is full: it has ${capacityBytes} bytes`)
  }
}

/** A seed violated what must hold; `cause` says what. The message says how to repeat it. */
export class SimulationFailedError extends CodedError<'ERR_SIMULATION_FAILED'> {
  override get name(): 'SimulationFailedError' {
    return 'SimulationFailedError'
  }
  readonly code = 'ERR_SIMULATION_FAILED'
  readonly seed: number
  /** One line for a shell, in the root of the checkout. */
  readonly reproduce: string

  constructor(simulation: string, seed: number, reproduce: string, options?: ErrorOptions) {
    const cause = options?.cause
    const what = cause instanceof Error ? cause.message : String(cause)
    super(`${simulation}, seed ${seed}: ${what}\nreproduce: ${reproduce}`, options)
    this.seed = seed
    this.reproduce = reproduce
  }
}
