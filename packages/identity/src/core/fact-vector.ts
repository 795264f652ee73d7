/**
 * Which facts a member has, in short: for each issuer the runs of numbers without a gap. The map's
 * keys are `<issuer in hex>` for a run from 1 on, `<issuer>+<first>` for a later one, both with the
 * last number as value; and `<issuer>=<number>` for a number with several envelopes, whose value
 * depends on which they are. Gaps are ordinary: facts expire.
 */
import { VECTOR_ENTRIES_MAX } from '../constants.ts'
import type { FactRecord } from './fact-record.ts'

export type FactVector = ReadonlyMap<string, number>

/** The vector of some facts. */
export function vectorOf(records: Iterable<FactRecord>): FactVector {
  const vector = new Map<string, number>()
  for (const [issuer, numbers] of numbersOf(records)) {
    const sorted = [...numbers.keys()].toSorted((one, other) => one - other)
    let first = sorted[0] ?? 0
    sorted.forEach((number, index) => {
      if (sorted[index + 1] === number + 1) return
      if (vector.size < VECTOR_ENTRIES_MAX) {
        vector.set(first === 1 ? issuer : `${issuer}+${first}`, number)
      }
      first = sorted[index + 1] ?? 0
    })
    for (const [number, envelopes] of numbers) {
      if (envelopes.length > 1 && vector.size < VECTOR_ENTRIES_MAX) {
        vector.set(`${issuer}=${number}`, digestOf(envelopes))
      }
    }
  }
  return vector
}

/**
 * The facts that somebody with this vector lacks, in the order given, until one more would exceed
 * `bytesMax`.
 *
 * @param vector - of a peer: entries of any other form mean nothing
 */
export function missingFrom(
  vector: FactVector,
  records: readonly FactRecord[],
  bytesMax: number,
): readonly Uint8Array[] {
  const runs = runsOf(vector)
  const numbers = numbersOf(records)
  const missing: Uint8Array[] = []
  let bytes = 0
  for (const { issuer, fact, envelope } of records) {
    const envelopes = numbers.get(issuer)?.get(fact.number) ?? []
    const isThere = (runs.get(issuer) ?? []).some(
      ([first, last]) => first <= fact.number && fact.number <= last,
    )
    const isSame =
      envelopes.length === 1 || vector.get(`${issuer}=${fact.number}`) === digestOf(envelopes)
    if (isThere && isSame) continue
    bytes += envelope.byteLength
    if (bytes > bytesMax) break
    missing.push(envelope)
  }
  return missing
}

type Run = readonly [first: number, last: number]

function runsOf(vector: FactVector): ReadonlyMap<string, readonly Run[]> {
  const runs = new Map<string, Run[]>()
  for (const [key, last] of vector) {
    const [issuer = '', first = '1'] = key.split('+', 2)
    const run: Run = [Number(first), last]
    const known = runs.get(issuer)
    if (known === undefined) runs.set(issuer, [run])
    else known.push(run)
  }
  return runs
}

type Numbers = ReadonlyMap<string, ReadonlyMap<number, readonly FactRecord[]>>

function numbersOf(records: Iterable<FactRecord>): Numbers {
  const numbers = new Map<string, Map<number, FactRecord[]>>()
  for (const record of records) {
    const ofIssuer = numbers.get(record.issuer) ?? new Map<number, FactRecord[]>()
    numbers.set(record.issuer, ofIssuer)
    const envelopes = ofIssuer.get(record.fact.number)
    if (envelopes === undefined) ofIssuer.set(record.fact.number, [record])
    else envelopes.push(record)
  }
  return numbers
}

/** 48 bits, independent of the order. */
function digestOf(envelopes: readonly FactRecord[]): number {
  return envelopes.reduce((sum, { id }) => (sum + parseInt(id.slice(0, 12), 16)) % 2 ** 48, 0)
}
