/** Bytes of a page on the wire and in every count, whatever the page size of the machine. */
export const PAGE_BYTES = 4096

/** Bytes of the head of every message. The native encoder leaves this much room in its chunks. */
export const HEAD_BYTES = 64

/** Version of the protocol between a primary and a backup; in every head. */
export const PROTOCOL_VERSION = 1

/**
 * Bound on one chunk with its head. Larger chunks cost fewer calls, smaller ones let a control
 * message through sooner and need less memory at both ends. 1 MiB is where throughput over a unix
 * socket stops growing.
 */
export const CHUNK_BYTES_MAX: number = 1024 * 1024

/** Bound on one message of the protocol: a footer with the largest attachment. */
export const MESSAGE_BYTES_MAX: number = 16 * 1024 * 1024

/** Bound on what travels beside the pages of an epoch (the device state of a VM: 80-170 KiB). */
export const ATTACHMENT_BYTES_MAX: number = MESSAGE_BYTES_MAX - 4096

/**
 * A backup that lacks at most so many pages joins with the next epoch, until then it is filled in
 * the background. More: fewer rounds of filling under a busy writer. Fewer: the joining epoch, for
 * whose acknowledgement the others wait, is shorter. 4,096 pages are 16 MiB.
 */
export const JOIN_PAGES_MAX = 4096

/** Chunks of a fill from one decision of what to send to the next: 64 MiB. More: the sets of pages
 * that are counted and united then (8 KiB per 256 MiB of region) are so more seldom. Fewer: what a
 * backup still lacks is known better. */
export const FILL_CHUNKS_MAX = 64

/** Chunks of a fill sent and not yet received. More: a link with a long round trip stays busy (16:
 * 160 MB/s at 100 ms). Fewer: less memory, which is still in the processor's caches when it is used
 * again. */
export const FILL_CHUNKS_UNDER_WAY_MAX = 16

/** Fills that wait at a backup while the image is at work, 8 MiB. More: the image never waits for
 * the event loop. Fewer: less memory beyond the buffer of the channel. */
export const FILLS_WAITING_MAX = 8

/** Bytes of fill in units of the region's size after which a backup joins with what it lacks, so
 * that a writer faster than the link cannot keep it out for ever. */
export const FILL_FACTOR_MAX = 4

/** Backups attached at once. */
export const BACKUPS_MAX = 16

/** Backups that went away and for which the pages they miss are still recorded. */
export const LOST_BACKUPS_MAX = 8

/** Resynchronisations of one attached backup after refusals; then its channel is closed. */
export const RESYNC_MAX = 3

/** Page hashes in one message: 8 bytes each, so that it is shorter than the longest chunk. */
export const HASHES_PER_MESSAGE: number = 64 * 1024

/**
 * Milliseconds in which a detached channel must flush what it accepted. Longer: a slow link still
 * gets its last epoch. Shorter: a backup that reads nothing holds up `stop` for less.
 */
export const DETACH_MS_MAX = 5_000

/** Characters of the text of a refusal. */
export const REFUSAL_CHARS_MAX = 1024

/** Bytes of the largest region: page numbers have 29 bits on the wire. */
export const REGION_BYTES_MAX: number = 2 ** 29 * PAGE_BYTES
