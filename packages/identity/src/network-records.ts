import type { Clock, NodeId, Random } from '@mycelium/interface'
import {
  ADDRESS_CHARS_MAX,
  ENVELOPE_BYTES_MAX,
  ISSUER_ADDRESSES_MAX,
  KEY_BYTES,
  LABEL_CHARS_MAX,
  LABELS_MAX,
  SERIAL_BYTES,
  TOKEN_MEMORY_S,
  TOKENS_MAX,
  WELCOME_PEERS_MAX,
} from './constants.ts'
import { decodeCertificate, NODE_TYPES } from './core/certificate.ts'
import { decodeEnvelope } from './core/envelope.ts'
import { createNetworkState } from './core/facts-state.ts'
import { readDocument, readFields } from './core/fields.ts'
import type { Fields } from './core/fields.ts'
import { foundationOf, foundationsFor } from './core/foundations.ts'
import type { Foundation } from './core/foundations.ts'
import type { KeptToken, OwnMembership } from './core/handshake.ts'
import { nodeIdOf } from './core/ids.ts'
import type { Certificate, Crypto, NodeType, Signer, UnixSeconds } from './core/model.ts'
import type { NetworkState } from './core/network-state.ts'
import type { PeerAddresses } from './core/welcome.ts'
import { createSigner } from './crypto.ts'
import { DocumentError } from './errors.ts'
import { unixSecondsOf } from './handshake-run.ts'
import { openKeyFile, sealKeyFile } from './key-file.ts'
import type { KeyKind } from './key-file.ts'
import { RECORD_BYTES_MAX } from './store.ts'
import type { IdentityStore } from './store.ts'
import { areEqual, encodeCanonical } from './wire.ts'
import type { CborValue } from './wire.ts'

/** Facts in the log that count no more, until it is written anew. */
const STALE_FACTS_MAX = 1_024

/** A token as its issuer keeps it. */
export interface TokenRecord extends KeptToken {
  readonly tokenId: Uint8Array
  readonly nodeType: NodeType
  readonly roles: readonly string[]
}

/** A node in its network. */
export interface MemberRecords extends OwnMembership {
  readonly genesis: Uint8Array
  readonly own: Certificate
}

/** What a new member, or the founder of a network, begins with. */
export interface NetworkStart {
  readonly genesis: Uint8Array
  readonly certificate: Uint8Array
  readonly isolationKeys: readonly Uint8Array[]
  readonly facts: readonly Uint8Array[]
  readonly peers: readonly PeerAddresses[]
}

export interface NetworkRecordsDeps {
  readonly store: IdentityStore
  readonly clock: Clock
  readonly random: Random
  readonly crypto: Crypto
  readonly passphrase: string | undefined
}

/** What a node keeps, in memory as on its disk: the disk first. One change at a time. */
export class NetworkRecords {
  readonly signer: Signer
  readonly node: NodeId
  readonly #deps: NetworkRecordsDeps
  readonly #seed: Uint8Array
  #member: MemberRecords | undefined
  #isolationKeys: readonly Uint8Array[] = []
  #tokens: readonly TokenRecord[] = []
  #peers: readonly PeerAddresses[] = []
  #foundations: Foundation[] = []
  #isReplaced = false

  private constructor(deps: NetworkRecordsDeps, seed: Uint8Array) {
    this.#deps = deps
    this.#seed = seed
    this.signer = createSigner(seed)
    this.node = nodeIdOf(this.signer.publicKey)
  }

  /** Reads what is there; a node without a key gets one. */
  static async open(deps: NetworkRecordsDeps): Promise<NetworkRecords> {
    const { store, random } = deps
    await finishRotation(store)
    const seed = (await readKey(deps, 'node-key')) ?? random.bytes(KEY_BYTES)
    const records = new NetworkRecords(deps, seed)
    if ((await store.read('node-key')) === undefined) await records.writeKey('node-key', seed)
    await records.#load()
    return records
  }

  get member(): MemberRecords | undefined {
    return this.#member
  }

  get tokens(): readonly TokenRecord[] {
    return this.#tokens
  }

  /** Where members were when this node joined, or were seen since. */
  get peers(): readonly PeerAddresses[] {
    return this.#peers
  }

  /** Seed and public key: what libp2p calls the raw private key. */
  privateKey(): Uint8Array {
    return Uint8Array.from([...this.#seed, ...this.signer.publicKey])
  }

  readKey(kind: KeyKind): Promise<Uint8Array | undefined> {
    return readKey(this.#deps, kind)
  }

  async writeKey(kind: KeyKind, seed: Uint8Array): Promise<void> {
    const { store, random, passphrase } = this.#deps
    await store.write(kind, await sealKeyFile({ random }, { kind, seed, passphrase }))
  }

  /** From now on this node is a member. What comes last makes it one, so a crash leaves nothing. */
  async begin(start: NetworkStart): Promise<void> {
    const { store } = this.#deps
    await store.write('genesis', start.genesis)
    await store.replaceFacts(start.facts)
    await store.write('isolation-keys', encodeKeys(start.isolationKeys))
    await store.write('peers', encodePeers(start.peers))
    await store.write('tokens', encodeTokens([]))
    await store.write('certificate', start.certificate)
    await this.#load()
  }

  /** Forgets the network; the node's own key stays. */
  async end(): Promise<void> {
    const { store } = this.#deps
    // The certificate first: without it the rest means nothing.
    await store.remove('certificate')
    this.#member = undefined
    await store.remove('genesis')
    await store.remove('isolation-keys')
    await store.remove('tokens')
    await store.remove('peers')
    await store.remove('network-key')
    await store.replaceFacts([])
    this.#isolationKeys = []
    this.#tokens = []
    this.#peers = []
  }

  /**
   * A new key and its certificate, for whoever opens the store next: both or none, also after a
   * crash. This object goes on with the old ones.
   */
  async replaceKey(seed: Uint8Array, certificate: Uint8Array): Promise<void> {
    const { store, random, passphrase } = this.#deps
    const key = await sealKeyFile({ random }, { kind: 'node-key', seed, passphrase })
    this.#isReplaced = true
    await store.write('tokens', encodeTokens(this.#tokens, { key, certificate }))
    await finishRotation(store)
  }

  async setCertificate(certificate: Uint8Array): Promise<void> {
    // On the disk stands that of the next key.
    if (!this.#isReplaced) await this.#deps.store.write('certificate', certificate)
    this.#setMember(this.#member?.genesis, certificate, this.#member?.state)
  }

  /** @param key - of a hash that the network's state names */
  async addIsolationKey(key: Uint8Array): Promise<void> {
    if (this.#isolationKeys.some((one) => areEqual(one, key))) return
    // The two that count, and one that a fact still to come may name.
    const keys = [key, ...this.#isolationKeys].slice(0, 4)
    await this.#deps.store.write('isolation-keys', encodeKeys(keys))
    this.#isolationKeys = keys
  }

  /** The key of a hash, if this node has it. */
  isolationKeyOf(hash: Uint8Array): Uint8Array | undefined {
    const { crypto } = this.#deps
    return this.#isolationKeys.find((key) => areEqual(crypto.sha256(key), hash))
  }

  /** Replaces the record of this token, or adds it. Forgets those that ended a day ago. */
  async putToken(token: TokenRecord): Promise<void> {
    const now = unixSecondsOf(this.#deps.clock)
    const others = this.#tokens.filter(
      ({ tokenId, expiresAt }) =>
        !areEqual(tokenId, token.tokenId) && now <= expiresAt + TOKEN_MEMORY_S,
    )
    if (others.length >= TOKENS_MAX) {
      throw new RangeError(`tokens: at most ${TOKENS_MAX} at one time`)
    }
    const tokens = [...others, token]
    await this.#deps.store.write('tokens', encodeTokens(tokens))
    this.#tokens = tokens
  }

  tokenOf(tokenId: Uint8Array): TokenRecord | undefined {
    return this.#tokens.find((token) => areEqual(token.tokenId, tokenId))
  }

  async setPeers(peers: readonly PeerAddresses[]): Promise<void> {
    const bounded = peers.slice(0, WELCOME_PEERS_MAX)
    await this.#deps.store.write('peers', encodePeers(bounded))
    this.#peers = bounded
  }

  /** Facts that count from now on. */
  noteFoundations(envelopes: readonly Uint8Array[]): void {
    const found = envelopes.map(foundationOf).filter((one) => one !== undefined)
    this.#foundations.push(...found)
  }

  appendFacts(envelopes: readonly Uint8Array[]): Promise<void> {
    return this.#deps.store.appendFacts(envelopes)
  }

  async #load(): Promise<void> {
    const { store, crypto } = this.#deps
    const [genesis, certificate, keys, tokens, peers] = [
      await store.read('genesis'),
      await store.read('certificate'),
      await store.read('isolation-keys'),
      await store.read('tokens'),
      await store.read('peers'),
    ]
    this.#isolationKeys = keys === undefined ? [] : decodeKeys(keys)
    this.#tokens = tokens === undefined ? [] : decodeTokens(tokens).tokens
    this.#peers = peers === undefined ? [] : decodePeers(peers)
    if (genesis === undefined || certificate === undefined) return
    const facts = await store.facts()
    const state = createNetworkState({ crypto }, { genesis, facts, areFactsVerified: true })
    this.#foundations = []
    this.noteFoundations(state.facts())
    this.#setMember(genesis, certificate, state)
    // Facts expire: a log that is mostly of such is written anew.
    if (facts.length > state.factCount + STALE_FACTS_MAX) await store.replaceFacts(state.facts())
  }

  #setMember(
    genesis: Uint8Array | undefined,
    certificate: Uint8Array,
    state: NetworkState | undefined,
  ): void {
    if (genesis === undefined || state === undefined) throw new Error('a certificate of no network')
    this.#member = {
      genesis,
      certificate,
      state,
      foundations: () => foundationsFor(certificate, this.#foundations),
      own: decodeCertificate(decodeEnvelope(certificate).body),
      isolationKeys: (now: UnixSeconds) =>
        state
          .isolationHashes(now)
          .map((hash) => this.isolationKeyOf(hash))
          .filter((key) => key !== undefined),
    }
  }
}

async function readKey(
  { store, passphrase }: NetworkRecordsDeps,
  kind: KeyKind,
): Promise<Uint8Array | undefined> {
  const file = await store.read(kind)
  return file === undefined ? undefined : (await openKeyFile(file, { kind, passphrase })).seed
}

function encodeKeys(keys: readonly Uint8Array[]): Uint8Array {
  return encodeCanonical({ keys })
}

function decodeKeys(bytes: Uint8Array): readonly Uint8Array[] {
  return readDocument('isolation keys', { bytes, bytesMax: 1024 }, (fields) =>
    fields.list('keys', { max: 8 }).map((key) => {
      if (key instanceof Uint8Array && key.byteLength === KEY_BYTES) return key
      throw new DocumentError('isolation keys: one is not of 32 bytes')
    }),
  )
}

/** A new key of this node as a key file, and its certificate: on their way to their places. */
interface NextKey {
  readonly key: Uint8Array
  readonly certificate: Uint8Array
}

/** Does again, after a crash, what may have been half done. */
async function finishRotation(store: IdentityStore): Promise<void> {
  const record = await store.read('tokens')
  if (record === undefined) return
  const { tokens, next } = decodeTokens(record)
  if (next === undefined) return
  await store.write('node-key', next.key)
  await store.write('certificate', next.certificate)
  await store.write('tokens', encodeTokens(tokens))
}

function encodeTokens(tokens: readonly TokenRecord[], next?: NextKey): Uint8Array {
  return encodeCanonical({
    ...(next !== undefined && { next: { key: next.key, certificate: next.certificate } }),
    tokens: tokens.map((token): CborValue => ({
      tokenId: token.tokenId,
      key: token.key,
      expiresAt: token.expiresAt,
      nodeType: token.nodeType,
      roles: token.roles,
      isRevoked: token.isRevoked === true,
      ...(token.usedBy !== undefined && { usedBy: token.usedBy }),
    })),
  })
}

function decodeTokens(bytes: Uint8Array): {
  readonly tokens: readonly TokenRecord[]
  readonly next?: NextKey
} {
  return readDocument('tokens', { bytes, bytesMax: RECORD_BYTES_MAX }, (fields) => ({
    tokens: fields
      .list('tokens', { max: TOKENS_MAX })
      .map((token) => readFields('tokens', token, readTokenRecord)),
    ...(fields.has('next') && {
      next: fields.map('next', (next) => ({
        key: next.bytes('key', { min: 1, max: 1024 }),
        certificate: next.bytes('certificate', { min: 1, max: ENVELOPE_BYTES_MAX }),
      })),
    }),
  }))
}

function readTokenRecord(fields: Fields): TokenRecord {
  return {
    tokenId: fields.bytes('tokenId', SERIAL_BYTES),
    key: fields.bytes('key', KEY_BYTES),
    expiresAt: fields.integer('expiresAt', { max: Number.MAX_SAFE_INTEGER }),
    nodeType: fields.oneOf('nodeType', NODE_TYPES),
    roles: fields.texts('roles', { max: LABELS_MAX }, { min: 1, max: LABEL_CHARS_MAX }),
    isRevoked: fields.value('isRevoked') === true,
    ...(fields.has('usedBy') && { usedBy: fields.bytes('usedBy', KEY_BYTES) }),
  }
}

function encodePeers(peers: readonly PeerAddresses[]): Uint8Array {
  return encodeCanonical({ peers: peers.map(({ node, addresses }) => ({ node, addresses })) })
}

function decodePeers(bytes: Uint8Array): readonly PeerAddresses[] {
  return readDocument('peers', { bytes, bytesMax: RECORD_BYTES_MAX }, (fields) =>
    fields.list('peers', { max: WELCOME_PEERS_MAX }).map((peer) =>
      readFields('peers', peer, (one) => ({
        node: one.text('node', { min: 1, max: LABEL_CHARS_MAX }),
        addresses: one.list('addresses', { max: ISSUER_ADDRESSES_MAX }).map((address) => {
          if (typeof address === 'string' && address.length <= ADDRESS_CHARS_MAX) return address
          throw new DocumentError('peers: an address is no short text')
        }),
      })),
    ),
  )
}
