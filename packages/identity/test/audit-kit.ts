import { createCrypto, createSigner } from '../src/crypto.ts'
import { AuditChecker } from '../src/core/audit-checker.ts'
import type { AuditHead, AuditResult } from '../src/core/audit-checker.ts'
import {
  SEGMENT_MAGIC,
  encodeAuditBody,
  encodeAuditPayload,
  decodeAuditPayload,
  frameAt,
  sealFrame,
} from '../src/core/audit-codec.ts'
import type { AuditBody } from '../src/core/audit-codec.ts'
import type { AuditRecord } from '../src/core/audit-entry.ts'
import { AuditCore } from '../src/core/audit.ts'
import type { AuditEffect, AuditInput } from '../src/core/audit.ts'
import { signedBytes } from '../src/core/envelope.ts'
import type { Signer } from '../src/core/model.ts'

export const crypto = createCrypto()
export const own = createSigner(new Uint8Array(32).fill(1))
export const stranger = createSigner(new Uint8Array(32).fill(2))

/** What lies on the disk: payloads of each segment, by its first number, and of the head. */
export interface Image {
  readonly segments: ReadonlyMap<number, readonly Uint8Array[]>
  readonly head: Uint8Array | undefined
}

/** A core with the disk that its effects make. */
export class LogInMemory {
  readonly segments = new Map<number, Uint8Array[]>()
  head: Uint8Array | undefined
  readonly core: AuditCore
  readonly effects: AuditEffect[] = []
  now = 0
  /** The most that lay there at one time. */
  bytesMax = 0
  #bytes = 0

  constructor({ bytesMax = 2 ** 20, segmentBytes = 2 ** 16, signer = own } = {}) {
    this.core = new AuditCore({ crypto, signer }, { bytesMax, segmentBytes })
  }

  step(input: AuditInput): void {
    const effects = this.core.step(input, { now: this.now, unixMs: 1_700_000_000_000 + this.now })
    for (const effect of effects) this.#carryOut(effect)
  }

  say(event: string, reason?: string): void {
    this.step({ kind: 'entry', entry: { event, ...(reason !== undefined && { reason }) } })
  }

  get image(): Image {
    const segments = new Map([...this.segments].map(([first, payloads]) => [first, [...payloads]]))
    return { segments, head: this.head }
  }

  #carryOut(effect: AuditEffect): void {
    this.effects.push(effect)
    if (effect.kind === 'append') {
      const payloads = this.segments.get(effect.segment) ?? []
      this.segments.set(effect.segment, payloads)
      if (payloads.length === 0) this.#bytes += SEGMENT_MAGIC.length
      payloads.push(effect.frame.slice(4, -32))
      this.#bytes += effect.frame.length
    }
    if (effect.kind === 'head') this.head = effect.payload
    if (effect.kind === 'drop') {
      this.#bytes -= segmentOf(this.segments.get(effect.segment) ?? []).length
      this.segments.delete(effect.segment)
    }
    // The head is written beside the one before.
    this.bytesMax = Math.max(this.bytesMax, this.#bytes + 2 * (this.head?.length ?? 0))
  }
}

export function segmentOf(payloads: readonly Uint8Array[]): Uint8Array {
  const frames = payloads.map((payload) => sealFrame(payload, crypto.sha256(payload)))
  return Uint8Array.from(Buffer.concat([SEGMENT_MAGIC, ...frames]))
}

export function payloadsOf(bytes: Uint8Array): readonly Uint8Array[] {
  const payloads: Uint8Array[] = []
  for (let offset = SEGMENT_MAGIC.length; offset < bytes.length;) {
    const frame = frameAt(crypto, bytes, offset)
    if (typeof frame === 'string') throw new Error(`${frame} at ${offset}`)
    payloads.push(frame.payload)
    offset = frame.end
  }
  return payloads
}

/** Bytes of files, by the first number of the segment. */
export type Files = ReadonlyMap<number, Uint8Array>

export function filesOf({ segments }: Image): Files {
  return new Map([...segments].map(([first, payloads]) => [first, segmentOf(payloads)]))
}

export function check(
  files: Files,
  head: Uint8Array | undefined,
  { publicKey = own.publicKey, expected }: { publicKey?: Uint8Array; expected?: AuditHead } = {},
): { readonly result: AuditResult; readonly records: readonly AuditRecord[] } {
  const records: AuditRecord[] = []
  const checker = new AuditChecker(crypto, { head, publicKey, expected }, (record) => {
    records.push(record)
  })
  const sorted = [...files].toSorted(([one], [other]) => one - other)
  for (const [index, [first, bytes]] of sorted.entries()) {
    if (!checker.addSegment({ first, bytes, isLast: index === sorted.length - 1 })) break
  }
  return { result: checker.result(), records }
}

/** The kind of the problem, or `ok`. */
export function verdictOf(...args: Parameters<typeof check>): string {
  const { result } = check(...args)
  return 'summary' in result ? 'ok' : result.problem.kind
}

export const bodyOf = (payload: Uint8Array): AuditBody => decodeAuditPayload(payload).body

/** An entry as somebody would forge it. */
export function forge(body: AuditBody, signer?: Signer): Uint8Array {
  const bytes = encodeAuditBody({ ...body, ...(signer && { key: signer.publicKey }) })
  return encodeAuditPayload(bytes, signer?.sign(signedBytes('audit', bytes)))
}

/** Gives each entry the hash of the one before it, as who changes one would; keeps signatures. */
export function rechain(payloads: readonly Uint8Array[]): readonly Uint8Array[] {
  const chained: Uint8Array[] = []
  for (const payload of payloads) {
    const { body, signature } = decodeAuditPayload(payload)
    const before = chained.at(-1)
    const previous = before === undefined ? body.previous : crypto.sha256(before)
    chained.push(encodeAuditPayload(encodeAuditBody({ ...body, previous }), signature))
  }
  return chained
}
