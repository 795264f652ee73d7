import { CodedError } from '@mycelium/interface'

/** None of the addresses can be listened on: in use, not of this machine, or not allowed. */
export class FabricListenError extends CodedError<'ERR_FABRIC_LISTEN'> {
  override get name(): 'FabricListenError' {
    return 'FabricListenError'
  }
  readonly code = 'ERR_FABRIC_LISTEN'
  readonly addresses: readonly string[]

  constructor(addresses: readonly string[], options?: ErrorOptions) {
    const why = options?.cause instanceof Error ? `: ${options.cause.message}` : ''
    super(`cannot listen on ${addresses.join(', ')}${why}`, options)
    this.addresses = addresses
  }
}

/** The fabric was stopped; it has one life. */
export class FabricStoppedError extends CodedError<'ERR_FABRIC_STOPPED'> {
  override get name(): 'FabricStoppedError' {
    return 'FabricStoppedError'
  }
  readonly code = 'ERR_FABRIC_STOPPED'

  constructor(options?: ErrorOptions) {
    super('the fabric was stopped', options)
  }
}

/** A stream of messages that breaks the rules: it is reset, what it carried is lost. */
export class FabricFrameError extends CodedError<'ERR_FABRIC_FRAME'> {
  override get name(): 'FabricFrameError' {
    return 'FabricFrameError'
  }
  readonly code = 'ERR_FABRIC_FRAME'

  constructor(why: string, options?: ErrorOptions) {
    super(`bad frame: ${why}`, options)
  }
}

/** A capability record that is not one. */
export class FabricCapabilitiesError extends CodedError<'ERR_FABRIC_CAPABILITIES'> {
  override get name(): 'FabricCapabilitiesError' {
    return 'FabricCapabilitiesError'
  }
  readonly code = 'ERR_FABRIC_CAPABILITIES'
  readonly field: string

  constructor(field: string, why: string, options?: ErrorOptions) {
    super(`capability record: ${field} ${why}`, options)
    this.field = field
  }
}
