/**
 * What a backup does with each message, without I/O. Native work is an effect, and its outcome an
 * input: the shell gives one message at a time, and the next only after the effects of the last are
 * carried out and their outcomes were given.
 */
import type { FencingEpoch } from '@mycelium/interface'
import { BaseError, FencedError, OrderError, RegionError } from '../errors.ts'
import type { RamMessage } from '../wire.ts'
import { type Attachment, type EpochName, formatName, sameVersion, type Version } from './epoch.ts'

export type BackupInput =
  | { readonly type: 'attached' }
  | { readonly type: 'message'; readonly message: RamMessage }
  /** `apply` succeeded. */
  | { readonly type: 'applied'; readonly root: bigint; readonly mismatchPages?: number }
  /** The message before could not be decoded, or an effect of it failed. */
  | {
      readonly type: 'failed'
      readonly code: string
      readonly text: string
      /** `apply` had succeeded before: the image is not what it was. */
      readonly isImageChanged?: boolean
    }
  | { readonly type: 'detached' }

export type BackupEffect =
  | { readonly type: 'hello'; readonly applied?: Version }
  | { readonly type: 'send-hashes' }
  | { readonly type: 'stage'; readonly payload: Uint8Array; readonly checksum: bigint }
  /** Write these pages, at once and without a check of the whole. Nothing is staged. */
  | { readonly type: 'fill'; readonly payload: Uint8Array; readonly checksum: bigint }
  /** Apply what is staged, whole or not at all; answer with `applied` or `failed`. */
  | {
      readonly type: 'apply'
      readonly version: Version
      /** Compare with the hashes kept before. */
      readonly compare: boolean
    }
  | { readonly type: 'keep-hashes'; readonly firstPage: number; readonly hashes: Uint8Array }
  | { readonly type: 'discard' }
  | { readonly type: 'ack'; readonly version: Version; readonly mismatchPages?: number }
  | { readonly type: 'refuse'; readonly code: string; readonly text: string }
  | {
      readonly type: 'applied'
      readonly version: Version
      readonly attachment: Attachment
      readonly mismatchPages?: number
    }

export interface BackupConfig {
  readonly region: bigint
  readonly regionBytes: number
}

export class BackupCore {
  readonly #config: BackupConfig
  #fencing: FencingEpoch = 0n
  #applied: Version | undefined
  /** How the primary brings the image up to date; absent before its offer. */
  #mode: 'resume' | 'fill' | 'compare' | undefined
  #building: { readonly name: EpochName; chunks: number; hashes: boolean } | undefined
  #applying: { readonly version: Version; readonly attachment: Attachment } | undefined
  /** After a refusal, until the next offer: what is still on its way makes no sense any more. */
  #isDeaf = false

  constructor(config: BackupConfig) {
    this.#config = config
  }

  /** The version that a promotion would give. */
  get applied(): Version | undefined {
    return this.#applied
  }

  /** Highest fencing epoch seen: senders of older ones are refused. */
  get fencing(): FencingEpoch {
    return this.#fencing
  }

  step(input: BackupInput): BackupEffect[] {
    switch (input.type) {
      case 'attached': {
        this.#mode = undefined
        this.#isDeaf = false
        const applied = this.#applied
        return [...this.#abandon(), { type: 'hello', ...(applied && { applied }) }]
      }
      case 'message':
        return this.#message(input.message)
      case 'applied':
        return this.#finish(input.root, input.mismatchPages)
      case 'failed':
        // The image is an epoch, but what belongs to it (its attachment) could not be taken.
        if (input.isImageChanged === true) this.#applied = undefined
        // One refusal is answered by one offer.
        return this.#isDeaf ? [] : this.#refuse(input.code, input.text)
      case 'detached':
        return this.#abandon()
    }
  }

  #message(message: RamMessage): BackupEffect[] {
    if (this.#isDeaf && message.type !== 'offer') return []
    if (message.region !== this.#config.region) {
      return this.#refuseError(new RegionError('this is another region'))
    }
    if (message.fencing < this.#fencing) {
      const text = `fencing epoch ${message.fencing} is older than ${this.#fencing}`
      return this.#refuseError(new FencedError(text))
    }
    this.#fencing = message.fencing
    switch (message.type) {
      case 'offer':
        return this.#offer(message)
      case 'fill':
        if (this.#mode === undefined || this.#mode === 'resume' || this.#building !== undefined) {
          return this.#refuseError(new OrderError('a fill was not announced'))
        }
        return [{ type: 'fill', payload: message.payload, checksum: message.checksum }]
      case 'chunk':
        return this.#chunk(message)
      case 'hashes':
        return this.#hashes(message)
      case 'footer':
        return this.#footer(message)
      case 'refuse':
      case 'hello':
      case 'ack':
        return this.#refuseError(new OrderError(`a primary does not send ${message.type}`))
    }
  }

  #offer(message: Extract<RamMessage, { type: 'offer' }>): BackupEffect[] {
    if (message.regionBytes !== this.#config.regionBytes) {
      const { regionBytes } = this.#config
      return this.#refuseError(
        new RegionError(`the primary has ${message.regionBytes} bytes, not ${regionBytes}`),
      )
    }
    this.#mode = message.mode
    this.#isDeaf = false
    const effects = this.#abandon()
    // From now on pages are overwritten one by one: it is no epoch until the next is applied.
    if (message.mode !== 'resume') this.#applied = undefined
    if (message.mode === 'compare') effects.push({ type: 'send-hashes' })
    return effects
  }

  #chunk(message: Extract<RamMessage, { type: 'chunk' }>): BackupEffect[] {
    const problem = this.#enterEpoch(message)
    if (problem !== undefined) return this.#refuseError(problem)
    const building = this.#building
    if (building === undefined || message.index !== building.chunks) {
      return this.#refuseError(new OrderError(`chunk ${message.index} is out of order`))
    }
    building.chunks++
    return [{ type: 'stage', payload: message.payload, checksum: message.checksum }]
  }

  #hashes(message: Extract<RamMessage, { type: 'hashes' }>): BackupEffect[] {
    const problem = this.#enterEpoch(message)
    if (problem !== undefined) return this.#refuseError(problem)
    if (this.#building !== undefined) this.#building.hashes = true
    return [{ type: 'keep-hashes', firstPage: message.firstPage, hashes: message.hashes }]
  }

  /** Every message of an epoch names it, and epochs do not mix. */
  #enterEpoch({ fencing, counter }: EpochName): Error | undefined {
    if (this.#mode === undefined) return new OrderError('an epoch came before an offer')
    const name = { fencing, counter }
    this.#building ??= { name, chunks: 0, hashes: false }
    const { name: current } = this.#building
    if (current.fencing !== fencing || current.counter !== counter) {
      return new OrderError(`${formatName(name)} came in the middle of ${formatName(current)}`)
    }
    return undefined
  }

  #footer(message: Extract<RamMessage, { type: 'footer' }>): BackupEffect[] {
    const problem = this.#enterEpoch(message)
    if (problem !== undefined) return this.#refuseError(problem)
    const building = this.#building
    if (building === undefined || message.chunkCount !== building.chunks) {
      const text = `${message.chunkCount} chunks announced, ${building?.chunks} came`
      return this.#refuseError(new OrderError(text))
    }
    const version: Version = { name: building.name, root: message.root }
    if (message.base !== undefined && !sameVersion(message.base, this.#applied)) {
      const have = this.#applied === undefined ? 'none' : formatName(this.#applied.name)
      const text = `it builds on ${formatName(message.base.name)}, but ${have} is applied`
      return this.#refuseError(new BaseError(text))
    }
    this.#applying = { version, attachment: message.attachment }
    return [{ type: 'apply', version, compare: building.hashes }]
  }

  #finish(root: bigint, mismatchPages: number | undefined): BackupEffect[] {
    const applying = this.#applying
    if (applying === undefined || applying.version.root !== root) {
      throw new OrderError('nothing was being applied')
    }
    this.#applying = undefined
    this.#building = undefined
    this.#applied = applying.version
    // It is an epoch now, and only another may change it.
    this.#mode = 'resume'
    const { version, attachment } = applying
    const compared = mismatchPages === undefined ? {} : { mismatchPages }
    return [
      { type: 'applied', version, attachment, ...compared },
      { type: 'ack', version, ...compared },
    ]
  }

  #refuseError(error: Error & { readonly code?: string }): BackupEffect[] {
    return this.#refuse(error.code ?? 'ERR_RAM_ORDER', error.message)
  }

  #refuse(code: string, text: string): BackupEffect[] {
    this.#mode = undefined
    this.#isDeaf = true
    return [...this.#abandon(), { type: 'refuse', code, text }]
  }

  #abandon(): BackupEffect[] {
    this.#building = undefined
    this.#applying = undefined
    return [{ type: 'discard' }]
  }
}
