import { CodedError } from '@mycelium/interface'

/** None of the addresses can be listened on: in use, not of this machine, or not allowed. */
export class FabricListenError extends CodedError<'ERR_FABRIC_LISTEN'> {
  override get name(): 'FabricListenError' {
    return 'FabricListenError'
  }
  readonly code = 'ERR_FABRIC_LISTEN'
  readonly addresses: readonly string[]
  /** Somebody else listens there. */
  readonly isInUse: boolean

  constructor(addresses: readonly string[], options?: ErrorOptions) {
    const text = options?.cause instanceof Error ? options.cause.message : ''
    super(`cannot listen on ${addresses.join(', ')}${text && `: ${reasonsIn(text)}`}`, options)
    this.addresses = addresses
    this.isInUse = text.includes('EADDRINUSE')
  }
}

/** libp2p gives a stack for each address; people need the first line of each, once. */
function reasonsIn(text: string): string {
  const lines = [...text.matchAll(/^ {2}\/\S+: (?:\w*Error: )?(.+)$/gm)].map(([, why = '']) => why)
  return lines.length > 0 ? [...new Set(lines)].join('; ') : text
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
