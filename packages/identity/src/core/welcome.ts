/**
 * What a new member gets inside the connection in which it proved its token, and what a member gets
 * that renews. Travels in parts; nothing in it is believed before it was checked.
 */
import {
  ADDRESS_CHARS_MAX,
  ENVELOPE_BYTES_MAX,
  FACTS_MAX,
  GENESIS_BYTES_MAX,
  ISOLATION_KEYS_MAX,
  ISSUER_ADDRESSES_MAX,
  KEY_BYTES,
  LABEL_CHARS_MAX,
  WELCOME_BYTES_MAX,
  WELCOME_PART_BYTES,
  WELCOME_PARTS_MAX,
  WELCOME_PEERS_MAX,
} from '../constants.ts'
import { DocumentError, SignatureError } from '../errors.ts'
import { areEqual, encodeCanonical } from '../wire.ts'
import type { CborValue } from '../wire.ts'
import { readDocument, readFields } from './fields.ts'
import type { Fields } from './fields.ts'
import type { WelcomePart } from './messages.ts'
import type { Certificate, Crypto, NetworkId, RefusalReason, UnixSeconds } from './model.ts'
import { createNetworkState } from './facts-state.ts'
import type { NetworkState } from './network-state.ts'

/** Where a member can be dialled. Only a hint: whoever answers proves itself. */
export interface PeerAddresses {
  readonly node: string
  /** Multiaddrs as text, at most 16. */
  readonly addresses: readonly string[]
}

/** All envelopes. A renewal has the certificate alone. */
export interface Welcome {
  readonly certificate: Uint8Array
  readonly network?: {
    readonly genesis: Uint8Array
    /** Newest first. Secret. */
    readonly isolationKeys: readonly Uint8Array[]
    readonly facts: readonly Uint8Array[]
    /** Of the node that admits. */
    readonly issuerCertificate: Uint8Array
    readonly peers: readonly PeerAddresses[]
  }
}

/** A welcome that holds. */
export type CheckedWelcome = Welcome & { readonly checked: Certificate }

/** In order. */
export function encodeWelcome({ certificate, network }: Welcome): readonly WelcomePart[] {
  const bytes = encodeCanonical({
    certificate,
    ...(network !== undefined && {
      network: {
        genesis: network.genesis,
        isolationKeys: network.isolationKeys,
        facts: network.facts,
        issuerCertificate: network.issuerCertificate,
        peers: network.peers.map(({ node, addresses }) => ({ node, addresses })),
      },
    }),
  })
  if (bytes.byteLength > WELCOME_BYTES_MAX) {
    throw new RangeError(`welcome: ${bytes.byteLength} bytes, at most ${WELCOME_BYTES_MAX}`)
  }
  const count = Math.ceil(bytes.byteLength / WELCOME_PART_BYTES)
  return Array.from({ length: count }, (_, index) => ({
    kind: 'welcome',
    index,
    count,
    data: bytes.slice(index * WELCOME_PART_BYTES, (index + 1) * WELCOME_PART_BYTES),
  }))
}

/** Puts the parts together: in order, none twice, at most {@link WELCOME_BYTES_MAX}. */
export interface WelcomeReader {
  add(part: WelcomePart): Uint8Array | 'malformed' | undefined
}

export function createWelcomeReader(): WelcomeReader {
  const parts: Uint8Array[] = []
  let count = 0
  return {
    add(part) {
      if (part.index !== parts.length) return 'malformed'
      if (part.index === 0) count = part.count
      if (part.count !== count || count > WELCOME_PARTS_MAX) return 'malformed'
      parts.push(part.data)
      if (parts.length < count) return undefined
      const whole = new Uint8Array(parts.reduce((sum, one) => sum + one.byteLength, 0))
      let offset = 0
      for (const one of parts) {
        whole.set(one, offset)
        offset += one.byteLength
      }
      return whole
    },
  }
}

export interface WelcomeCheck {
  /** Of the token. */
  readonly network: NetworkId
  /** Public key of the joiner. */
  readonly subject: Uint8Array
  /** Public key of the node that admits. */
  readonly issuer: Uint8Array
  readonly unix: UnixSeconds
}

export type JoinedNetwork = CheckedWelcome & {
  readonly state: NetworkState
  readonly issuer: { readonly certificate: Certificate; readonly envelope: Uint8Array }
}

/**
 * Everything of a welcome, from the genesis on: that this is the token's network, that its
 * authorities made both certificates, that the isolation keys are the network's.
 */
export function checkWelcome(
  crypto: Crypto,
  bytes: Uint8Array,
  { network, subject, issuer, unix }: WelcomeCheck,
): JoinedNetwork | { readonly refused: RefusalReason } {
  const welcome = decodeWelcome(bytes)
  if (welcome?.network === undefined) return { refused: 'malformed' }
  const { genesis, facts, isolationKeys, issuerCertificate } = welcome.network
  const state = openState(crypto, { genesis, facts })
  if (state === undefined || state.network !== network) return { refused: 'wrong-network' }
  const hashes = state.isolationHashes(unix)
  const isOurs = isolationKeys.every((key) => {
    const hash = crypto.sha256(key)
    return hashes.some((one) => areEqual(one, hash))
  })
  if (!isOurs || isolationKeys.length === 0) return { refused: 'wrong-network' }
  const own = state.checkCertificate(welcome.certificate, subject, unix)
  if ('refused' in own) return own
  const theirs = state.checkCertificate(issuerCertificate, issuer, unix)
  if ('refused' in theirs) return theirs
  return {
    ...welcome,
    checked: own.certificate,
    state,
    issuer: { certificate: theirs.certificate, envelope: issuerCertificate },
  }
}

/** A renewal: the network is known, only the certificate is new. */
export function checkRenewal(
  bytes: Uint8Array,
  {
    state,
    subject,
    unix,
  }: { readonly state: NetworkState; readonly subject: Uint8Array; readonly unix: UnixSeconds },
): CheckedWelcome | { readonly refused: RefusalReason } {
  const welcome = decodeWelcome(bytes)
  if (welcome === undefined || welcome.network !== undefined) return { refused: 'malformed' }
  const verdict = state.checkCertificate(welcome.certificate, subject, unix)
  return 'refused' in verdict ? verdict : { ...welcome, checked: verdict.certificate }
}

/** A state of what somebody else says are the genesis and the facts; `undefined`: no genesis. */
function openState(
  crypto: Crypto,
  init: {
    readonly genesis: Uint8Array
    readonly facts: readonly Uint8Array[]
  },
): NetworkState | undefined {
  const { genesis, facts } = init
  try {
    return createNetworkState({ crypto }, { genesis, facts })
  } catch (error) {
    if (error instanceof DocumentError || error instanceof SignatureError) return undefined
    throw error
  }
}

function decodeWelcome(bytes: Uint8Array): Welcome | undefined {
  try {
    return readDocument('welcome', { bytes, bytesMax: WELCOME_BYTES_MAX }, readWelcome)
  } catch (error) {
    if (error instanceof DocumentError) return undefined
    throw error
  }
}

function readWelcome(fields: Fields): Welcome {
  const certificate = fields.bytes('certificate', { min: 1, max: ENVELOPE_BYTES_MAX })
  if (!fields.has('network')) return { certificate }
  return {
    certificate,
    network: fields.map('network', (network) => ({
      genesis: network.bytes('genesis', { min: 1, max: GENESIS_BYTES_MAX }),
      isolationKeys: network
        .list('isolationKeys', { min: 1, max: ISOLATION_KEYS_MAX })
        .map((key) => bytesOf(key, KEY_BYTES)),
      facts: network
        .list('facts', { max: FACTS_MAX })
        .map((fact) => bytesOf(fact, { max: ENVELOPE_BYTES_MAX })),
      issuerCertificate: network.bytes('issuerCertificate', { min: 1, max: ENVELOPE_BYTES_MAX }),
      peers: network
        .list('peers', { max: WELCOME_PEERS_MAX })
        .map((peer) => readFields('welcome, peers', peer, readPeer)),
    })),
  }
}

function readPeer(fields: Fields): PeerAddresses {
  return {
    node: fields.text('node', { min: 1, max: LABEL_CHARS_MAX }),
    addresses: fields
      .list('addresses', { max: ISSUER_ADDRESSES_MAX })
      .map((address) => textOf(address)),
  }
}

function bytesOf(value: CborValue, length: number | { readonly max: number }): Uint8Array {
  const isRight =
    value instanceof Uint8Array &&
    (typeof length === 'number'
      ? value.byteLength === length
      : value.byteLength >= 1 && value.byteLength <= length.max)
  if (isRight) return value
  throw new DocumentError('welcome: an item is no byte string of its length')
}

function textOf(value: CborValue): string {
  if (typeof value === 'string' && value.length >= 1 && value.length <= ADDRESS_CHARS_MAX) {
    return value
  }
  throw new DocumentError('welcome: an address is no short text')
}
