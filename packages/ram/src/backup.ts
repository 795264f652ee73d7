import type { BulkChannel, FencingEpoch } from '@mycelium/interface'
import { TypedEventEmitter } from 'main-event'
import { loadAddon, type NativeImage, type RamAddon } from './addon.ts'
import { CHUNK_BYTES_MAX, HASHES_PER_MESSAGE, PAGE_BYTES } from './constants.ts'
import { BackupCore, type BackupEffect, type BackupInput } from './core/backup.ts'
import type { Version } from './core/epoch.ts'
import { countDiffering } from './core/page-set.ts'
import {
  MemoryError,
  NotPromotableError,
  OrderError,
  RamClosedError,
  RejectedError,
} from './errors.ts'
import type {
  AppliedEpoch,
  RamBackup,
  RamBackupDeps,
  RamBackupEvents,
  RamBackupInit,
} from './index.ts'
import { resolveName } from './primary-config.ts'
import { giveBack } from './give-back.ts'
import { ImageFiller } from './image-filler.ts'
import { nativeOf } from './region.ts'
import { Serial } from './serial.ts'
import { unpack } from './compression.ts'
import { type Address, decodeMessage, encodeMessage } from './wire.ts'

type Events = { [Name in keyof RamBackupEvents]: CustomEvent<RamBackupEvents[Name]> }

/** The I/O shell around {@link BackupCore}. */
export class BackupReplica extends TypedEventEmitter<Events> implements RamBackup {
  readonly #deps: RamBackupDeps
  readonly #init: RamBackupInit
  readonly #addon: RamAddon
  readonly #image: NativeImage
  readonly #filler: ImageFiller
  readonly #core: BackupCore
  readonly #regionHash: bigint
  /** One message at a time, also across a change of channel. */
  readonly #work = new Serial()
  /** One attachment at a time. */
  readonly #attaching = new Serial()
  #channel: BulkChannel | undefined
  /** The message at work. */
  #received: Uint8Array = new Uint8Array()
  #keptHashes: Uint8Array | undefined
  /** An epoch is in the memory, and what belongs to it is not taken yet. */
  #isImageChanged = false
  #promotedHashes: Uint8Array | undefined
  #isOpen = false
  #isStopped = false

  constructor(deps: RamBackupDeps, init: RamBackupInit) {
    super()
    this.#deps = deps
    this.#init = init
    const name = resolveName(init.name)
    this.#addon = loadAddon()
    this.#image = this.#addon.createImage(nativeOf(deps.region))
    this.#filler = new ImageFiller(this.#image)
    this.#regionHash = this.#addon.hash64(new TextEncoder().encode(name))
    this.#core = new BackupCore({ region: this.#regionHash, regionBytes: deps.region.bytes })
  }

  get applied(): Version | undefined {
    return this.#core.applied
  }

  get fencing(): FencingEpoch {
    return this.#core.fencing
  }

  hashes(): Uint8Array {
    return this.#promotedHashes ?? this.#image.hashes()
  }

  async attach(channel: BulkChannel): Promise<void> {
    this.#checkOpen()
    if (channel.messageBytesMax < CHUNK_BYTES_MAX) {
      const { messageBytesMax } = channel
      throw new RangeError(
        `channel must take messages of ${CHUNK_BYTES_MAX} bytes, got ${messageBytesMax}`,
      )
    }
    await this.#attaching.run(async () => {
      await this.#detach(new OrderError('another channel was attached'))
      await this.#work.run(() => this.#open())
      this.#checkOpen()
      this.#channel = channel
      await this.#work.run(() => this.#step({ type: 'attached' }))
      void this.#serve(channel)
    })
  }

  /** Hashes what the region holds, on another thread. */
  async #open(): Promise<void> {
    this.#checkOpen()
    if (this.#isOpen) return
    await native(() => this.#image.open())
    this.#isOpen = true
  }

  async promote(): Promise<Version> {
    this.#checkOpen()
    this.#isStopped = true
    await this.#detach(new RamClosedError('the backup was promoted'))
    const { applied } = this.#core
    if (applied !== undefined) this.#promotedHashes = this.#image.hashes()
    this.#image.close()
    if (applied === undefined) {
      throw new NotPromotableError('the backup holds no complete epoch')
    }
    return applied
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return
    this.#isStopped = true
    await this.#detach(new RamClosedError('the backup is stopped'))
    this.#image.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #checkOpen(): void {
    if (this.#isStopped) throw new RamClosedError('the backup is stopped or promoted')
  }

  /** After it no message is at work, and what was staged is gone. */
  async #detach(reason: Error): Promise<void> {
    const channel = this.#channel
    this.#channel = undefined
    channel?.abort(reason)
    await this.#work.run(() => this.#step({ type: 'detached' }))
  }

  async #serve(channel: BulkChannel): Promise<void> {
    let reason: Error | undefined
    try {
      for await (const { bytes } of channel.receive()) {
        await this.#work.run(() => this.#receive(channel, bytes))
      }
    } catch (error) {
      reason = error instanceof Error ? error : new Error(String(error))
      channel.abort(reason)
    }
    if (this.#channel !== channel) return
    this.#channel = undefined
    await this.#work.run(() => this.#step({ type: 'detached' }))
    this.safeDispatchEvent('detached', { detail: { ...(reason && { reason }) } })
  }

  async #receive(channel: BulkChannel, bytes: Uint8Array): Promise<void> {
    if (this.#channel !== channel) return
    this.#received = bytes
    try {
      const { hash64 } = this.#addon
      const message = await unpack(decodeMessage(bytes, this.#deps.region.bytes, hash64))
      await this.#step({ type: 'message', message })
      // Staged; everything else may be kept: an attachment, a text.
      if (message.type === 'chunk') giveBack(bytes)
    } catch (error) {
      await this.#refuse(error)
    }
  }

  async #refuse(error: unknown): Promise<void> {
    const { code, message: text } = error as Error & { code?: string }
    // A failure of the channel is not the primary's fault, and refusing goes over the channel.
    if (code === undefined || !code.startsWith('ERR_RAM_')) throw error
    const isImageChanged = this.#isImageChanged
    this.#isImageChanged = false
    const failed = { code: REMOTE_CODES.get(code) ?? code, text, isImageChanged }
    await this.#step({ type: 'failed', ...failed })
  }

  /** Resolves before it is done, so that the next is ready when the image is. */
  async #fill({ payload, checksum }: Extract<BackupEffect, { type: 'fill' }>): Promise<void> {
    const channel = this.#channel
    const bytes = this.#received
    const onRead = (): void => giveBack(bytes)
    await this.#filler.add({ payload, checksum, onRead }, (error) => {
      // An epoch that comes before the refusal is refused too: its image hash is not that of ours.
      const refused = this.#work.run(async () => {
        if (this.#channel === channel) await this.#refuse(memoryErrorOf(error))
      })
      refused.catch((reason: unknown) => channel?.abort(reason as Error))
    })
  }

  async #step(input: BackupInput): Promise<void> {
    for (const effect of this.#core.step(input)) await this.#perform(effect)
  }

  async #perform(effect: BackupEffect): Promise<void> {
    if (effect.type !== 'fill') await this.#filler.idle()
    switch (effect.type) {
      case 'hello': {
        const { applied } = effect
        const regionBytes = this.#deps.region.bytes
        const { root } = this.#image
        return await this.#send({
          type: 'hello',
          ...this.#address(applied),
          regionBytes,
          root,
          ...(applied && { applied }),
        })
      }
      case 'send-hashes':
        return await this.#sendHashes()
      case 'stage':
        await native(() => this.#image.stage(effect.payload, effect.checksum))
        return
      case 'fill':
        return await this.#fill(effect)
      case 'apply':
        return await this.#apply(effect)
      case 'keep-hashes':
        this.#keptHashes ??= new Uint8Array((this.#deps.region.bytes / PAGE_BYTES) * 8)
        this.#keptHashes.set(effect.hashes, effect.firstPage * 8)
        return
      case 'discard':
        if (this.#isOpen) this.#image.discard()
        this.#keptHashes = undefined
        return
      case 'ack': {
        const { version, mismatchPages } = effect
        return await this.#send({
          type: 'ack',
          ...this.#address(version),
          root: version.root,
          ...(mismatchPages !== undefined && { mismatchPages }),
        })
      }
      case 'refuse': {
        const { code, text } = effect
        await this.#send({ type: 'refuse', ...this.#address(), code, text })
        this.safeDispatchEvent('refused', { detail: { code, text } })
        return
      }
      case 'applied': {
        const { version, attachment, mismatchPages } = effect
        const epoch = {
          version,
          attachment,
          ...(mismatchPages !== undefined && { mismatchPages }),
        }
        this.#handOver(epoch)
        this.safeDispatchEvent('applied', { detail: epoch })
        return
      }
    }
  }

  async #apply({ version, compare }: Extract<BackupEffect, { type: 'apply' }>): Promise<void> {
    const { root } = await native(() => this.#image.apply(version.root))
    this.#isImageChanged = true
    const kept = this.#keptHashes
    this.#keptHashes = undefined
    // From the memory itself, not from the table: this is what finds a page that changed by itself.
    const mismatchPages =
      compare && kept !== undefined
        ? countDiffering(kept, await native(() => this.#deps.region.hashPages()))
        : undefined
    await this.#step({
      type: 'applied',
      root,
      ...(mismatchPages !== undefined && { mismatchPages }),
    })
  }

  #handOver(epoch: AppliedEpoch): void {
    try {
      this.#init.onApplied?.(epoch)
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause)
      throw new RejectedError(`the epoch was not taken: ${text}`, { cause })
    }
    this.#isImageChanged = false
  }

  async #sendHashes(): Promise<void> {
    const hashes = this.#image.hashes()
    for (let page = 0; page * 8 < hashes.byteLength; page += HASHES_PER_MESSAGE) {
      const part = hashes.subarray(page * 8, (page + HASHES_PER_MESSAGE) * 8)
      await this.#send({ type: 'hashes', ...this.#address(), firstPage: page, hashes: part })
    }
  }

  async #send(message: Parameters<typeof encodeMessage>[0]): Promise<void> {
    await this.#channel?.send(encodeMessage(message, this.#addon.hash64))
  }

  #address(version?: Version): Address {
    const name = version?.name
    return {
      fencing: name?.fencing ?? this.#core.fencing,
      counter: name?.counter ?? 0,
      region: this.#regionHash,
    }
  }
}

async function native<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw memoryErrorOf(cause)
  }
}

/** Failures of the system (no memory, no room) are told to the primary as such. */
function memoryErrorOf(cause: unknown): unknown {
  const { code, message } = cause as Error & { code?: string }
  if (code?.startsWith('ERR_RAM_') === true) return cause
  return new MemoryError(`the image cannot be written: ${message}`, { cause })
}

/** Codes of the addon, as the protocol names them. */
const REMOTE_CODES: ReadonlyMap<string, string> = new Map([
  ['ERR_RAM_CHUNK', 'ERR_RAM_FRAME'],
  ['ERR_RAM_ROOT', 'ERR_RAM_IMAGE'],
])
