/**
 * Time of one Ed25519 verification by our strict rule, beside noble's (JavaScript) and beside bare
 * `node:crypto` with an imported key, and of reading facts at start. Alternating, in one process.
 */
import { createPublicKey, verify as nodeVerify, type KeyObject } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { median, spread } from '../../../scripts/statistics.ts'
import {
  createCrypto,
  createNetworkState,
  createSigner,
  encodeEnvelope,
  encodeFact,
  encodeGenesis,
  networkIdOf,
  signEnvelope,
} from '../src/index.ts'

/** Bytes of a fact with its prefix. */
const MESSAGE_BYTES = 300
const SAMPLES = 31
const PER_SAMPLE = 40
const FACTS = 2_000
const FACT_SAMPLES = 5

const seedOf = (n: number): Uint8Array => {
  const seed = new Uint8Array(32)
  new DataView(seed.buffer).setUint32(0, n)
  return seed
}
const message = new Uint8Array(MESSAGE_BYTES)

/** Microseconds for each call. */
function timeOf(run: (index: number) => unknown, count: number = PER_SAMPLE): number {
  const start = performance.now()
  for (let index = 0; index < count; index++) run(index)
  return ((performance.now() - start) * 1e3) / count
}

interface Pair {
  readonly name: string
  readonly ours: () => number
  readonly peerName: string
  readonly peer: () => number
}

function compare({ name, ours, peerName, peer }: Pair): object {
  const times: { readonly ours: number[]; readonly peer: number[] } = { ours: [], peer: [] }
  for (let sample = 0; sample < SAMPLES; sample++) {
    times.ours.push(ours())
    times.peer.push(peer())
  }
  return {
    name,
    unit: 'us',
    samples: SAMPLES,
    ours: median(times.ours),
    oursSpread: spread(times.ours),
    peerName,
    peer: median(times.peer),
  }
}

function verifications(): readonly object[] {
  const { verify } = createCrypto()
  const signer = createSigner(seedOf(1))
  const signature = signer.sign(message)
  const known = (): number => timeOf(() => verify(signer.publicKey, message, signature))
  let next = 2
  const fresh = Array.from({ length: SAMPLES * PER_SAMPLE }, () => {
    const one = createSigner(seedOf(next++))
    return { key: one.publicKey, signature: one.sign(message) }
  })
  const noble = (): number =>
    timeOf(() => ed25519.verify(signature, message, signer.publicKey, { zip215: false }))
  let used = 0
  const unknown = (): number =>
    timeOf(() => {
      const one = fresh[used++ % fresh.length]
      if (one !== undefined) verify(one.key, message, one.signature)
    })
  const imported: KeyObject = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(signer.publicKey).toString('base64url') },
    format: 'jwk',
  })
  const bare = (): number => timeOf(() => nodeVerify(null, message, imported, signature))
  return [
    compare({ name: 'verify, known key', ours: known, peerName: 'noble', peer: noble }),
    compare({ name: 'verify, new key', ours: unknown, peerName: 'noble', peer: noble }),
    compare({ name: 'verify, known key', ours: known, peerName: 'node:crypto alone', peer: bare }),
  ]
}

function startUps(): object {
  const crypto = createCrypto()
  const [networkSigner, node] = [createSigner(seedOf(1)), createSigner(seedOf(2))]
  const network = networkIdOf(crypto, networkSigner.publicKey)
  const body = encodeGenesis({
    name: 'bench',
    networkKey: networkSigner.publicKey,
    createdAt: 0,
    genesisNodes: [node.publicKey],
    compatibility: 1,
    isolationHash: seedOf(3),
    rotation: { everyDays: 90, overlapHours: 24 },
    quorum: { authorityThreshold: 1 },
    trust: { admissionThreshold: 700 },
  })
  const genesis = encodeEnvelope(
    signEnvelope({ kind: 'genesis', body, signers: [networkSigner, node] }),
  )
  const facts = Array.from({ length: FACTS }, (_, index) => {
    const fact = encodeFact({
      network,
      issuer: node.publicKey,
      number: index + 1,
      at: 0,
      statement: { kind: 'node-revoked', node: seedOf(index), reason: 'left' },
    })
    return encodeEnvelope(signEnvelope({ kind: 'fact', body: fact, signers: [node] }))
  })
  const create = (areFactsVerified: boolean): number =>
    timeOf(() => createNetworkState({ crypto }, { genesis, facts, areFactsVerified }), 1) / FACTS
  const [ours, peer]: [number[], number[]] = [[], []]
  for (let sample = 0; sample < FACT_SAMPLES; sample++) {
    ours.push(create(true))
    peer.push(create(false))
  }
  return {
    name: 'a stored fact at start',
    unit: 'us',
    samples: FACT_SAMPLES,
    ours: median(ours),
    oursSpread: spread(ours),
    peerName: 'the same, verified again',
    peer: median(peer),
  }
}

export async function bench(): Promise<readonly object[]> {
  return Promise.resolve([...verifications(), startUps()])
}
