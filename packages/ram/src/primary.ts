import type { BulkChannel, NodeId } from '@mycelium/interface'
import { TypedEventEmitter } from 'main-event'
import {
  type EncodedChunk,
  type EncodingCounts,
  loadAddon,
  type NativeSource,
  type NativeTracker,
  type RamAddon,
} from './addon.ts'
import { pack } from './compression.ts'
import {
  ATTACHMENT_BYTES_MAX,
  BACKUPS_MAX,
  CHUNK_BYTES_MAX,
  FILL_FACTOR_MAX,
  HASHES_PER_MESSAGE,
  HEAD_BYTES,
  PAGE_BYTES,
} from './constants.ts'
import {
  type Attachment,
  type EpochName,
  NO_ATTACHMENT,
  type Version,
} from './core/epoch.ts'
import { countPages } from './core/page-set.ts'
import { PrimaryCore, type PrimaryEffect, type PrimaryInput } from './core/primary.ts'
import { FrameError, MemoryError, OrderError, RamClosedError } from './errors.ts'
import type {
  Acknowledgement,
  BackupStatus,
  Checkpoint,
  CheckpointInit,
  EncodingStats,
  EpochAttachment,
  EpochCapture,
  RamPrimary,
  RamPrimaryDeps,
  RamPrimaryEvents,
  RamPrimaryInit,
  RamPrimaryStats,
  TrackerInfo,
} from './index.ts'
import { nativeOf } from './region.ts'
import { Serial } from './serial.ts'
import { type Address, decodeMessage, encodeMessage, type RamMessage, writeHead } from './wire.ts'

type Events = { [Name in keyof RamPrimaryEvents]: CustomEvent<RamPrimaryEvents[Name]> }

interface Settlers {
  resolve(acknowledgement: Acknowledgement): void
  reject(reason: Error): void
}

/** What is being sent as the current epoch. */
interface Outgoing {
  readonly version: Version
  /** Whole messages. */
  readonly chunks: readonly Uint8Array[]
  readonly full: Attachment
  readonly difference: Attachment
  /** Page hashes of the memory at the seal. */
  readonly hashes?: Uint8Array
}

interface Native {
  readonly tracker: NativeTracker
  readonly source: NativeSource
}

/** The I/O shell around {@link PrimaryCore}. */
export class PrimaryReplicator extends TypedEventEmitter<Events> implements RamPrimary {
  readonly #deps: RamPrimaryDeps
  readonly #init: RamPrimaryInit
  readonly #addon: RamAddon
  readonly #core: PrimaryCore
  readonly #regionHash: bigint
  readonly #fencing: bigint
  readonly #channels = new Map<NodeId, BulkChannel>()
  /** The source does one thing at a time. */
  readonly #sourceWork = new Serial()
  readonly #lz4: boolean
  #native: Native | undefined
  #counter = 0
  #outgoing: Outgoing | undefined
  #settlers: Settlers | undefined
  /** Settles, never rejects, when the last epoch is acknowledged or given up. */
  #lastSettled: Promise<unknown> = Promise.resolve()
  #isStopped = false
  #isCapturing = false
  #pages: EncodingCounts = { zero: 0, equal: 0, words: 0, raw: 0, lz4: 0 }
  #epochs = 0
  #lastAcknowledged: EpochName | undefined
  #sentBytes = 0
  #lastEpochBytes = 0

  constructor(deps: RamPrimaryDeps, init: RamPrimaryInit) {
    super()
    this.#deps = deps
    this.#init = init
    this.#addon = loadAddon()
    const { bytes } = deps.region
    this.#core = new PrimaryCore({
      regionBytes: bytes,
      pages: bytes / PAGE_BYTES,
      fillBytesMax: bytes * FILL_FACTOR_MAX,
    })
    this.#regionHash = this.#addon.hash64(new TextEncoder().encode(init.name ?? 'region'))
    this.#fencing = init.fencing ?? 1n
    this.#lz4 = init.compression === 'lz4'
  }

  get tracker(): TrackerInfo {
    const { tier, rejected } = this.#started.tracker
    return { tier, rejected }
  }

  get #started(): Native {
    if (this.#isStopped) throw new RamClosedError('the primary is stopped')
    if (this.#native === undefined) throw new RamClosedError('the primary is not started')
    return this.#native
  }

  async start(): Promise<void> {
    if (this.#isStopped) throw new RamClosedError('the primary is stopped')
    if (this.#native !== undefined) return
    const memory = nativeOf(this.#deps.region)
    const { tier, writer } = this.#init
    try {
      const tracker = await this.#addon.openTracker(memory, {
        ...(tier && { tier }),
        ...(writer && { pid: writer.pid, method: writer.method ?? 'inject' }),
        ...(writer?.shimSocketFd !== undefined && { shimSocketFd: writer.shimSocketFd }),
      })
      this.#native = { tracker, source: this.#addon.createSource(memory, tracker) }
      await this.#native.source.seed()
    } catch (cause) {
      await this.stop()
      throw new MemoryError(`the region cannot be tracked: ${messageOf(cause)}`, { cause })
    }
    // `stop` was called meanwhile, and found nothing to close yet.
    if (this.#isStopped) this.#close()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#settlers?.reject(new RamClosedError('the primary is stopped'))
    const channels = [...this.#channels.keys()]
    await Promise.all(channels.map((id) => this.detach(id)))
    await this.#sourceWork.run(async () => {
      this.#close()
    })
  }

  #close(): void {
    this.#native?.source.close()
    this.#native?.tracker.close()
    this.#native = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  attach(channel: BulkChannel): void {
    if (this.#isStopped) throw new RamClosedError('the primary is stopped')
    const id = channel.remote
    if (this.#channels.has(id)) throw new RangeError(`channel of ${id} is attached already`)
    if (this.#channels.size >= BACKUPS_MAX) {
      throw new RangeError(`channel must be one of at most ${BACKUPS_MAX}`)
    }
    this.#channels.set(id, channel)
    this.#step({ type: 'attached', backup: id })
    void this.#serve(id, channel)
  }

  async detach(id: NodeId): Promise<void> {
    const channel = this.#channels.get(id)
    if (channel === undefined) return
    this.#lose(id, new RamClosedError('detached'))
    await channel.close().catch(() => {
      channel.abort(new RamClosedError('detached'))
    })
  }

  backups(): readonly BackupStatus[] {
    return [...this.#core.backups()].map(([id, status]) => ({ id, ...status }))
  }

  async checkpoint({ attachment }: CheckpointInit = {}): Promise<Checkpoint> {
    const capture = await this.beginEpoch()
    await capture.capture()
    return await capture.seal(attachment)
  }

  async precopy(): Promise<number> {
    await this.#lastSettled
    const { source } = this.#started
    if (this.#isCapturing || !this.#core.mayPrecopy) return 0
    this.#isCapturing = true
    try {
      const pages = await this.#guarded(() => source.capture())
      const { changed, counts } = await this.#guarded(() =>
        source.encode({ lz4: false, chunkBytesMax: CHUNK_BYTES_MAX }),
      )
      this.#count(counts)
      await this.#step({ type: 'precopied', changed })
      return pages
    } finally {
      this.#isCapturing = false
    }
  }

  async beginEpoch(): Promise<EpochCapture> {
    await this.#lastSettled
    const { source } = this.#started
    if (this.#isCapturing) throw new OrderError('another epoch is being captured')
    this.#isCapturing = true
    let dirtyPages = 0
    let hashes: Uint8Array | undefined
    const capture = async (): Promise<number> => {
      const pages = await this.#guarded(() => source.capture())
      dirtyPages += pages
      return pages
    }
    return {
      capture,
      captureTail: capture,
      hash: async () => {
        hashes = await this.#guarded(() => this.#deps.region.hashPages())
      },
      seal: async (attachment) => {
        try {
          return await this.#seal(dirtyPages, attachment, hashes)
        } finally {
          this.#isCapturing = false
        }
      },
    }
  }

  stats(): RamPrimaryStats {
    const lastAcknowledged = this.#lastAcknowledged
    const missing = this.backups().map(({ missingPages }) => missingPages)
    return {
      epochs: this.#epochs,
      ...(lastAcknowledged && { lastAcknowledged }),
      pages: this.#pages satisfies EncodingStats,
      sentBytes: this.#sentBytes,
      lastEpochBytes: this.#lastEpochBytes,
      backlogPages: Math.max(0, ...missing),
    }
  }

  /** Work of the source, serialised, with the system's errors turned into ours. */
  #guarded<T>(work: () => Promise<T>): Promise<T> {
    return this.#sourceWork.run(async () => {
      try {
        return await work()
      } catch (cause) {
        this.#isCapturing = false
        throw new MemoryError(`capture failed: ${messageOf(cause)}`, { cause })
      }
    })
  }

  async #seal(
    dirtyPages: number,
    attachment: EpochAttachment | undefined,
    hashes: Uint8Array | undefined,
  ): Promise<Checkpoint> {
    const full = attachmentOf('full', attachment?.full)
    const difference =
      attachment?.difference === undefined
        ? full
        : attachmentOf('difference', attachment.difference)
    const { source } = this.#started
    const encoded = await this.#guarded(() =>
      source.encode({ lz4: this.#lz4, chunkBytesMax: CHUNK_BYTES_MAX }),
    )
    this.#count(encoded.counts)
    const name: EpochName = { fencing: this.#fencing, counter: ++this.#counter }
    const version: Version = { name, root: encoded.root }
    const acknowledged = new Promise<Acknowledgement>((resolve, reject) => {
      this.#settlers = { resolve, reject }
    })
    this.#lastSettled = acknowledged.catch(() => {})
    this.#outgoing = {
      version,
      chunks: await this.#finishChunks(encoded.chunks, name),
      full,
      difference,
      ...(hashes && { hashes }),
    }
    const before = this.#sentBytes
    await this.#step({ type: 'sealed', epoch: { version, changed: encoded.changed } })
    this.#lastEpochBytes = this.#sentBytes - before
    return { name, dirtyPages, acknowledged }
  }

  /** Receives from one backup until its channel ends. */
  async #serve(id: NodeId, channel: BulkChannel): Promise<void> {
    let reason: Error = new RamClosedError('the backup closed the channel')
    try {
      for await (const { bytes } of channel.receive()) {
        if (this.#channels.get(id) !== channel) return
        await this.#receive(id, decodeMessage(bytes, this.#deps.region.bytes, this.#addon.hash64))
      }
    } catch (error) {
      reason = errorOf(error)
      channel.abort(reason)
    }
    if (this.#channels.get(id) === channel) this.#lose(id, reason)
  }

  #receive(id: NodeId, message: RamMessage): Promise<void> {
    if (message.region !== this.#regionHash) {
      return Promise.reject(new FrameError(`${id} speaks of another region`))
    }
    switch (message.type) {
      case 'hello': {
        const { regionBytes, root, applied } = message
        return this.#step({
          type: 'hello',
          backup: id,
          regionBytes,
          root,
          ...(applied && { applied }),
        })
      }
      case 'hashes': {
        const { firstPage, hashes } = message
        const ours = this.#started.source.shadowHashes()
        return this.#step({ type: 'hashes', backup: id, firstPage, hashes, ours })
      }
      case 'ack': {
        const { fencing, counter, root, mismatchPages } = message
        const version: Version = { name: { fencing, counter }, root }
        return this.#step({
          type: 'ack',
          backup: id,
          version,
          ...(mismatchPages !== undefined && { mismatchPages }),
        })
      }
      case 'refuse':
        return this.#step({ type: 'refused', backup: id, code: message.code, text: message.text })
      case 'chunk':
      case 'fill':
      case 'footer':
      case 'offer':
        return Promise.reject(new OrderError(`a backup does not send ${message.type}`))
    }
  }

  /** Resolves when everything that the input caused is handed over. */
  async #step(input: PrimaryInput): Promise<void> {
    await Promise.all(this.#core.step(input).map((effect) => this.#perform(effect)))
  }

  #perform(effect: PrimaryEffect): Promise<void> | undefined {
    switch (effect.type) {
      case 'phase':
        this.#emit('backup:phase', { id: effect.backup, phase: effect.phase })
        return undefined
      case 'acknowledged':
        this.#acknowledge(effect)
        return undefined
      case 'drop': {
        const channel = this.#channels.get(effect.backup)
        this.#forget(effect.backup, effect.error)
        channel?.abort(effect.error)
        return undefined
      }
      case 'offer':
        return this.#send(effect.backup, [
          encodeMessage(
            {
              type: 'offer',
              ...this.#address(),
              mode: effect.mode,
              regionBytes: this.#deps.region.bytes,
            },
            this.#addon.hash64,
          ),
        ])
      case 'find-missing':
        return this.#step({
          type: 'missing',
          backup: effect.backup,
          pages: this.#started.source.shadowPages(),
        })
      case 'fill':
        // Not awaited: it goes on by itself, chunk after chunk.
        void this.#fill(effect.backup, effect.pages)
        return undefined
      case 'send-epoch':
        return this.#sendEpoch(effect)
    }
  }

  #acknowledge(effect: Extract<PrimaryEffect, { type: 'acknowledged' }>): void {
    const { name, by, mismatchPages } = effect
    const acknowledgement = { name, by, ...(mismatchPages !== undefined && { mismatchPages }) }
    this.#epochs++
    this.#lastAcknowledged = name
    this.#outgoing = undefined
    this.#settlers?.resolve(acknowledgement)
    this.#settlers = undefined
    this.#emit('acknowledged', acknowledgement)
  }

  async #fill(id: NodeId, pages: Uint8Array): Promise<void> {
    try {
      const { source } = this.#started
      const options = { lz4: this.#lz4, chunkBytesMax: CHUNK_BYTES_MAX }
      const { chunk, counts, left } = await this.#guarded(() => source.encodeShadow(pages, options))
      this.#count(counts)
      if (chunk !== undefined) await this.#send(id, [await this.#finishChunk(chunk, 'fill')])
      const bytes = chunk?.bytes.byteLength ?? 0
      await this.#step({ type: 'filled', backup: id, left, bytes })
    } catch (error) {
      this.#abandon(id, errorOf(error))
    }
  }

  async #sendEpoch(effect: Extract<PrimaryEffect, { type: 'send-epoch' }>): Promise<void> {
    const outgoing = this.#outgoing
    if (outgoing === undefined) throw new OrderError('there is no epoch to send')
    try {
      const { name, root } = outgoing.version
      const chunks =
        effect.pages === undefined
          ? outgoing.chunks
          : await this.#encodeComplete(name, effect.pages)
      const footer = encodeMessage(
        {
          type: 'footer',
          ...this.#address(name),
          root,
          chunkCount: chunks.length,
          attachment: effect.base === undefined ? outgoing.full : outgoing.difference,
          ...(effect.base && { base: effect.base }),
        },
        this.#addon.hash64,
      )
      await this.#send(effect.backup, [...chunks, ...this.#hashMessages(outgoing), footer])
    } catch (error) {
      this.#abandon(effect.backup, errorOf(error))
    }
  }

  async #encodeComplete(name: EpochName, pages: Uint8Array): Promise<Uint8Array[]> {
    const { source } = this.#started
    const options = { lz4: this.#lz4, chunkBytesMax: CHUNK_BYTES_MAX }
    const complete: EncodedChunk[] = []
    let left = pages
    while (countPages(left) > 0) {
      const result = await this.#guarded(() => source.encodeShadow(left, options))
      this.#count(result.counts)
      left = result.left
      if (result.chunk === undefined) break
      complete.push(result.chunk)
    }
    return await this.#finishChunks(complete, name)
  }

  #finishChunks(chunks: readonly EncodedChunk[], name: EpochName): Promise<Uint8Array[]> {
    return Promise.all(chunks.map((chunk, index) => this.#finishChunk(chunk, 'chunk', index, name)))
  }

  /** Compresses a chunk, if that is wanted and helps, and writes its head. */
  async #finishChunk(
    { bytes, checksum }: EncodedChunk,
    type: 'chunk' | 'fill',
    index = 0,
    name?: EpochName,
  ): Promise<Uint8Array> {
    const packed = this.#init.compression === 'zstd' ? await pack(bytes) : undefined
    const unpackedBytes = packed === undefined ? 0 : bytes.byteLength - HEAD_BYTES
    const message = packed ?? bytes
    const { hash64 } = this.#addon
    writeHead(message, type, this.#address(name), index, checksum, hash64, unpackedBytes)
    return message
  }

  #hashMessages({ hashes, version }: Outgoing): Uint8Array[] {
    if (hashes === undefined) return []
    const messages: Uint8Array[] = []
    for (let page = 0; page * 8 < hashes.byteLength; page += HASHES_PER_MESSAGE) {
      const part = hashes.subarray(page * 8, (page + HASHES_PER_MESSAGE) * 8)
      messages.push(
        encodeMessage(
          { type: 'hashes', ...this.#address(version.name), firstPage: page, hashes: part },
          this.#addon.hash64,
        ),
      )
    }
    return messages
  }

  async #send(id: NodeId, messages: readonly Uint8Array[]): Promise<void> {
    const channel = this.#channels.get(id)
    if (channel === undefined) return
    for (const message of messages) {
      this.#sentBytes += message.byteLength
      // Ours and never changed again: no copy.
      await channel.send(message, { onReleased: () => {} })
    }
  }

  #address(name?: EpochName): Address {
    return { fencing: this.#fencing, counter: name?.counter ?? 0, region: this.#regionHash }
  }

  #count(counts: EncodingCounts): void {
    const { zero, equal, words, raw, lz4 } = this.#pages
    this.#pages = {
      zero: zero + counts.zero,
      equal: equal + counts.equal,
      words: words + counts.words,
      raw: raw + counts.raw,
      lz4: lz4 + counts.lz4,
    }
  }

  /** Something went wrong with one backup: it is lost, the others go on. */
  #abandon(id: NodeId, reason: Error): void {
    const channel = this.#channels.get(id)
    this.#lose(id, reason)
    channel?.abort(reason)
  }

  #lose(id: NodeId, reason: Error): void {
    if (!this.#channels.has(id)) return
    this.#forget(id, reason)
    void this.#step({ type: 'lost', backup: id })
  }

  #forget(id: NodeId, reason: Error): void {
    if (this.#channels.delete(id)) this.#emit('backup:lost', { id, reason })
  }

  #emit<Name extends keyof RamPrimaryEvents>(name: Name, detail: RamPrimaryEvents[Name]): void {
    this.safeDispatchEvent(name, { detail })
  }
}

function attachmentOf(kind: 'full' | 'difference', bytes: Uint8Array | undefined): Attachment {
  if (bytes === undefined) return NO_ATTACHMENT
  if (bytes.byteLength > ATTACHMENT_BYTES_MAX) {
    throw new RangeError(
      `attachment must be at most ${ATTACHMENT_BYTES_MAX} bytes, got ${bytes.byteLength}`,
    )
  }
  return { kind, bytes }
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}

function messageOf(error: unknown): string {
  return errorOf(error).message
}

