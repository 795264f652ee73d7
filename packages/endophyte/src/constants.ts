/** Rounds of copying with the guest running before an epoch with which a backup may join. Each
 * round leaves what the guest wrote during it; more rounds do not help a guest that writes faster
 * than memory is copied. */
export const PRECOPY_ROUNDS_MAX = 8

/** Between attempts to reach a backup. A local attempt costs well under a millisecond. */
export const RECONNECT_MS = 250

/** Before an update of the record that failed is tried again. */
export const UPDATE_RETRY_MS = 100

/** How long giving a lease back may take; then it runs out by itself. */
export const RELEASE_MS_MAX = 1_000

/** From epoch to epoch: below, a guest would stand still for most of the time; above, output would
 * wait for longer than anybody does. */
export const INTERVAL_MS_MIN = 5
export const INTERVAL_MS_MAX = 60_000
