import { CodedError } from '@mycelium/interface'

/** The command line names something that does not exist or makes no sense. */
export class UsageError extends CodedError<'ERR_NODE_USAGE'> {
  override get name(): string {
    return 'UsageError'
  }
  readonly code = 'ERR_NODE_USAGE'
}

/** The machine lacks something that the command needs; the message says what. */
export class NotReadyError extends CodedError<'ERR_NODE_NOT_READY'> {
  override get name(): string {
    return 'NotReadyError'
  }
  readonly code = 'ERR_NODE_NOT_READY'
  /** What to do, if that is known; the message ends with it. */
  readonly fix: string | undefined

  constructor(problem: string, options: ErrorOptions & { readonly fix?: string } = {}) {
    const { fix, ...rest } = options
    super(fix === undefined ? problem : `${problem}. To do: ${fix}`, rest)
    this.fix = fix
  }
}

/** Why a program ends that was not told to by its own work. */
export type EndCause =
  'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'output closed' | 'output failed' | 'parent gone'

/** Somebody ended the program. Reason of the signal of `untilEnd`. */
export class EndedError extends CodedError<'ERR_NODE_ENDED'> {
  override get name(): string {
    return 'EndedError'
  }
  readonly code = 'ERR_NODE_ENDED'
  readonly endedBy: EndCause

  constructor(endedBy: EndCause) {
    super(`ended: ${endedBy}`)
    this.endedBy = endedBy
  }
}

/** A daemon answers on this socket already. */
export class AlreadyRunningError extends CodedError<'ERR_NODE_ALREADY_RUNNING'> {
  override get name(): string {
    return 'AlreadyRunningError'
  }
  readonly code = 'ERR_NODE_ALREADY_RUNNING'

  constructor(socket: string) {
    super(`a node runs already: it answers on ${socket}`)
  }
}

/** Nobody answers on the socket. */
export class NotRunningError extends CodedError<'ERR_NODE_NOT_RUNNING'> {
  override get name(): string {
    return 'NotRunningError'
  }
  readonly code = 'ERR_NODE_NOT_RUNNING'

  constructor(socket: string, options?: ErrorOptions) {
    super(`no node runs here: nobody answers on ${socket}. To do: mycelium up`, options)
  }
}

/** A file that must not be there yet. */
export class ExistsError extends CodedError<'ERR_NODE_EXISTS'> {
  override get name(): string {
    return 'ExistsError'
  }
  readonly code = 'ERR_NODE_EXISTS'

  constructor(path: string, options?: ErrorOptions) {
    super(`${path} exists already: choose another name, or remove it`, options)
  }
}
