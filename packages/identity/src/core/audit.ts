/**
 * The audit log without its disk: numbers and chains entries, signs the chain, divides it into
 * segments, keeps to the budget, and counts strangers. Effects are carried out in order; each is
 * durable before the next is begun.
 */
import type { MonotonicMs, UnixMs } from '@mycelium/interface'
import { textOf } from '../wire.ts'
import {
  NOTHING_BEFORE,
  SEGMENT_MAGIC,
  checkEntry,
  encodeAuditBody,
  encodeAuditPayload,
  sealFrame,
} from './audit-codec.ts'
import type { AuditBody } from './audit-codec.ts'
import type { AuditEntry } from './audit-entry.ts'
import { signedBytes } from './envelope.ts'
import type { Crypto, Signer } from './model.ts'
import { StrangerWindows } from './stranger-windows.ts'
import type { Counted } from './stranger-windows.ts'

/**
 * After so many entries without a signature the node signs. Until then who can write to the folder
 * can change them unseen. Fewer: a signature (200 bytes, one flush) more often.
 */
export const AUDIT_UNSIGNED_MAX = 64
/** And after so long. */
export const AUDIT_UNSIGNED_MS = 10_000
/** Room for what stands between the end of a segment and the deletion of the oldest. */
const AUDIT_RESERVE_BYTES = 65_536

export interface AuditTime {
  readonly now: MonotonicMs
  readonly unixMs: UnixMs
}

export interface AuditSegment {
  /** Number of its first entry. */
  readonly first: number
  readonly bytes: number
}

/** What a log on disk ends with. */
export interface AuditTail {
  readonly number: number
  /** SHA-256 of its last payload. */
  readonly hash: Uint8Array
  /** Entries since the last signature. */
  readonly unsigned: number
  /** Oldest first; the last one is written on. */
  readonly segments: readonly AuditSegment[]
}

export type AuditInput =
  /** Of a new log. 16 random bytes tell it from all others. */
  | { readonly kind: 'begin'; readonly id: Uint8Array }
  | {
      readonly kind: 'resume'
      readonly tail: AuditTail
      readonly tornBytes: number
      /** Whose signatures the log has so far, if not those of the signer. */
      readonly former?: Signer
    }
  | { readonly kind: 'entry'; readonly entry: AuditEntry }
  /** So many entries never came here. */
  | { readonly kind: 'lost'; readonly count: number }
  | { readonly kind: 'rotate'; readonly signer: Signer }
  | { readonly kind: 'flush' }
  | { readonly kind: 'tick' }
  | { readonly kind: 'close' }

export type AuditEffect =
  /** To a segment: a new file if this is its first frame. */
  | { readonly kind: 'append'; readonly segment: number; readonly frame: Uint8Array }
  /** The newest signed payload takes the place of the one before in the file of the head. */
  | { readonly kind: 'head'; readonly payload: Uint8Array }
  | { readonly kind: 'drop'; readonly segment: number }

export interface AuditCoreInit {
  /** Bound on all files together. */
  readonly bytesMax: number
  /** Bound on one segment. */
  readonly segmentBytes: number
}

type Said = Omit<AuditBody, 'number' | 'at' | 'previous' | 'key'>

export class AuditCore {
  readonly #sha256: Crypto['sha256']
  readonly #init: AuditCoreInit
  readonly #strangers = new StrangerWindows()
  #signer: Signer
  #number = 0
  #hash: Uint8Array = NOTHING_BEFORE
  #unsigned = 0
  #signAt: MonotonicMs | undefined
  #closed: AuditSegment[] = []
  #segment: { first: number; bytes: number } | undefined

  /** @throws {RangeError} the budget has no room for two segments */
  constructor(
    deps: { readonly crypto: Pick<Crypto, 'sha256'>; readonly signer: Signer },
    init: AuditCoreInit,
  ) {
    const { bytesMax, segmentBytes } = init
    if (segmentBytes < AUDIT_RESERVE_BYTES) {
      throw new RangeError(`segmentBytes: at least ${AUDIT_RESERVE_BYTES} (got ${segmentBytes})`)
    }
    if (bytesMax < 2 * segmentBytes + AUDIT_RESERVE_BYTES) {
      const what = `at least two segments and ${AUDIT_RESERVE_BYTES} (got ${bytesMax})`
      throw new RangeError(`bytesMax: ${what}`)
    }
    this.#sha256 = (bytes) => deps.crypto.sha256(bytes)
    this.#signer = deps.signer
    this.#init = init
  }

  /** Number of the last entry; 0: none. */
  get number(): number {
    return this.#number
  }

  get bytes(): number {
    return this.#closedBytes() + (this.#segment?.bytes ?? 0)
  }

  /** @throws {RangeError} an entry that is none; nothing changed */
  step(input: AuditInput, time: AuditTime): readonly AuditEffect[] {
    switch (input.kind) {
      case 'begin':
        return this.#sign({ event: 'audit:begun', detail: { id: textOf(input.id, 'hex') } }, time)
      case 'resume':
        return this.#resume(input, time)
      case 'entry': {
        const { isStranger, ...entry } = checkEntry(input.entry)
        if (isStranger !== true) return this.#write(entry, time)
        return this.#writeCounted(this.#strangers.take(entry, time.now), time)
      }
      case 'lost':
        return this.#write({ event: 'audit:lost', count: input.count }, time)
      case 'rotate':
        return this.#rotate(this.#signer, input.signer, time)
      case 'flush':
        return this.#writeCounted(this.#strangers.drain(), time)
      case 'tick':
        return [
          ...this.#writeCounted(this.#strangers.due(time.now), time),
          ...(this.#signAt !== undefined && this.#signAt <= time.now ? this.#signHead(time) : []),
        ]
      case 'close':
        return [
          ...this.#writeCounted(this.#strangers.drain(), time),
          ...this.#sign({ event: 'audit:closed' }, time),
        ]
    }
  }

  nextDeadline(): MonotonicMs | undefined {
    const ends = [this.#signAt, this.#strangers.nextDeadline()].filter((at) => at !== undefined)
    return ends.length === 0 ? undefined : Math.min(...ends)
  }

  #resume(
    { tail, tornBytes, former }: Extract<AuditInput, { kind: 'resume' }>,
    time: AuditTime,
  ): readonly AuditEffect[] {
    this.#number = tail.number
    this.#hash = tail.hash
    this.#closed = tail.segments.slice(0, -1)
    const last = tail.segments.at(-1)
    this.#segment = last && { ...last }
    const detail = { unsigned: tail.unsigned, tornBytes }
    return [
      ...(former === undefined ? [] : this.#rotate(former, this.#signer, time)),
      ...this.#sign({ event: 'audit:opened', detail }, time),
    ]
  }

  /** What the present signer signs last. */
  #rotate(former: Signer, next: Signer, time: AuditTime): readonly AuditEffect[] {
    this.#signer = former
    const effects = this.#sign({ event: 'audit:key', nextKey: next.publicKey }, time)
    this.#signer = next
    return effects
  }

  #writeCounted(counted: readonly Counted[], time: AuditTime): readonly AuditEffect[] {
    return counted.flatMap(({ entry, count }) =>
      this.#write({ ...entry, ...(count > 1 && { count }) }, time),
    )
  }

  #write(said: Said, time: AuditTime): readonly AuditEffect[] {
    const { effects } = this.#append(said, time)
    this.#unsigned++
    this.#signAt ??= time.now + AUDIT_UNSIGNED_MS
    const isSegmentNew = this.#segment?.first === this.#number
    if (this.#unsigned >= AUDIT_UNSIGNED_MAX) return [...effects, ...this.#signHead(time)]
    // Not later: until the next signature there may come more than the reserve holds.
    return isSegmentNew ? [...effects, ...this.#cut(time)] : effects
  }

  #signHead(time: AuditTime): readonly AuditEffect[] {
    return this.#sign({ event: 'audit:head' }, time)
  }

  #sign(said: Said, time: AuditTime): readonly AuditEffect[] {
    const { effects, payload } = this.#append(said, time, this.#signer)
    this.#unsigned = 0
    this.#signAt = undefined
    return [...effects, { kind: 'head', payload }, ...this.#cut(time)]
  }

  #append(
    said: Said,
    { unixMs }: AuditTime,
    signer?: Signer,
  ): { readonly effects: readonly AuditEffect[]; readonly payload: Uint8Array } {
    const number = this.#number + 1
    const previous = this.#hash
    const key = signer && { key: signer.publicKey }
    const bodyBytes = encodeAuditBody({ ...said, ...key, number, at: unixMs, previous })
    const signature = signer?.sign(signedBytes('audit', bodyBytes))
    const payload = encodeAuditPayload(bodyBytes, signature)
    this.#number = number
    this.#hash = this.#sha256(payload)
    const frame = sealFrame(payload, this.#hash)
    const segment = this.#place(frame.length)
    return { effects: [{ kind: 'append', segment, frame }], payload }
  }

  /** @returns the segment that gets the next frame */
  #place(bytes: number): number {
    let segment = this.#segment
    if (segment !== undefined && segment.bytes + bytes > this.#init.segmentBytes) {
      this.#closed.push(segment)
      segment = undefined
    }
    segment ??= { first: this.#number, bytes: SEGMENT_MAGIC.length }
    segment.bytes += bytes
    this.#segment = segment
    return segment.first
  }

  /** Drops the oldest segments if the budget asks for it, and says so before. */
  #cut(time: AuditTime): readonly AuditEffect[] {
    const { bytesMax, segmentBytes } = this.#init
    const room = bytesMax - segmentBytes - AUDIT_RESERVE_BYTES
    const dropped: AuditSegment[] = []
    while (this.#closedBytes() > room) {
      const oldest = this.#closed.shift()
      if (oldest === undefined) break
      dropped.push(oldest)
    }
    if (dropped.length === 0) return []
    const first = this.#closed[0]?.first ?? this.#segment?.first ?? this.#number
    const { effects, payload } = this.#append(
      { event: 'audit:cut', detail: { first } },
      time,
      this.#signer,
    )
    this.#unsigned = 0
    this.#signAt = undefined
    return [
      ...effects,
      { kind: 'head', payload },
      ...dropped.map((segment) => ({ kind: 'drop', segment: segment.first }) as const),
    ]
  }

  #closedBytes(): number {
    return this.#closed.reduce((sum, { bytes }) => sum + bytes, 0)
  }
}
