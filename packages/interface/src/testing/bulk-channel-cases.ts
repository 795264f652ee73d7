import type { ComplianceCase } from '../base.ts'
import { endCases } from './bulk-channel-cases-end.ts'
import { faultCases } from './bulk-channel-cases-faults.ts'
import { flowCases } from './bulk-channel-cases-flow.ts'
import type { BulkChannelSetup } from './bulk-channel-setup.ts'

/** Every sentence of {@link BulkChannel} that a test can see. Run by each implementation. */
export const bulkChannelCases: readonly ComplianceCase<BulkChannelSetup>[] = [
  ...flowCases,
  ...endCases,
  ...faultCases,
]
