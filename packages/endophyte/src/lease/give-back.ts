import type { Clock, FencingLease } from '@mycelium/interface'
import { RELEASE_MS_MAX } from '../constants.ts'

/**
 * Releases `lease`, whose guest is surely gone, so that the next need not wait until it has run
 * out. Never rejects: one that is lost, or cannot be given back in {@link RELEASE_MS_MAX}, does
 * run out.
 */
export async function giveBack(lease: FencingLease, clock: Clock): Promise<void> {
  const tooLong = new AbortController()
  const cancel = clock.schedule(clock.now() + RELEASE_MS_MAX, () => {
    tooLong.abort()
  })
  await lease.release({ signal: tooLong.signal }).catch(() => {})
  cancel()
}
