import assert from 'node:assert/strict'
import type { NodeId } from '@mycelium/interface'
import type { Attachment, EpochName, Version } from '../src/core/epoch.ts'
import type { RefusedError } from '../src/errors.ts'
import { PrimaryCore, type PrimaryEffect, type PrimaryInput } from '../src/core/primary.ts'
import {
  type Address,
  decodeMessage,
  encodeMessage,
  type OfferMode,
  type RamMessage,
  writeHead,
} from '../src/wire.ts'
import { REGION, REGION_BYTES, type ToyBackup } from './toy-backup.ts'
import { hashesOf, PAGES, ToySource } from './toy-memory.ts'
import type { ToyEnd } from './toy-session.ts'
import { type Activity, chance, Process, toyHash, type ToyWorld, Turns } from './toy-world.ts'

/** Chunks of a fill from one decision of what to send to the next. */
const FILL_CHUNKS_MAX = 3

interface Link {
  readonly end: ToyEnd
  /** The process at the other end, for the judge. */
  readonly backup: ToyBackup
  offered?: OfferMode
}

interface Outgoing {
  readonly version: Version
  readonly chunks: readonly Uint8Array[]
  readonly full: Attachment
  readonly difference: Attachment
  readonly hashes: Uint8Array | undefined
}

export interface ToyPrimaryInit {
  readonly fencing: bigint
  readonly image: Uint8Array
  readonly state: number
  readonly intervalMs: number
  readonly writesPerEpoch: number
}

/** The shell of a {@link PrimaryCore}, over a {@link ToySource}, and its writer. */
export class ToyPrimary extends Process {
  readonly init: ToyPrimaryInit
  readonly core: PrimaryCore
  readonly #source: ToySource
  readonly #turns = new Turns()
  readonly #links = new Map<NodeId, Link>()
  #counter = 0
  #state: number
  #outgoing: Outgoing | undefined
  #isFrozen = false
  /** Epochs acknowledged since the last call of `fullyAcknowledged`, by that many. */
  acknowledgedBy: number[] = []

  constructor(world: ToyWorld, init: ToyPrimaryInit) {
    super(world)
    this.init = init
    this.#source = new ToySource(init.image)
    this.#state = init.state
    this.core = new PrimaryCore({
      regionBytes: REGION_BYTES,
      pages: PAGES,
      joinPagesMax: world.joinPagesMax,
      fillBytesMax: PAGES * 3 * 4,
    })
    this.spawn(this.#write())
    this.spawn(this.#replicate())
  }

  has(id: NodeId): boolean {
    return this.#links.has(id)
  }

  attach(end: ToyEnd, backup: ToyBackup): void {
    const { id } = backup
    this.#links.set(id, { end, backup })
    this.#step({ type: 'attached', backup: id })
    end.hold({
      receive: (bytes) => {
        if (this.isAlive && this.#links.get(id)?.end === end) this.#receive(id, end, bytes)
      },
      lost: () => {
        if (this.isAlive) this.#lose(id, end)
      },
    })
  }

  override kill(): void {
    super.kill()
    for (const { end } of this.#links.values()) end.abort()
    this.#links.clear()
  }

  *#write(): Activity {
    const { random } = this.world
    const { intervalMs, writesPerEpoch } = this.init
    for (;;) {
      yield 1 + random.below(Math.max(1, Math.floor((2 * intervalMs) / writesPerEpoch)))
      // The rule for writers.
      if (!this.#isFrozen) this.#source.write(random.below(PAGES), random.below(4) * 50)
    }
  }

  *#replicate(): Activity {
    const { random, coverage } = this.world
    for (;;) {
      yield 1 + random.below(2 * this.init.intervalMs)
      if (this.core.isInFlight) continue
      if (this.core.mayPrecopy && random.below(3) === 0) {
        yield* this.#turns.take(() => this.work())
        this.#source.capture()
        const { changed } = this.#source.encode()
        yield this.work()
        coverage.hit('precopies')
        this.#step({ type: 'precopied', changed })
        continue
      }
      yield* this.#seal()
    }
  }

  *#seal(): Activity {
    const { random, judge, coverage } = this.world
    this.#isFrozen = true
    const moment = this.#source.memory.slice()
    yield* this.#turns.take(() => this.work())
    this.#source.capture()
    const hashes = random.below(4) === 0 ? hashesOf(moment) : undefined
    this.#isFrozen = false
    yield* this.#turns.take(() => this.work())
    const { chunks, changed, root } = this.#source.encode()
    assert.deepEqual(this.#source.shadow, moment, 'a checkpoint is the image of one moment')
    // As between the encoding and the heads of the chunks: much may happen here.
    yield this.work()
    const step = random.below(256)
    this.#state = (this.#state + step) % 256
    const name: EpochName = { fencing: this.init.fencing, counter: ++this.#counter }
    const version: Version = { name, root }
    judge.sealed({ version, image: moment, state: this.#state })
    this.#outgoing = {
      version,
      chunks,
      hashes,
      full: { kind: 'full', bytes: Uint8Array.of(this.#state) },
      difference: { kind: 'difference', bytes: Uint8Array.of(step) },
    }
    coverage.hit('epochs sealed')
    assert.ok(!this.core.isInFlight, 'one epoch in flight')
    this.#step({ type: 'sealed', epoch: { version, changed } })
  }

  #receive(id: NodeId, end: ToyEnd, bytes: Uint8Array): void {
    let message: RamMessage
    try {
      message = decodeMessage(bytes, REGION_BYTES, toyHash)
    } catch {
      this.#lose(id, end)
      end.abort()
      return
    }
    switch (message.type) {
      case 'hello':
        return this.#step({ ...message, type: 'hello', backup: id })
      case 'hashes':
        this.spawn(this.#compare(id, end, message))
        return
      case 'ack': {
        const { fencing, counter, root, mismatchPages } = message
        assert.ok(mismatchPages === undefined || mismatchPages === 0, 'an applied page differs')
        return this.#step({
          type: 'ack',
          backup: id,
          version: { name: { fencing, counter }, root },
          ...(mismatchPages !== undefined && { mismatchPages }),
        })
      }
      case 'refuse':
        return this.#step({ ...message, type: 'refused', backup: id })
      case 'chunk':
      case 'fill':
      case 'footer':
      case 'offer':
        throw new Error(`a backup sent ${message.type}`)
    }
  }

  *#compare(
    backup: NodeId,
    end: ToyEnd,
    { firstPage, hashes }: Extract<RamMessage, { type: 'hashes' }>,
  ): Activity {
    yield* this.#turns.take(() => 0)
    const ours = hashesOf(this.#source.shadow)
    this.#stepFor(end, { type: 'hashes', backup, firstPage, hashes, ours })
  }

  #step(input: PrimaryInput): void {
    for (const effect of this.core.step(input)) this.#perform(effect)
  }

  #stepFor(end: ToyEnd, input: PrimaryInput & { readonly backup: NodeId }): void {
    if (this.#links.get(input.backup)?.end === end) this.#step(input)
  }

  #perform(effect: PrimaryEffect): void {
    const { coverage, judge } = this.world
    switch (effect.type) {
      case 'phase':
        coverage.hit(`phase: ${effect.phase}`)
        return
      case 'acknowledged': {
        assert.equal(new Set(effect.by).size, effect.by.length, 'nobody holds an epoch twice')
        for (const id of effect.by) judge.acknowledged(effect.name, this.#links.get(id))
        this.acknowledgedBy.push(effect.by.length)
        this.#outgoing = undefined
        return
      }
      case 'drop': {
        const { code, remoteCode } = effect.error as Partial<RefusedError>
        coverage.hit(`dropped: ${code}`)
        const end = this.#links.get(effect.backup)?.end
        if (end !== undefined) judge.refused(remoteCode ?? code, end)
        this.#links.delete(effect.backup)
        end?.abort()
        return
      }
      case 'offer':
        this.#offer(effect)
        return
      case 'find-missing':
      case 'fill':
      case 'send-epoch': {
        const end = this.#links.get(effect.backup)?.end
        if (end === undefined) return
        if (effect.type === 'find-missing') this.spawn(this.#findMissing(effect.backup, end))
        if (effect.type === 'fill') this.spawn(this.#fill(effect.backup, end, effect.pages))
        if (effect.type === 'send-epoch') this.spawn(this.#sendEpoch(end, effect))
      }
    }
  }

  #offer({ backup, mode }: Extract<PrimaryEffect, { type: 'offer' }>): void {
    const link = this.#links.get(backup)
    if (link === undefined) return
    if (link.offered === 'resume' && mode === 'fill') this.world.coverage.hit('fill after resume')
    link.offered = mode
    const offer = { type: 'offer', mode, regionBytes: REGION_BYTES } as const
    link.end.send(encodeMessage({ ...offer, ...this.#address() }, toyHash))
  }

  *#findMissing(backup: NodeId, end: ToyEnd): Activity {
    yield* this.#turns.take(() => this.work())
    this.#stepFor(end, { type: 'missing', backup, pages: this.#source.shadowPages() })
  }

  *#fill(backup: NodeId, end: ToyEnd, pages: Uint8Array): Activity {
    let left = pages
    let bytes = 0
    for (let count = 0; count < FILL_CHUNKS_MAX; count++) {
      yield* this.#turns.take(() => this.work())
      const encoding = this.#source.encodeShadow(left)
      left = encoding.left
      const { chunk } = encoding
      yield this.work()
      if (chunk === undefined) break
      bytes += chunk.length
      end.send(this.#pages('fill', chunk, 0))
      this.world.coverage.hit('fills')
      if (count > 0) this.world.coverage.hit('fills of several chunks')
    }
    this.#stepFor(end, { type: 'filled', backup, left, bytes })
  }

  *#sendEpoch(
    end: ToyEnd,
    { base, pages }: Extract<PrimaryEffect, { type: 'send-epoch' }>,
  ): Activity {
    const outgoing = this.#outgoing
    assert.ok(outgoing !== undefined, 'there is an epoch to send')
    const { name, root } = outgoing.version
    let index = 0
    if (pages === undefined) {
      for (const chunk of outgoing.chunks) {
        end.send(this.#pages('chunk', chunk, index++, name))
        if (chance(this.world, 200)) yield this.work()
      }
    } else {
      for (let left = pages; ;) {
        yield* this.#turns.take(() => this.work())
        const encoded = this.#source.encodeShadow(left)
        if (encoded.chunk === undefined) break
        left = encoded.left
        end.send(this.#pages('chunk', encoded.chunk, index++, name))
      }
    }
    const { hashes } = outgoing
    const address = this.#address(name)
    if (hashes !== undefined) {
      end.send(encodeMessage({ type: 'hashes', ...address, firstPage: 0, hashes }, toyHash))
    }
    const attachment = base === undefined ? outgoing.full : outgoing.difference
    const footer = { type: 'footer', root, chunkCount: index, attachment } as const
    end.send(encodeMessage({ ...footer, ...address, ...(base && { base }) }, toyHash))
  }

  #pages(type: 'fill' | 'chunk', payload: Uint8Array, index: number, name?: EpochName): Uint8Array {
    const bytes = new Uint8Array(64 + payload.length)
    bytes.set(payload, 64)
    writeHead(bytes, type, this.#address(name), index, toyHash(payload), toyHash)
    return bytes
  }

  #lose(id: NodeId, end: ToyEnd): void {
    if (this.#links.get(id)?.end !== end) return
    this.#links.delete(id)
    this.world.coverage.hit(this.core.isInFlight ? 'lost in flight' : 'lost')
    this.#step({ type: 'lost', backup: id })
  }

  #address(name?: EpochName): Address {
    return { fencing: this.init.fencing, counter: name?.counter ?? 0, region: REGION }
  }
}
