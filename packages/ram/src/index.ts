/**
 * Replicated memory. A program (or a VM) writes to a region as to any memory, checkpoints of it
 * travel to backups as epochs, and a backup can be promoted to the last one that it holds.
 *
 * @packageDocumentation
 */
import type {
  BulkChannel,
  Clock,
  CodedError,
  EventSource,
  FencingEpoch,
  NodeId,
  Startable,
} from '@mycelium/interface'
import type { TrackerTierName } from './addon.ts'
import { BackupReplica } from './backup.ts'
import type { Attachment, EpochName, Version } from './core/epoch.ts'
import type { BackupPhase } from './core/primary.ts'
import { PrimaryReplicator } from './primary.ts'
import { BoottimeClock, makeRegion, mapRegion } from './region.ts'

export type { ChannelInit } from './channel-config.ts'
export {
  createNodeCertificate,
  fingerprintOf,
  type NodeCertificate,
} from './self-signed-certificate.ts'
export { shimPath } from './shim.ts'
export { createSystemRandom } from './system-random.ts'
export {
  createTlsChannels,
  type TlsChannels,
  type TlsChannelsDeps,
  type TlsChannelsInit,
  type TlsPeer,
} from './tls-channels.ts'
export {
  createUnixChannels,
  type UnixChannels,
  type UnixChannelsDeps,
  type UnixChannelsInit,
} from './unix-channels.ts'
export type { TrackerTierName } from './addon.ts'
export {
  CHUNK_BYTES_MAX,
  BACKUPS_MAX,
  JOIN_PAGES_MAX,
  PAGE_BYTES,
  PROTOCOL_VERSION,
} from './constants.ts'
export type { Attachment, EpochName, Version } from './core/epoch.ts'
export { formatName } from './core/epoch.ts'
export type { BackupPhase } from './core/primary.ts'
export {
  AddonMissingError,
  BaseError,
  FencedError,
  FrameError,
  ImageError,
  MemoryError,
  NotPromotableError,
  OrderError,
  PeerKeyError,
  RamClosedError,
  RefusedError,
  RegionError,
  RejectedError,
  SocketFolderError,
} from './errors.ts'

export interface RegionInit {
  /** A positive multiple of the machine's page size (4,096 on most), at most 2 TiB. */
  readonly bytes: number
  /** What /proc/PID/maps shows. @default 'mycelium-region' */
  readonly name?: string
}

/** A piece of memory in a memory file of its own (memfd). */
export interface Region extends Disposable {
  readonly bytes: number
  /** Descriptor of the memory file; it stays the region's. */
  readonly fd: number
  /** The memory itself. Detached (length 0) after {@link Region.close}. */
  readonly buffer: Uint8Array
  /** Hash of every page as it is now, 8 bytes little-endian each, computed on another thread. */
  hashPages(): Promise<Uint8Array>
  /** Idempotent. Whatever replicates the region must be stopped before. */
  close(): void
}

/**
 * Makes a region of zeroes.
 *
 * @throws {RangeError} `bytes` is no positive multiple of the page size
 * @throws {AddonMissingError} `ERR_RAM_NO_ADDON`
 */
export function createRegion(init: RegionInit): Region {
  return makeRegion(init)
}

export interface AdoptInit {
  /** A memory file, or any file that can be mapped shared. The caller keeps it. */
  readonly fd: number
  readonly bytes: number
  /** @default true */
  readonly writable?: boolean
}

/** Maps a memory file that something else made: the RAM of a VM. */
export function adoptRegion(init: AdoptInit): Region {
  return mapRegion(init.fd, init.bytes, init.writable ?? true)
}

/** The machine's CLOCK_BOOTTIME, which goes on in suspend. @throws `ERR_RAM_NO_ADDON` */
export function createBoottimeClock(): Clock {
  return new BoottimeClock()
}

export interface TrackerInfo {
  /** How dirty pages are found; see the README for what each costs. */
  readonly tier: TrackerTierName
  /** Better tiers that do not work here, and why. */
  readonly rejected: readonly { readonly tier: TrackerTierName; readonly reason: string }[]
}

export interface RamPrimaryDeps {
  readonly region: Region
  readonly clock: Clock
}

export interface RamPrimaryInit {
  /** Name of what is replicated; both sides must give the same. @default 'region' */
  readonly name?: string
  /** Grows with every promotion: backups refuse senders with an older one. @default 1n */
  readonly fencing?: FencingEpoch
  /** Forces a way of tracking instead of the best that passes its self-test. */
  readonly tier?: TrackerTierName
  /** Set when another process writes, through its own mapping of the region's file. */
  readonly writer?: {
    readonly pid: number
    /** @default 'inject' */
    readonly method?: 'inject' | 'shim'
    /** For `shim`: a connected unix socket on which the shim sends its descriptor. */
    readonly shimSocketFd?: number
  }
  /** `zstd` compresses whole chunks (for slow links), `lz4` single pages. @default 'none' */
  readonly compression?: Compression
}

export type Compression = 'none' | 'lz4' | 'zstd'

export interface CheckpointInit {
  /** Travels with the epoch: at most 16 MiB - 4 KiB, and 64 bytes less than the channel's bound on
   * a message. */
  readonly attachment?: EpochAttachment
}

/** What a backup in sync gets, and what one that joins gets. */
export interface EpochAttachment {
  readonly full: Uint8Array
  /** Against the attachment of the epoch before. */
  readonly difference?: Uint8Array
}

export interface Checkpoint {
  readonly name: EpochName
  /** Pages that were written, as the tracker found them. */
  readonly dirtyPages: number
  /** Settles when every backup in sync holds the epoch. */
  readonly acknowledged: Promise<Acknowledgement>
}

export interface Acknowledgement {
  readonly name: EpochName
  /** Empty: nobody else holds it. */
  readonly by: readonly NodeId[]
  /** If page hashes went with the epoch: pages in which a backup's image differed. */
  readonly mismatchPages?: number
}

/** One epoch in its making. Steps in this order; whoever writes must be still from before
 * `capture` until the last `capture` or `captureTail` has resolved. When a step fails, the epoch is
 * abandoned. After `seal` and `abandon` every step rejects `ERR_RAM_ORDER`. */
export interface EpochCapture {
  /** May come first, while whoever writes goes on: copies aside what is dirty so far, so that
   * `capture` finds only what is written from now on. Resolves to the number of pages. */
  precopy(): Promise<number>
  /** Finds the dirty pages and copies them aside. Resolves to their number. */
  capture(): Promise<number>
  /** The same for pages written since. */
  captureTail(): Promise<number>
  /** Hashes the memory page by page; backups compare theirs. Slow: for tests and scrubbing. */
  hash(): Promise<void>
  /** Encodes and sends. Resolves when all is handed to the channels. */
  seal(attachment?: EpochAttachment): Promise<Checkpoint>
  /** Instead of `seal`: nothing is sent, and what was captured is part of the next epoch. */
  abandon(): void
}

export interface BackupStatus {
  readonly id: NodeId
  readonly phase: BackupPhase
  readonly missingPages: number
}

export interface EncodingStats {
  readonly zero: number
  readonly equal: number
  readonly words: number
  readonly raw: number
  readonly lz4: number
}

export interface EncodedBytes {
  readonly zero: number
  readonly words: number
  readonly raw: number
  readonly lz4: number
}

export interface RamPrimaryStats {
  /** Epochs that at least one backup holds or held. */
  readonly epochs: number
  /** The last of these. */
  readonly lastAcknowledged?: EpochName
  /** Pages by encoding, of epochs and fills as they were sent; `equal` ones were not. */
  readonly pages: EncodingStats
  /** What these pages take in the payloads of chunks, before zstd: their sum is all of it. */
  readonly encodedBytes: EncodedBytes
  /** Bytes handed to channels. */
  readonly sentBytes: number
  /** Bytes of the last epoch for one backup in sync: chunks and attachment. */
  readonly lastEpochBytes: number
  /** Pages that backups not in sync still lack, the most of any. */
  readonly backlogPages: number
}

export interface RamPrimaryEvents {
  'backup:phase': { readonly id: NodeId; readonly phase: BackupPhase }
  'backup:lost': { readonly id: NodeId; readonly reason: Error }
  acknowledged: Acknowledgement
}

/** Sends the epochs of one region to its backups. */
export interface RamPrimary extends Startable, EventSource<RamPrimaryEvents> {
  /** @throws {RamClosedError} before `start` */
  readonly tracker: TrackerInfo
  /** Takes over `channel`, whose remote must be no backup yet. At most 16 backups.
   * @throws {RangeError} too many, one with this id is attached, or its messages are under 1 MiB
   * @throws {RamClosedError} before `start` has resolved */
  attach(channel: BulkChannel): void
  /** Gives a backup up. Its channel is closed; what it does not flush in 5 s is lost. */
  detach(id: NodeId): Promise<void>
  backups(): readonly BackupStatus[]
  /**
   * Takes one epoch. Resolves when the image is captured and on its way: until then nothing may
   * write to the region, afterwards anything may. One at a time: waits for the acknowledgement of
   * the one before.
   */
  checkpoint(init?: CheckpointInit): Promise<Checkpoint>
  /**
   * Copies dirty pages outside of an epoch, while the writer runs, so that the capture of the next
   * epoch finds few. Only while no backup is in sync; otherwise, or while an epoch is on its way,
   * does nothing and resolves to 0.
   *
   * @returns the number of pages found dirty
   */
  precopy(): Promise<number>
  /** The same in steps, for a writer that is stopped and continued: a VM. */
  beginEpoch(): Promise<EpochCapture>
  stats(): RamPrimaryStats
}

/**
 * Makes the sending side. `start` opens the tracker and copies the region once, while the writer
 * runs; it rejects with `ERR_RAM_MEMORY` if the writer's memory cannot be tracked.
 */
export function createPrimary(deps: RamPrimaryDeps, init: RamPrimaryInit = {}): RamPrimary {
  return new PrimaryReplicator(deps, init)
}

export interface RamBackupDeps {
  /** Holds the image; nothing else may write to it before the promotion. */
  readonly region: Region
}

export interface RamBackupInit {
  /** @default 'region' */
  readonly name?: string
  /** Called with each epoch before it is acknowledged. What it throws refuses the epoch: the backup
   * holds none then, until the primary has compared images and sent a whole one. */
  readonly onApplied?: (epoch: AppliedEpoch) => void
}

export interface AppliedEpoch {
  readonly version: Version
  readonly attachment: Attachment
  readonly mismatchPages?: number
}

export interface RamBackupEvents {
  applied: AppliedEpoch
  /** The primary was refused; it will resynchronise or go. */
  refused: { readonly code: string; readonly text: string }
  /** The channel ended; the image stays. `reason`: why, if not by a clean close. */
  detached: { readonly reason?: Error }
}

/** Holds a copy of a region: a complete epoch at any time after the first. */
export interface RamBackup extends AsyncDisposable, EventSource<RamBackupEvents> {
  /** The last complete epoch, none while the image is being filled. */
  readonly applied: Version | undefined
  /** Highest fencing epoch seen. */
  readonly fencing: FencingEpoch
  /** Serves the primary at the other end; an earlier channel is closed first. The first time, what
   * the region holds is hashed before it resolves.
   * @throws {RangeError} its messages are under 1 MiB */
  attach(channel: BulkChannel): Promise<void>
  /** Finishes the epoch that is being applied, drops anything incomplete, and ends the
   * replication: the region is the caller's. Rejects `ERR_RAM_NOT_PROMOTABLE`, and is stopped. */
  promote(): Promise<Version>
  /** Page hashes as applied, from the table; compare with {@link Region.hashPages}. After a
   * promotion, those of the promoted image. Throws `ERR_RAM_ORDER` before the first `attach`,
   * and `ERR_RAM_BUSY` while an epoch is on its way in: call it in `applied` or after `promote`. */
  hashes(): Uint8Array
  stop(): Promise<void>
}

/** Makes the receiving side. @throws {AddonMissingError} `ERR_RAM_NO_ADDON` */
export function createBackup(deps: RamBackupDeps, init: RamBackupInit = {}): RamBackup {
  return new BackupReplica(deps, init)
}

export type { CodedError }
