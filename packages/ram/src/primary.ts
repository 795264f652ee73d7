import type { AbortOptions, BulkChannel, NodeId } from '@mycelium/interface'
import { TypedEventEmitter } from 'main-event'
import { loadAddon, type RamAddon } from './addon.ts'
import {
  BACKUPS_MAX,
  CHUNK_BYTES_MAX,
  DETACH_MS_MAX,
  FILL_CHUNKS_MAX,
  FILL_FACTOR_MAX,
  JOIN_PAGES_MAX,
  PAGE_BYTES,
} from './constants.ts'
import type { EpochName, Version } from './core/epoch.ts'
import { PrimaryCore, type PrimaryEffect, type PrimaryInput } from './core/primary.ts'
import { type Captured, EpochSteps } from './epoch-steps.ts'
import { attachmentsOf, EpochWriter, type OutgoingEpoch } from './epoch-writer.ts'
import { OrderError, RamClosedError, RegionError } from './errors.ts'
import { FillSender } from './fill-sender.ts'
import type {
  Acknowledgement,
  BackupStatus,
  Checkpoint,
  CheckpointInit,
  EpochCapture,
  RamPrimary,
  RamPrimaryDeps,
  RamPrimaryEvents,
  RamPrimaryInit,
  RamPrimaryStats,
  TrackerInfo,
} from './index.ts'
import { PageSource } from './page-source.ts'
import { type PrimaryConfig, resolvePrimaryInit } from './primary-config.ts'
import { decodeMessage, type RamMessage } from './wire.ts'

type Events = { [Name in keyof RamPrimaryEvents]: CustomEvent<RamPrimaryEvents[Name]> }

interface Settlers {
  resolve(acknowledgement: Acknowledgement): void
  reject(reason: Error): void
}

/** The I/O shell around {@link PrimaryCore}. */
export class PrimaryReplicator extends TypedEventEmitter<Events> implements RamPrimary {
  readonly #deps: RamPrimaryDeps
  readonly #config: PrimaryConfig
  readonly #addon: RamAddon
  readonly #core: PrimaryCore
  readonly #source: PageSource
  readonly #writer: EpochWriter
  readonly #regionHash: bigint
  /** Work for a backup belongs to its channel: the same backup may return over another. */
  readonly #channels = new Map<NodeId, BulkChannel>()
  readonly #fillSender = new FillSender()
  #counter = 0
  #outgoing: OutgoingEpoch | undefined
  #settlers: Settlers | undefined
  /** Settles, never rejects, when the last epoch is acknowledged or given up. */
  #lastSettled: Promise<unknown> = Promise.resolve()
  #isStopped = false
  #isCapturing = false
  #epochs = 0
  #lastAcknowledged: EpochName | undefined
  #sentBytes = 0
  #lastEpochBytes = 0

  constructor(deps: RamPrimaryDeps, init: RamPrimaryInit) {
    super()
    this.#deps = deps
    const config = resolvePrimaryInit(init)
    this.#config = config
    this.#addon = loadAddon()
    this.#source = new PageSource(this.#addon, deps.region, config)
    const { bytes } = deps.region
    this.#core = new PrimaryCore({
      regionBytes: bytes,
      pages: bytes / PAGE_BYTES,
      joinPagesMax: JOIN_PAGES_MAX,
      fillBytesMax: bytes * FILL_FACTOR_MAX,
    })
    this.#regionHash = this.#addon.hash64(new TextEncoder().encode(config.name))
    this.#writer = new EpochWriter({
      fencing: config.fencing,
      region: this.#regionHash,
      zstd: config.compression === 'zstd',
      hash: this.#addon.hash64,
    })
  }

  get tracker(): TrackerInfo {
    return this.#source.tracker
  }

  async start({ signal }: AbortOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    try {
      await this.#source.open()
      signal?.throwIfAborted()
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#settlers?.reject(new RamClosedError('the primary is stopped'))
    const channels = [...this.#channels.keys()]
    await Promise.all(channels.map((id) => this.detach(id)))
    await this.#source.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  attach(channel: BulkChannel): void {
    if (this.#isStopped) throw new RamClosedError('the primary is stopped')
    this.#source.checkOpen()
    const id = channel.remote
    if (this.#channels.has(id)) throw new RangeError(`channel of ${id} is attached already`)
    if (this.#channels.size >= BACKUPS_MAX) {
      throw new RangeError(`channel must be one of at most ${BACKUPS_MAX}`)
    }
    if (channel.messageBytesMax < CHUNK_BYTES_MAX) {
      const { messageBytesMax } = channel
      throw new RangeError(
        `channel must take messages of ${CHUNK_BYTES_MAX} bytes, got ${messageBytesMax}`,
      )
    }
    this.#channels.set(id, channel)
    void this.#step({ type: 'attached', backup: id })
    void this.#serve(id, channel)
  }

  async detach(id: NodeId): Promise<void> {
    const channel = this.#channels.get(id)
    if (channel === undefined) return
    const reason = new RamClosedError('detached')
    this.#lose(id, reason)
    // What was accepted may still arrive, but a peer that reads nothing must not hold us up.
    const { clock } = this.#deps
    const timeout = new AbortController()
    const cancel = clock.schedule(clock.now() + DETACH_MS_MAX, () => {
      timeout.abort(reason)
    })
    try {
      await channel.close({ signal: timeout.signal })
    } catch {
      // It failed already, or did not flush in time: either way it is of no use any more.
      channel.abort(reason)
    } finally {
      cancel()
    }
  }

  backups(): readonly BackupStatus[] {
    return [...this.#core.backups()].map(([id, status]) => ({ id, ...status }))
  }

  async checkpoint({ attachment }: CheckpointInit = {}): Promise<Checkpoint> {
    const epoch = await this.beginEpoch()
    await epoch.capture()
    return await epoch.seal(attachment)
  }

  async precopy(): Promise<number> {
    await this.#lastSettled
    this.#source.checkOpen()
    if (this.#isCapturing || !this.#core.mayPrecopy) return 0
    this.#isCapturing = true
    try {
      const pages = await this.#source.capture()
      const { changed } = await this.#source.absorb()
      await this.#step({ type: 'precopied', changed })
      return pages
    } finally {
      this.#isCapturing = false
    }
  }

  async beginEpoch(): Promise<EpochCapture> {
    await this.#lastSettled
    this.#source.checkOpen()
    if (this.#isCapturing) throw new OrderError('another epoch is being captured')
    this.#isCapturing = true
    return new EpochSteps({
      source: this.#source,
      seal: (captured) => this.#seal(captured),
      ended: () => {
        this.#isCapturing = false
      },
    })
  }

  stats(): RamPrimaryStats {
    const lastAcknowledged = this.#lastAcknowledged
    const missing = this.backups().map(({ missingPages }) => missingPages)
    return {
      epochs: this.#epochs,
      ...(lastAcknowledged && { lastAcknowledged }),
      ...this.#source.counts,
      sentBytes: this.#sentBytes,
      lastEpochBytes: this.#lastEpochBytes,
      backlogPages: Math.max(0, ...missing),
    }
  }

  async #seal({ attachment, hashes }: Captured): Promise<Checkpoint> {
    // Before the shadow moves: an epoch that cannot be sealed must not be lost.
    const { full, difference } = attachmentsOf(attachment)
    const { chunks: encoded, changed, dirtyPages, root } = await this.#source.encode()
    const name: EpochName = { fencing: this.#config.fencing, counter: ++this.#counter }
    const version: Version = { name, root }
    const chunks = await this.#writer.chunks(encoded, name)
    const acknowledged = new Promise<Acknowledgement>((resolve, reject) => {
      this.#settlers = { resolve, reject }
    })
    this.#lastSettled = acknowledged.catch(() => {})
    if (this.#isStopped) this.#settlers?.reject(new RamClosedError('the primary is stopped'))
    this.#outgoing = { version, chunks, full, difference, ...(hashes && { hashes }) }
    this.#lastEpochBytes = chunks.reduce(
      (sum, { byteLength }) => sum + byteLength,
      difference.bytes.byteLength,
    )
    await this.#step({ type: 'sealed', epoch: { version, changed } })
    return { name, dirtyPages, acknowledged }
  }

  /** Receives from one backup until its channel ends. */
  async #serve(id: NodeId, channel: BulkChannel): Promise<void> {
    let reason: Error = new RamClosedError('the backup closed the channel')
    try {
      for await (const { bytes } of channel.receive()) {
        if (this.#channels.get(id) !== channel) return
        const message = decodeMessage(bytes, this.#deps.region.bytes, this.#addon.hash64)
        await this.#receive(id, channel, message)
      }
    } catch (error) {
      reason = errorOf(error)
    }
    this.#abandon(id, channel, reason)
  }

  async #receive(id: NodeId, channel: BulkChannel, message: RamMessage): Promise<void> {
    if (message.region !== this.#regionHash) throw new RegionError(`${id} has another region`)
    switch (message.type) {
      case 'hello': {
        const { regionBytes, root, applied } = message
        return await this.#step({
          type: 'hello',
          backup: id,
          regionBytes,
          root,
          ...(applied && { applied }),
        })
      }
      case 'hashes': {
        const { firstPage, hashes } = message
        const ours = await this.#source.shadowHashes()
        if (this.#channels.get(id) !== channel) return
        return await this.#step({ type: 'hashes', backup: id, firstPage, hashes, ours })
      }
      case 'ack': {
        const { fencing, counter, root, mismatchPages } = message
        const version: Version = { name: { fencing, counter }, root }
        return await this.#step({
          type: 'ack',
          backup: id,
          version,
          ...(mismatchPages !== undefined && { mismatchPages }),
        })
      }
      case 'refuse': {
        const { code, text } = message
        return await this.#step({ type: 'refused', backup: id, code, text })
      }
      case 'chunk':
      case 'fill':
      case 'footer':
      case 'offer':
        throw new OrderError(`a backup does not send ${message.type}`)
    }
  }

  /** Resolves when everything that the input caused is handed over. */
  async #step(input: PrimaryInput): Promise<void> {
    await this.#performAll(this.#core.step(input))
  }

  async #performAll(effects: readonly PrimaryEffect[]): Promise<void> {
    await Promise.all(effects.map((effect) => this.#perform(effect)))
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
        const { backup: id, error: reason } = effect
        const channel = this.#channels.get(id)
        this.#channels.delete(id)
        channel?.abort(reason)
        this.#emit('backup:lost', { id, reason })
        return undefined
      }
      case 'offer':
        return this.#serving(effect.backup, (channel) =>
          this.#send(channel, this.#writer.offer(effect.mode, this.#deps.region.bytes)),
        )
      case 'find-missing':
        return this.#serving(effect.backup, async (channel) => {
          const pages = await this.#source.shadowPages()
          await this.#stepFor(channel, { type: 'missing', backup: effect.backup, pages })
        })
      case 'fill':
        // Not awaited: it goes on by itself, chunk after chunk.
        void this.#serving(effect.backup, (channel) => this.#fill(channel, effect))
        return undefined
      case 'send-epoch':
        return this.#serving(effect.backup, (channel) => this.#sendEpoch(channel, effect))
    }
  }

  /** What goes wrong with one backup is its loss; the others go on. */
  async #serving(id: NodeId, work: (channel: BulkChannel) => Promise<void>): Promise<void> {
    const channel = this.#channels.get(id)
    if (channel === undefined) return
    try {
      await work(channel)
    } catch (error) {
      this.#abandon(id, channel, errorOf(error))
    }
  }

  /** A step that is void if its backup was lost meanwhile, or is back over another channel. */
  async #stepFor(
    channel: BulkChannel,
    input: PrimaryInput & { readonly backup: NodeId },
  ): Promise<void> {
    if (this.#channels.get(input.backup) === channel) await this.#step(input)
  }

  #acknowledge(effect: Extract<PrimaryEffect, { type: 'acknowledged' }>): void {
    this.#outgoing = undefined
    // The last backup was detached by `stop`: nobody has said anything.
    if (this.#isStopped) return
    const { name, by, mismatchPages } = effect
    const acknowledgement = { name, by, ...(mismatchPages !== undefined && { mismatchPages }) }
    if (by.length > 0) {
      this.#epochs++
      this.#lastAcknowledged = name
    }
    this.#settlers?.resolve(acknowledgement)
    this.#settlers = undefined
    this.#emit('acknowledged', acknowledgement)
  }

  async #fill(
    channel: BulkChannel,
    { backup, pages }: Extract<PrimaryEffect, { type: 'fill' }>,
  ): Promise<void> {
    let left = pages
    let bytes = 0
    for (let count = 0; count < FILL_CHUNKS_MAX; count++) {
      const encoding = await this.#source.encodeShadow(left)
      left = encoding.left
      const { chunk } = encoding
      if (chunk === undefined || this.#channels.get(backup) !== channel) break
      const message = await this.#writer.fill(chunk)
      bytes += message.byteLength
      this.#sentBytes += message.byteLength
      await this.#fillSender.send(channel, message)
    }
    await this.#stepFor(channel, { type: 'filled', backup, left, bytes })
  }

  async #sendEpoch(
    channel: BulkChannel,
    { base, pages }: Extract<PrimaryEffect, { type: 'send-epoch' }>,
  ): Promise<void> {
    const outgoing = this.#outgoing
    if (outgoing === undefined) throw new OrderError('there is no epoch to send')
    let chunkCount = outgoing.chunks.length
    if (pages === undefined) await this.#send(channel, ...outgoing.chunks)
    else chunkCount = await this.#sendComplete(channel, outgoing.version.name, pages)
    const footer = this.#writer.footer(outgoing, chunkCount, base)
    await this.#send(channel, ...this.#writer.hashes(outgoing), footer)
  }

  /** Sends pages of the shadow, which stands still while the epoch is on its way. */
  async #sendComplete(channel: BulkChannel, name: EpochName, pages: Uint8Array): Promise<number> {
    let { chunk, left } = await this.#source.encodeShadow(pages)
    let index = 0
    for (; chunk !== undefined; index++) {
      await this.#send(channel, await this.#writer.chunk(chunk, index, name))
      ;({ chunk, left } = await this.#source.encodeShadow(left))
    }
    return index
  }

  async #send(channel: BulkChannel, ...messages: readonly Uint8Array[]): Promise<void> {
    for (const message of messages) {
      this.#sentBytes += message.byteLength
      // Ours and never changed again: no copy.
      await channel.send(message, { onReleased: () => {} })
    }
  }

  /** Does nothing if the backup is gone already, perhaps while its channel still flushes. */
  #abandon(id: NodeId, channel: BulkChannel, reason: Error): void {
    if (this.#channels.get(id) !== channel) return
    this.#lose(id, reason)
    channel.abort(reason)
  }

  #lose(id: NodeId, reason: Error): void {
    this.#channels.delete(id)
    const effects = this.#core.step({ type: 'lost', backup: id })
    // Whoever hears of it may attach the same backup again at once, and must hear of it before an
    // epoch counts as acknowledged without it.
    this.#emit('backup:lost', { id, reason })
    void this.#performAll(effects)
  }

  #emit<Name extends keyof RamPrimaryEvents>(name: Name, detail: RamPrimaryEvents[Name]): void {
    this.safeDispatchEvent(name, { detail })
  }
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
