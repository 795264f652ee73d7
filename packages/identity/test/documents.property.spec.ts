/** Every decoder of a document: what was encoded comes back, and nothing else gets through. */
import { createSeededRandom } from '@mycelium/simulator'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GENESIS_BYTES_MAX } from '../src/constants.ts'
import { decodeCertificate, encodeCertificate } from '../src/core/certificate.ts'
import { decodeEnvelope, encodeEnvelope } from '../src/core/envelope.ts'
import { decodeFact, encodeFact } from '../src/core/facts.ts'
import { sortedBytes } from '../src/core/fields.ts'
import { decodeGenesis, encodeGenesis } from '../src/core/genesis.ts'
import { networkIdOf, nodeIdOf, publicKeyOf } from '../src/core/ids.ts'
import { decodeKeyRotation, encodeKeyRotation } from '../src/core/key-chain.ts'
import type {
  Certificate,
  Envelope,
  Fact,
  Genesis,
  JoinToken,
  KeyRotation,
  Statement,
} from '../src/core/model.ts'
import { decodeToken, encodeToken } from '../src/core/token.ts'
import { DocumentError, TokenError } from '../src/errors.ts'
import { decodeCanonical, encodeCanonical, type CborValue } from '../src/wire.ts'
import { crypto } from './kit/documents.ts'

/** Inputs to the decoders in all. */
const FUZZ_INPUTS = 160_000
const FUZZ_SEED = 20_260

const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length })
const key = bytes(32)
const time = fc.nat(2 ** 40)
const network = key.map((publicKey) => networkIdOf(crypto, publicKey))
const node = key.map(nodeIdOf)
const labels = fc
  .uniqueArray(fc.stringMatching(/^[A-Za-z0-9._:/-]{1,64}$/), { maxLength: 16 })
  .map((list) => list.toSorted())

const genesis: fc.Arbitrary<Genesis> = fc
  .record({
    name: fc.stringMatching(/^[\p{L} ]{1,64}$/u).filter((name) => name.length <= 64),
    networkKey: key,
    createdAt: time,
    genesisNodes: fc.array(key, { minLength: 1, maxLength: 16 }).map(sortedBytes),
    compatibility: fc.nat(2 ** 32 - 1),
    isolationHash: key,
    rotation: fc.record({
      everyDays: fc.integer({ min: 1, max: 3650 }),
      overlapHours: fc.nat(720),
    }),
    trust: fc.record({ admissionThreshold: fc.nat(999) }),
    threshold: fc.nat(15),
  })
  .map(({ threshold, ...rest }) => ({
    ...rest,
    quorum: { authorityThreshold: 1 + (threshold % rest.genesisNodes.length) },
  }))

const certificate: fc.Arbitrary<Certificate> = fc
  .record({
    network,
    subject: key,
    nodeType: fc.constantFrom(
      'sclerotium-dedicated' as const,
      'sclerotium-dynamic' as const,
      'rhizomorph' as const,
      'hypha' as const,
    ),
    roles: labels,
    capabilities: labels,
    notBefore: time,
    lifetime: fc.integer({ min: 1, max: 30 * 86_400 }),
    serial: bytes(16),
    epoch: fc.nat(1_024),
  })
  .map(({ lifetime, ...rest }) => ({ ...rest, notAfter: rest.notBefore + lifetime }))

const rotation: fc.Arbitrary<KeyRotation> = fc
  .record({
    network,
    number: fc.integer({ min: 1, max: 1_024 }),
    oldKey: key,
    newKey: key,
    at: time,
    overlap: fc.nat(30 * 86_400),
    cause: fc.constantFrom('scheduled' as const, 'emergency' as const),
  })
  .filter(({ oldKey, newKey }) => !Buffer.from(oldKey).equals(newKey))
  .map(({ overlap, ...rest }) => ({ ...rest, overlapUntil: rest.at + overlap }))

const reason = fc.constantFrom('left' as const, 'removed' as const, 'compromised' as const)
const kind = <const K extends Statement['kind']>(name: K): fc.Arbitrary<K> => fc.constant(name)
const lasting: fc.Arbitrary<Statement> = fc.oneof(
  fc.record({ kind: kind('node-revoked'), node: key, reason }),
  fc.record({ kind: kind('authority-added'), node: key }),
  fc.record({ kind: kind('authority-removed'), node: key, lastNumber: fc.maxSafeNat() }),
  fc.record({ kind: kind('key-rotated'), rotation: fc.uint8Array({ minLength: 1 }) }),
)
const passing: fc.Arbitrary<Statement> = fc.oneof(
  fc.record({ kind: kind('certificate-revoked'), serial: bytes(16), reason }),
  fc.record({ kind: kind('token-used'), tokenId: bytes(16), node: key }),
  fc.record({ kind: kind('token-revoked'), tokenId: bytes(16) }),
)
const head = { network, issuer: key, number: fc.integer({ min: 1 }), at: time }
const fact: fc.Arbitrary<Fact> = fc.oneof(
  fc.record({ ...head, statement: fc.oneof(lasting, passing) }),
  fc.record({ ...head, statement: passing, expiresAt: time }),
  fc
    .record({ ...head, isolationHash: key, overlap: fc.nat(30 * 86_400) })
    .map(({ isolationHash, overlap, ...rest }) => ({
      ...rest,
      statement: {
        kind: 'isolation-rotated' as const,
        isolationHash,
        overlapUntil: rest.at + overlap,
      },
    })),
)

const envelope: fc.Arbitrary<Envelope> = fc
  .record({
    body: fc.uint8Array({ minLength: 1, maxLength: 300 }),
    keys: fc.array(key, { minLength: 1, maxLength: 32 }).map(sortedBytes),
    signature: bytes(64),
  })
  .map(({ body, keys, signature }) => ({
    body,
    signatures: keys.map((publicKey) => ({ publicKey, signature })),
  }))

const token: fc.Arbitrary<JoinToken> = fc.record({
  network,
  tokenId: bytes(16),
  secret: bytes(32),
  expiresAt: time,
  issuers: fc.array(
    fc.record({
      node,
      addresses: fc.array(fc.stringMatching(/^\/ip4\/[a-z0-9/.]{1,40}$/), { maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 8 },
  ),
})

interface Format<T> {
  readonly name: string
  readonly values: fc.Arbitrary<T>
  encode(value: T): Uint8Array
  decode(bytes: Uint8Array): T
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const format = <T>(
  name: string,
  values: fc.Arbitrary<T>,
  encode: (value: T) => Uint8Array,
  decode: (bytes: Uint8Array) => T,
): Format<unknown> => ({ name, values, encode, decode }) as Format<unknown>

const formats: readonly Format<unknown>[] = [
  format('genesis', genesis, encodeGenesis, decodeGenesis),
  format('certificate', certificate, encodeCertificate, decodeCertificate),
  format('key rotation', rotation, encodeKeyRotation, decodeKeyRotation),
  format('fact', fact, encodeFact, decodeFact),
  format('envelope', envelope, encodeEnvelope, (from) => decodeEnvelope(from)),
  format(
    'token',
    token,
    (value) => utf8(encodeToken(value)),
    (from) => decodeToken(Buffer.from(from).toString('latin1')),
  ),
]

const values: fc.Arbitrary<CborValue> = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 6 },
    fc.maxSafeInteger().map((number) => number + 0),
    fc.string({ unit: 'grapheme' }).filter((text) => !text.startsWith('\ufeff')),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ maxLength: 30 }), tie('value'), { maxKeys: 4 }),
  ),
})).value

describe('canonical CBOR', () => {
  it('comes back, whatever the order of keys was', () => {
    fc.assert(
      fc.property(values, (value) => {
        const encoded = encodeCanonical(value)
        const decoded = decodeCanonical(encoded, { bytesMax: 2 ** 20 })
        expect(encodeCanonical(decoded)).toEqual(encoded)
        expect(decoded).toEqual(value)
      }),
    )
  })
})

describe.each(formats)('$name', ({ values: arbitrary, encode, decode }) => {
  it('comes back as it was', () => {
    fc.assert(
      fc.property(arbitrary, (value) => {
        expect(decode(encode(value))).toEqual(value)
      }),
    )
  })

  it('is refused with an error of its own, or is what it was made of', () => {
    const random = createSeededRandom(FUZZ_SEED)
    const samples = fc.sample(arbitrary, { numRuns: 100, seed: FUZZ_SEED }).map(encode)
    let accepted = 0
    for (let count = 0; count < FUZZ_INPUTS / formats.length; count++) {
      const input = damaged(samples[random.below(samples.length)] ?? new Uint8Array(), random)
      let value: unknown
      try {
        value = decode(input)
      } catch (error) {
        if (error instanceof DocumentError || error instanceof TokenError) continue
        throw error
      }
      accepted++
      // White space in a token is no part of it.
      const text = Buffer.from(input).toString('latin1').replaceAll(/\s/g, '')
      const expected = input[0] === 0x6d ? Buffer.from(text, 'latin1') : input
      expect(Buffer.from(encode(value)).equals(expected)).toBe(true)
    }
    // Also changes of one byte in a key are other documents, so some of them get through.
    expect(accepted).toBeGreaterThan(0)
  })
})

type SeededRandom = ReturnType<typeof createSeededRandom>

/** One to four changes: bits, bytes, cuts, repetitions, heads of other types, or noise alone. */
function damaged(sample: Uint8Array, random: SeededRandom): Uint8Array {
  let input = Uint8Array.from(sample)
  for (let changes = 1 + random.below(4); changes > 0; changes--) {
    const at = random.below(Math.max(1, input.byteLength))
    switch (random.below(6)) {
      case 0:
        input[at] = (input[at] ?? 0) ^ (1 << random.below(8))
        break
      case 1:
        input[at] = random.below(256)
        break
      case 2:
        input = input.slice(0, at)
        break
      case 3: {
        const piece = input.slice(at, at + 1 + random.below(40))
        input = Uint8Array.from([...input.slice(0, at), ...piece, ...input.slice(at)])
        break
      }
      case 4:
        input[random.below(Math.min(60, input.byteLength) || 1)] = random.below(256)
        break
      default:
        if (random.below(20) === 0) input = Uint8Array.from(random.bytes(random.below(200)))
    }
  }
  return input
}

describe('ids of nodes', () => {
  it('hold the key', () => {
    fc.assert(
      fc.property(key, (publicKey) => {
        expect(publicKeyOf(nodeIdOf(publicKey))).toEqual(publicKey)
      }),
    )
  })
})

describe('the bound of a genesis', () => {
  it('has room for the largest', () => {
    const largest = fc
      .sample(genesis, { numRuns: 200, seed: FUZZ_SEED })
      .map((value) => encodeGenesis(value).byteLength)
    expect(Math.max(...largest) + 17 * 110).toBeLessThan(GENESIS_BYTES_MAX)
  })
})
