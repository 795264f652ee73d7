import type { NodeId } from '../base.ts'
import type { BulkChannel } from '../bulk-channel.ts'
import { MemoryChannel } from './memory-channel.ts'

export interface MemoryChannelPairInit {
  /** Who holds `opener`. @default 'opener' */
  readonly opener?: NodeId
  /** Who holds `acceptor`. @default 'acceptor' */
  readonly acceptor?: NodeId
  /** @default 'memory' */
  readonly purpose?: string
  /** In bytes, at least 16. @default 1_048_576 */
  readonly bufferBytesMax?: number
  /** In bytes, 1 to 15/16 of the buffer. @default a sixteenth of it */
  readonly messageBytesMax?: number
  /** Milliseconds for the events. @default performance.now */
  readonly now?: () => number
}

/** Both ends of one in-process channel, and its faults. */
export interface MemoryChannelPair {
  readonly opener: BulkChannel
  readonly acceptor: BulkChannel
  /** From now on nothing is delivered. Both ends are `suspended` when it returns. */
  suspend(): void
  /** Both ends are `open` when it returns. */
  resume(): void
  /** Both ends have failed with `ERR_BULK_SESSION_LOST` when it returns. */
  lose(): void
}

const BUFFER_BYTES_DEFAULT = 2 ** 20

/**
 * A {@link BulkChannel} inside this process: the whole contract, without a socket. Messages arrive
 * in later microtasks, never inside `send`.
 *
 * @throws {RangeError} a size in `init` is out of bounds
 */
export function createMemoryChannelPair(init: MemoryChannelPairInit = {}): MemoryChannelPair {
  const bufferBytesMax = init.bufferBytesMax ?? BUFFER_BYTES_DEFAULT
  if (!Number.isSafeInteger(bufferBytesMax) || bufferBytesMax < 16) {
    throw new RangeError(`bufferBytesMax must be an integer of at least 16, got ${bufferBytesMax}`)
  }
  const reserveBytes = Math.floor(bufferBytesMax / 16)
  const messageBytesMax = init.messageBytesMax ?? reserveBytes
  const bulkBytes = bufferBytesMax - reserveBytes
  if (!(messageBytesMax >= 1 && messageBytesMax <= bulkBytes)) {
    throw new RangeError(`messageBytesMax must be 1..${bulkBytes}, got ${messageBytesMax}`)
  }
  const names = {
    opener: init.opener ?? ('opener' as NodeId),
    acceptor: init.acceptor ?? ('acceptor' as NodeId),
  }
  const shared = {
    purpose: init.purpose ?? 'memory',
    messageBytesMax,
    bufferBytesMax,
    now: init.now ?? ((): number => performance.now()),
  }
  const opener = new MemoryChannel({ ...shared, local: names.opener, remote: names.acceptor })
  const acceptor = new MemoryChannel({ ...shared, local: names.acceptor, remote: names.opener })
  opener.connect(acceptor)
  acceptor.connect(opener)
  const both = [opener, acceptor]
  return {
    opener,
    acceptor,
    suspend: () => both.forEach((end) => end.suspend()),
    resume: () => both.forEach((end) => end.resume()),
    lose: () => both.forEach((end) => end.lose()),
  }
}
