import type { BulkChannel, FencingEpoch } from '@mycelium/interface'
import { TypedEventEmitter } from 'main-event'
import { loadAddon, type NativeImage, type RamAddon } from './addon.ts'
import { HASHES_PER_MESSAGE, PAGE_BYTES } from './constants.ts'
import { BackupCore, type BackupEffect, type BackupInput } from './core/backup.ts'
import type { Version } from './core/epoch.ts'
import { countDiffering } from './core/page-set.ts'
import { NotPromotableError, OrderError, RamClosedError } from './errors.ts'
import type { RamBackup, RamBackupDeps, RamBackupEvents, RamBackupInit } from './index.ts'
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
  readonly #core: BackupCore
  readonly #regionHash: bigint
  /** One message at a time, also across a change of channel. */
  readonly #work = new Serial()
  #channel: BulkChannel | undefined
  #keptHashes: Uint8Array | undefined
  #isStopped = false

  constructor(deps: RamBackupDeps, init: RamBackupInit) {
    super()
    this.#deps = deps
    this.#init = init
    this.#addon = loadAddon()
    this.#image = this.#addon.createImage(nativeOf(deps.region))
    this.#regionHash = this.#addon.hash64(new TextEncoder().encode(init.name ?? 'region'))
    this.#core = new BackupCore({ region: this.#regionHash, regionBytes: deps.region.bytes })
  }

  get applied(): Version | undefined {
    return this.#core.applied
  }

  get fencing(): FencingEpoch {
    return this.#core.fencing
  }

  hashes(): Uint8Array {
    return this.#image.hashes()
  }

  async attach(channel: BulkChannel): Promise<void> {
    this.#checkOpen()
    await this.#detach(new OrderError('another channel was attached'))
    this.#checkOpen()
    this.#channel = channel
    await this.#work.run(() => this.#step({ type: 'attached' }))
    void this.#serve(channel)
  }

  async promote(): Promise<Version> {
    this.#checkOpen()
    this.#isStopped = true
    await this.#detach(new RamClosedError('the backup was promoted'))
    const { applied } = this.#core
    if (applied === undefined) {
      this.#image.close()
      throw new NotPromotableError('the backup holds no complete epoch')
    }
    this.#image.close()
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
    try {
      const { hash64 } = this.#addon
      const message = await unpack(decodeMessage(bytes, this.#deps.region.bytes, hash64))
      await this.#step({ type: 'message', message })
    } catch (error) {
      const { code, message: text } = error as Error & { code?: string }
      // A failure of the channel is not the primary's fault, and refusing goes over the channel.
      if (code === undefined || !code.startsWith('ERR_RAM_')) throw error
      await this.#step({ type: 'failed', code: REMOTE_CODES.get(code) ?? code, text })
    }
  }

  async #step(input: BackupInput): Promise<void> {
    for (const effect of this.#core.step(input)) await this.#perform(effect)
  }

  async #perform(effect: BackupEffect): Promise<void> {
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
        await this.#image.stage(effect.payload, effect.checksum)
        return
      case 'apply-fill':
        await this.#image.apply()
        return
      case 'apply':
        return await this.#apply(effect)
      case 'keep-hashes':
        this.#keptHashes ??= new Uint8Array((this.#deps.region.bytes / PAGE_BYTES) * 8)
        this.#keptHashes.set(effect.hashes, effect.firstPage * 8)
        return
      case 'discard':
        this.#image.discard()
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
        this.#init.onApplied?.(epoch)
        this.safeDispatchEvent('applied', { detail: epoch })
        return
      }
    }
  }

  async #apply({ version, compare }: Extract<BackupEffect, { type: 'apply' }>): Promise<void> {
    const { root } = await this.#image.apply(version.root)
    const kept = this.#keptHashes
    this.#keptHashes = undefined
    // From the memory itself, not from the table: this is what finds a page that changed by itself.
    const mismatchPages =
      compare && kept !== undefined
        ? countDiffering(kept, await this.#deps.region.hashPages())
        : undefined
    await this.#step({
      type: 'applied',
      root,
      ...(mismatchPages !== undefined && { mismatchPages }),
    })
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

/** Codes of the addon, as the protocol names them. */
const REMOTE_CODES: ReadonlyMap<string, string> = new Map([
  ['ERR_RAM_CHUNK', 'ERR_RAM_FRAME'],
  ['ERR_RAM_ROOT', 'ERR_RAM_IMAGE'],
])
