/**
 * Which facts a member has, in short. For each issuer the runs of numbers without a gap: keys of
 * the map are `<issuer in hex>` for a run from 1 on, `<issuer>+<first>` for a later one, both with
 * the last number as value. Gaps are ordinary: facts expire.
 *
 * An issuer that says different things under one number would not be found out by runs. So facts
 * that do not expire are told more exactly: `<issuer>=<number>` with a digest of the envelopes
 * under that number. Where these would be more than 256, each issuer has two digests instead:
 * `<issuer>#` of its numbers, `<issuer>=` of its envelopes. If two members agree on the former and
 * not on the latter, they exchange them all.
 */
import { VECTOR_ENTRIES_MAX, VECTOR_EXACT_MAX } from '../constants.ts'
import { isLasting } from './authority-rules.ts'
import type { FactRecord } from './fact-record.ts'

export type FactVector = ReadonlyMap<string, number>

/** The vector of some facts. Beyond 1,024 entries issuers are left out, and sent again. */
export function vectorOf(records: readonly FactRecord[]): FactVector {
  const isExact = records.filter(isLasting).length <= VECTOR_EXACT_MAX
  const vector = new Map<string, number>()
  for (const [issuer, ofIssuer] of byIssuer(records)) {
    const digests = isExact ? exactDigests(ofIssuer) : summaryOf(issuer, ofIssuer)
    const entries = [...runsIn(issuer, ofIssuer), ...digests]
    if (vector.size + entries.length > VECTOR_ENTRIES_MAX) break
    for (const [key, value] of entries) vector.set(key, value)
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
  const differing = new Set<string>()
  for (const [issuer, ofIssuer] of byIssuer(records)) {
    const summary = summaryOf(issuer, ofIssuer)
    const [[numbers, ownNumbers], [envelopes, ownEnvelopes]] = summary
    if (!vector.has(numbers)) {
      for (const [key, digest] of exactDigests(ofIssuer)) {
        if (vector.get(key) !== digest) differing.add(key)
      }
    } else if (vector.get(numbers) === ownNumbers && vector.get(envelopes) !== ownEnvelopes) {
      differing.add(envelopes)
    }
  }
  const missing: Uint8Array[] = []
  let bytes = 0
  for (const record of records) {
    const { issuer, fact, envelope } = record
    const isThere = (runs.get(issuer) ?? []).some(
      ([first, last]) => first <= fact.number && fact.number <= last,
    )
    const isDiffering = differing.has(exactKey(record)) || differing.has(`${issuer}=`)
    if (isThere && !(isLasting(record) && isDiffering)) continue
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

function byIssuer(records: Iterable<FactRecord>): ReadonlyMap<string, readonly FactRecord[]> {
  const issuers = new Map<string, FactRecord[]>()
  for (const record of records) {
    const ofIssuer = issuers.get(record.issuer)
    if (ofIssuer === undefined) issuers.set(record.issuer, [record])
    else ofIssuer.push(record)
  }
  return issuers
}

type Entry = readonly [key: string, value: number]

function runsIn(issuer: string, records: readonly FactRecord[]): readonly Entry[] {
  const entries: Entry[] = []
  const numbers = records.map(({ fact }) => fact.number).toSorted((one, other) => one - other)
  let first = numbers[0] ?? 1
  numbers.forEach((number, index) => {
    const next = numbers[index + 1]
    if (next !== undefined && next <= number + 1) return
    entries.push([first === 1 ? issuer : `${issuer}+${first}`, number])
    first = next ?? 1
  })
  return entries
}

const exactKey = ({ issuer, fact }: FactRecord): string => `${issuer}=${fact.number}`

/** Sums of 48 bits do not depend on an order. */
const add = (total: number, value: number): number => (total + value) % 2 ** 48
const digestOf = ({ id }: FactRecord): number => parseInt(id.slice(0, 12), 16)

function exactDigests(records: readonly FactRecord[]): readonly Entry[] {
  const digests = new Map<string, number>()
  for (const record of records.filter(isLasting)) {
    const key = exactKey(record)
    digests.set(key, add(digests.get(key) ?? 0, digestOf(record)))
  }
  return [...digests]
}

/** A second envelope under a number changes only the latter. */
function summaryOf(
  issuer: string,
  records: readonly FactRecord[],
): readonly [numbers: Entry, envelopes: Entry] {
  const lasting = records.filter(isLasting)
  const numbers = new Set(lasting.map(({ fact }) => fact.number))
  return [
    [`${issuer}#`, [...numbers].map(spread).reduce(add, 0)],
    [`${issuer}=`, lasting.map(digestOf).reduce(add, 0)],
  ]
}

/** Makes sums of different sets of numbers differ. Not against attacks: who signs facts can send
 * them to everybody by itself. */
const spread = (number: number): number =>
  Number(BigInt.asUintN(48, (BigInt(number) * 0x9e37_79b9_7f4a_7c15n) ^ (BigInt(number) << 17n)))
