import type { ComplianceCase } from '../base.ts'
import { grantCases } from './fencing-leases-cases-grant.ts'
import { lossCases } from './fencing-leases-cases-loss.ts'
import type { FencingLeasesSetup } from './fencing-leases-setup.ts'

/** Every sentence of {@link FencingLeases} that a test can see. Run by each implementation. */
export const fencingLeasesCases: readonly ComplianceCase<FencingLeasesSetup>[] = [
  ...grantCases,
  ...lossCases,
]
