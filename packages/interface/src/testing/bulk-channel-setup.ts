import type { BulkChannel } from '../bulk-channel.ts'

/** What a case of {@link bulkChannelCases} gets: both ends of one new channel, and its faults. */
export interface BulkChannelSetup extends AsyncDisposable {
  /** The end that asked for the channel. `bufferBytesMax` of both ends: 1 MiB at most. */
  readonly opener: BulkChannel
  readonly acceptor: BulkChannel
  /** Cuts every link, losing what was under way; settles when both ends are `suspended`. */
  suspend(): Promise<void>
  /** Lets the ends connect again; settles when both are `open`. */
  resume(): Promise<void>
  /** Makes the gap longer than the grace time; settles when both ends are `closed`. */
  lose(): Promise<void>
}
