import { CodedError } from '@mycelium/interface'

/** What a daemon answered instead of a result; code and message are its own. */
export class RemoteError extends CodedError {
  override get name(): string {
    return 'RemoteError'
  }
  readonly code: string

  constructor({ code, message }: { readonly code: string; readonly message: string }) {
    super(message)
    this.code = code
  }
}
