/**
 * What proofs and signatures of a handshake are made over. Each holds the role of who makes it, so
 * that a message sent back to its author proves nothing, and the hash of both hellos and of both
 * keys that TLS has proved, so that none fits another connection.
 */
import { encodeCanonical } from '../wire.ts'
import type { Crypto, KeyRotation, NetworkId } from './model.ts'

export type HandshakeRole = 'initiator' | 'responder'

export interface TranscriptInit {
  /** The frames as they went over the wire: versions, mode, nonces and token are in them. */
  readonly initiatorHello: Uint8Array
  readonly responderHello: Uint8Array
  /** Public keys that the encrypted connection has proved, as this side sees them. */
  readonly initiatorKey: Uint8Array
  readonly responderKey: Uint8Array
}

/** 32 bytes that are equal at both ends of one connection, and nowhere else. */
export function transcriptOf(crypto: Crypto, init: TranscriptInit): Uint8Array {
  return crypto.sha256(
    encodeCanonical([
      'mycelium/transcript/1',
      init.initiatorHello,
      init.responderHello,
      init.initiatorKey,
      init.responderKey,
    ]),
  )
}

/** Proof of an isolation key. */
export function isolationMac(
  crypto: Crypto,
  { key, role, transcript }: { key: Uint8Array; role: HandshakeRole; transcript: Uint8Array },
): Uint8Array {
  return crypto.hmacSha256(key, encodeCanonical(['mycelium/isolation/1', role, transcript]))
}

/** Proof of a token's secret. `key` is what the issuer keeps of it: see `tokenKeyOf`. */
export function joinMac(
  crypto: Crypto,
  init: {
    key: Uint8Array
    role: HandshakeRole
    transcript: Uint8Array
    network: NetworkId
  },
): Uint8Array {
  return crypto.hmacSha256(
    init.key,
    encodeCanonical(['mycelium/join/1', init.role, init.transcript, init.network]),
  )
}

export interface ClaimInit {
  readonly role: HandshakeRole
  readonly transcript: Uint8Array
  readonly network: NetworkId
  readonly genesisHash: Uint8Array
  readonly rotations: number
  readonly chain: Uint8Array
  readonly certificate: Uint8Array
}

/** The document of kind `handshake` that a node signs with its key. */
export function claimBody(crypto: Crypto, init: ClaimInit): Uint8Array {
  return encodeCanonical([
    init.role,
    init.transcript,
    init.network,
    init.genesisHash,
    init.rotations,
    init.chain,
    crypto.sha256(init.certificate),
  ])
}

/** What the new key of a node signs: that it follows the old one in this network. */
export function nodeRotationBody(init: {
  readonly network: NetworkId
  readonly oldKey: Uint8Array
  readonly newKey: Uint8Array
}): Uint8Array {
  return encodeCanonical(['mycelium/node-rotation/1', init.network, init.oldKey, init.newKey])
}

/** Hash over the new keys of the first `count` rotations; of nothing: over an empty list. */
export function keyChainHash(
  crypto: Crypto,
  rotations: readonly KeyRotation[],
  count: number,
): Uint8Array {
  return crypto.sha256(
    encodeCanonical([
      'mycelium/key-chain/1',
      ...rotations.slice(0, count).map(({ newKey }) => newKey),
    ]),
  )
}

/** Names the session at both ends; worth nothing to anybody else. */
export function sessionIdOf(crypto: Crypto, transcript: Uint8Array, bytes: number): Uint8Array {
  return crypto.sha256(encodeCanonical(['mycelium/session/1', transcript])).slice(0, bytes)
}
