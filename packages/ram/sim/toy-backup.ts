import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import { BackupCore, type BackupEffect, type BackupInput } from '../src/core/backup.ts'
import type { Version } from '../src/core/epoch.ts'
import { countDiffering } from '../src/core/page-set.ts'
import { type Address, decodeMessage, encodeMessage } from '../src/wire.ts'
import type { BackupBooks } from './judge.ts'
import { hashesOf, PAGES, ToyError, ToyImage } from './toy-memory.ts'
import type { ToyEnd } from './toy-session.ts'
import { type Activity, chance, Process, toyHash, type ToyWorld } from './toy-world.ts'

export const REGION = 77n
export const REGION_BYTES: number = PAGES * 4096
/** Hashes travel in several messages, as those of a large region do. */
const HASHES_PER_MESSAGE = 20
/** Fills that wait while the image is at work. */
const FILLS_WAITING_MAX = 2

/** The shell of a {@link BackupCore}, over a {@link ToyImage}. One process, one life. */
export class ToyBackup extends Process {
  readonly id: NodeId
  readonly books: BackupBooks
  readonly #core = new BackupCore({ region: REGION, regionBytes: REGION_BYTES })
  readonly #memory = new ToyImage()
  /** What travels beside the pages. */
  #state = 0
  #keptHashes: Uint8Array | undefined
  #end: ToyEnd | undefined
  readonly #inbox: {
    readonly end: ToyEnd
    /** A message, news of the link, or what went wrong with a fill meanwhile. */
    readonly bytes: Uint8Array | 'attached' | 'detached' | ToyError
  }[] = []
  readonly #fills: Extract<BackupEffect, { type: 'fill' }>[] = []
  #isFilling = false
  #isBusy = false
  /** A refusal is on its way, and its answer is an offer. */
  #hasRefused = false
  #isImageChanged = false

  constructor(world: ToyWorld, id: NodeId) {
    super(world)
    this.id = id
    this.books = world.judge.newBooks(id)
  }

  get applied(): Version | undefined {
    return this.#core.applied
  }

  get isIdle(): boolean {
    return !this.#isBusy && !this.#isFilling
  }

  attach(end: ToyEnd): void {
    this.#end?.abort()
    if (this.#end !== undefined) this.#inbox.push({ end: this.#end, bytes: 'detached' })
    this.#end = end
    this.#inbox.push({ end, bytes: 'attached' })
    end.hold({
      receive: (bytes) => {
        this.#inbox.push({ end, bytes })
        this.#wake()
      },
      lost: () => {
        if (this.#end !== end) return
        this.#end = undefined
        this.#inbox.push({ end, bytes: 'detached' })
        this.#wake()
      },
    })
    this.#wake()
  }

  /** What a promotion gives, once the message at work is done. Ends this life as a backup. */
  promote(): { readonly image: Uint8Array; readonly state: number } | undefined {
    this.#end?.abort()
    this.kill()
    const { applied } = this.#core
    if (applied === undefined) return undefined
    this.world.judge.promoted(this.books, applied, this.#memory.image, this.#state)
    return { image: this.#memory.image, state: this.#state }
  }

  /** Its process is gone, with all it held. */
  crash(): void {
    this.#end?.abort()
    this.kill()
  }

  override kill(): void {
    super.kill()
    this.#end = undefined
  }

  #wake(): void {
    if (this.#isBusy) return
    this.#isBusy = true
    this.spawn(this.#serve())
  }

  *#serve(): Activity {
    for (let next = this.#inbox.shift(); next !== undefined; next = this.#inbox.shift()) {
      const { end, bytes } = next
      if (bytes === 'attached') this.#hasRefused = false
      if (bytes === 'attached' || bytes === 'detached') yield* this.#step(end, { type: bytes })
      else if (this.#end !== end) continue
      else if (bytes instanceof ToyError) yield* this.#refuse(end, bytes)
      else yield* this.#receive(end, bytes)
    }
    this.#isBusy = false
  }

  *#receive(end: ToyEnd, bytes: Uint8Array): Activity {
    try {
      const message = decodeMessage(bytes, REGION_BYTES, toyHash)
      if (message.type === 'offer') {
        this.#hasRefused = false
        this.world.coverage.hit(`offer: ${message.mode}`)
      }
      yield* this.#step(end, { type: 'message', message })
    } catch (error) {
      yield* this.#refuse(end, error as Error)
    }
  }

  *#refuse(end: ToyEnd, error: Error & { readonly code?: string }): Activity {
    const { code, message: text } = error
    if (code === undefined || !code.startsWith('ERR_RAM_')) throw error
    const isImageChanged = this.#isImageChanged
    this.#isImageChanged = false
    yield* this.#step(end, { type: 'failed', code, text, isImageChanged })
  }

  *#step(end: ToyEnd, input: BackupInput): Activity {
    for (const effect of this.#core.step(input)) {
      yield* this.#perform(end, effect)
      this.#check()
    }
  }

  /** After each effect, for a promotion may come at any moment that no message is at work. */
  #check(): void {
    const { applied } = this.#core
    if (applied === undefined || this.#isImageChanged) return
    this.world.judge.holds(this.books, applied, this.#memory.image, this.#state)
  }

  /** All that wait at once; others come and wait meanwhile. */
  *#fill(end: ToyEnd): Activity {
    while (this.#fills.length > 0) {
      const fills = this.#fills.splice(0)
      if (fills.length > 1) this.world.coverage.hit('fills at once')
      yield this.work()
      try {
        for (const { payload, checksum } of fills) {
          if (toyHash(payload) !== checksum) throw new ToyError('ERR_RAM_FRAME', 'sum')
          this.#memory.stage(payload)
          this.world.judge.serves(this.books, this.#core.fencing)
          this.#memory.apply()
        }
      } catch (error) {
        this.#fills.length = 0
        this.#inbox.unshift({ end, bytes: error as ToyError })
        this.#wake()
      }
    }
    this.#isFilling = false
  }

  *#perform(end: ToyEnd, effect: BackupEffect): Activity {
    while (effect.type !== 'fill' && this.#isFilling) yield 1
    switch (effect.type) {
      case 'hello': {
        const { applied } = effect
        const { root } = this.#memory
        const hello = { type: 'hello', regionBytes: REGION_BYTES, root } as const
        return this.#send(end, { ...hello, ...this.#address(applied), ...(applied && { applied }) })
      }
      case 'send-hashes':
        return yield* this.#sendHashes(end)
      case 'stage':
        yield this.work()
        if (toyHash(effect.payload) !== effect.checksum) throw new ToyError('ERR_RAM_FRAME', 'sum')
        return this.#memory.stage(effect.payload)
      case 'fill':
        this.#fills.push(effect)
        if (!this.#isFilling) this.spawn(this.#fill(end))
        this.#isFilling = true
        while (this.#fills.length >= FILLS_WAITING_MAX) yield 1
        return
      case 'apply':
        return yield* this.#apply(end, effect)
      case 'keep-hashes':
        this.#keptHashes ??= new Uint8Array(PAGES * 8)
        this.#keptHashes.set(effect.hashes, effect.firstPage * 8)
        return
      case 'discard':
        this.#memory.discard()
        this.#keptHashes = undefined
        return
      case 'ack': {
        const { version, mismatchPages } = effect
        this.books.lastAcknowledged = version
        const ack = { type: 'ack', ...this.#address(version), root: version.root } as const
        return this.#send(end, { ...ack, ...(mismatchPages !== undefined && { mismatchPages }) })
      }
      case 'refuse': {
        const { code, text } = effect
        this.world.coverage.hit(`refused: ${code}`)
        this.world.judge.refused(code, end)
        assert.ok(!this.#hasRefused, 'one refusal for one offer')
        this.#hasRefused = true
        return this.#send(end, { type: 'refuse', ...this.#address(), code, text })
      }
      case 'applied':
        return this.#take(effect)
    }
  }

  *#apply(end: ToyEnd, effect: Extract<BackupEffect, { type: 'apply' }>): Activity {
    yield this.work()
    this.world.judge.serves(this.books, effect.version.name.fencing)
    this.#memory.apply(effect.version.root)
    this.#isImageChanged = true
    const kept = this.#keptHashes
    this.#keptHashes = undefined
    const mismatchPages =
      effect.compare && kept !== undefined
        ? countDiffering(kept, hashesOf(this.#memory.image))
        : undefined
    yield* this.#step(end, {
      type: 'applied',
      root: effect.version.root,
      ...(mismatchPages !== undefined && { mismatchPages }),
    })
  }

  #take({ attachment }: Extract<BackupEffect, { type: 'applied' }>): void {
    if (chance(this.world, this.world.faults.rejection)) {
      throw new ToyError('ERR_RAM_REJECTED', 'as the seed will have it')
    }
    const [number = 0] = attachment.bytes
    this.#state = attachment.kind === 'full' ? number : (this.#state + number) % 256
    this.#isImageChanged = false
  }

  *#sendHashes(end: ToyEnd): Activity {
    const hashes = hashesOf(this.#memory.image)
    for (let firstPage = 0; firstPage < PAGES; firstPage += HASHES_PER_MESSAGE) {
      const part = hashes.subarray(firstPage * 8, (firstPage + HASHES_PER_MESSAGE) * 8)
      this.#send(end, { type: 'hashes', ...this.#address(), firstPage, hashes: part })
      yield 1
    }
  }

  #send(end: ToyEnd, message: Parameters<typeof encodeMessage>[0]): void {
    if (this.#end === end) end.send(encodeMessage(message, toyHash))
  }

  #address(version?: Version): Address {
    const { fencing = this.#core.fencing, counter = 0 } = version?.name ?? {}
    return { fencing, counter, region: REGION }
  }
}
