import type { ComplianceCase } from '../base.ts'
import { messageCases } from './message-transport-cases-messages.ts'
import { requestCases } from './message-transport-cases-requests.ts'
import type { MessageTransportSetup } from './message-transport-setup.ts'

/** What every {@link MessageTransport} must do, free of any test runner. */
export const messageTransportCases: readonly ComplianceCase<MessageTransportSetup>[] = [
  ...messageCases,
  ...requestCases,
]
