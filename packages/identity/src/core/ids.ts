/** Names of nodes and networks: texts that are derived from their public keys. */
import type { NodeId } from '@mycelium/interface'
import { KEY_BYTES } from '../constants.ts'
import { DocumentError, NodeIdError } from '../errors.ts'
import { bytesOfText, textOf } from '../wire.ts'
import type { Crypto, NetworkId } from './model.ts'

/** Identity multihash (0x00, 36 bytes) of libp2p's PublicKey in protobuf: Ed25519, 32 bytes. */
const NODE_ID_PREFIX: readonly number[] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20]
/** SHA-256 multihash. */
const NETWORK_ID_PREFIX: readonly number[] = [0x12, 0x20]

/** Characters of 38 bytes in base58btc at most. */
const ID_CHARS_MAX = 52

/**
 * The libp2p PeerId of an Ed25519 key as text: `12D3KooW...`.
 *
 * @throws {RangeError} `publicKey` is not of 32 bytes
 */
export function nodeIdOf(publicKey: Uint8Array): NodeId {
  checkKey(publicKey)
  return textOf(Uint8Array.from([...NODE_ID_PREFIX, ...publicKey]), 'base58btc') as NodeId
}

/**
 * The public key inside the id of a node.
 *
 * @throws {NodeIdError} `ERR_IDENTITY_NODE_ID`
 */
export function publicKeyOf(node: string): Uint8Array {
  const bytes = bytesAfter(node, NODE_ID_PREFIX)
  if (bytes === undefined) {
    throw new NodeIdError(`not the id of a node with an Ed25519 key: ${shortened(node)}`)
  }
  return bytes
}

/**
 * Base58btc of the SHA-256 multihash of the network's first public key: `Qm...`.
 *
 * @throws {RangeError} `publicKey` is not of 32 bytes
 */
export function networkIdOf(crypto: Pick<Crypto, 'sha256'>, publicKey: Uint8Array): NetworkId {
  checkKey(publicKey)
  const bytes = Uint8Array.from([...NETWORK_ID_PREFIX, ...crypto.sha256(publicKey)])
  return textOf(bytes, 'base58btc') as NetworkId
}

/**
 * A text that has the form of the id of a network.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`
 */
export function parseNetworkId(text: string): NetworkId {
  if (bytesAfter(text, NETWORK_ID_PREFIX) === undefined) {
    throw new DocumentError(`not the id of a network: ${shortened(text)}`)
  }
  return text as NetworkId
}

function bytesAfter(text: string, prefix: readonly number[]): Uint8Array | undefined {
  const bytes = bytesOfText(text, 'base58btc', ID_CHARS_MAX)
  const isOurs =
    bytes?.byteLength === prefix.length + KEY_BYTES &&
    prefix.every((byte, index) => bytes[index] === byte)
  return isOurs ? bytes.slice(prefix.length) : undefined
}

function checkKey(publicKey: Uint8Array): void {
  if (publicKey.byteLength !== KEY_BYTES) {
    throw new RangeError(`publicKey: must be ${KEY_BYTES} bytes (got ${publicKey.byteLength})`)
  }
}

const shortened = (text: string): string =>
  JSON.stringify(text.length > ID_CHARS_MAX ? `${text.slice(0, ID_CHARS_MAX)}...` : text)
