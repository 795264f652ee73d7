/**
 * The chain of network keys: from the one in the genesis, by rotations numbered 1, 2, 3 ..., each
 * signed by the old key and the new one, or in an emergency by the new one and authorities.
 */
import {
  ENVELOPE_BYTES_MAX,
  KEY_BYTES,
  LABEL_CHARS_MAX,
  ROTATION_OVERLAP_S_MAX,
  ROTATIONS_MAX,
} from '../constants.ts'
import { DocumentError } from '../errors.ts'
import { areEqual, encodeCanonical } from '../wire.ts'
import { compareBytes, readDocument } from './fields.ts'
import { parseNetworkId } from './ids.ts'
import type { KeyRotation } from './model.ts'

/**
 * The body of a rotation.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`: a field is out of its bounds
 */
export function encodeKeyRotation(rotation: KeyRotation): Uint8Array {
  const body = encodeCanonical({
    network: rotation.network,
    number: rotation.number,
    oldKey: rotation.oldKey,
    newKey: rotation.newKey,
    at: rotation.at,
    overlapUntil: rotation.overlapUntil,
    cause: rotation.cause,
  })
  decodeKeyRotation(body)
  return body
}

/**
 * Reads the body of a rotation.
 *
 * @throws {DocumentError} `ERR_IDENTITY_DOCUMENT`
 */
export function decodeKeyRotation(body: Uint8Array): KeyRotation {
  const bounds = { bytes: body, bytesMax: ENVELOPE_BYTES_MAX }
  const rotation = readDocument('key rotation', bounds, (fields) => ({
    network: parseNetworkId(fields.text('network', { max: LABEL_CHARS_MAX })),
    number: fields.integer('number', { min: 1, max: ROTATIONS_MAX }),
    oldKey: fields.bytes('oldKey', KEY_BYTES),
    newKey: fields.bytes('newKey', KEY_BYTES),
    at: fields.integer('at', { max: Number.MAX_SAFE_INTEGER }),
    overlapUntil: fields.integer('overlapUntil', { max: Number.MAX_SAFE_INTEGER }),
    cause: fields.oneOf('cause', ['scheduled', 'emergency']),
  }))
  const overlap = rotation.overlapUntil - rotation.at
  if (overlap < 0 || overlap > ROTATION_OVERLAP_S_MAX) {
    throw new DocumentError(
      `key rotation: an overlap of ${overlap} s, not 0 to ${ROTATION_OVERLAP_S_MAX}`,
    )
  }
  if (areEqual(rotation.oldKey, rotation.newKey)) {
    throw new DocumentError('key rotation: the new key is the old one')
  }
  return rotation
}

/** A rotation whose signatures are valid. */
export interface SignedRotation {
  readonly rotation: KeyRotation
  /** SHA-256 of its body. */
  readonly hash: Uint8Array
  readonly signers: readonly Uint8Array[]
}

export interface KeyChainInit {
  /** Of the genesis. */
  readonly networkKey: Uint8Array
  readonly authorityThreshold: number
  /** Whether a key counted as an authority then. */
  readonly isAuthority: (publicKey: Uint8Array, at: number) => boolean
}

/**
 * The rotations that hold, in order. Of several that could follow one key an emergency goes before
 * a scheduled one, which whoever stole the old key can sign, then the one with the lower hash: the
 * result depends on the set alone, not on the order in which it came.
 */
export function chainOf(
  rotations: readonly SignedRotation[],
  init: KeyChainInit,
): readonly KeyRotation[] {
  const byNumber = new Map<number, SignedRotation[]>()
  for (const signed of rotations) {
    const { number } = signed.rotation
    byNumber.set(number, [...(byNumber.get(number) ?? []), signed])
  }
  const chain: KeyRotation[] = []
  const used = [init.networkKey]
  while (chain.length < ROTATIONS_MAX) {
    const [next] = (byNumber.get(chain.length + 1) ?? [])
      .filter(({ rotation }) => areEqual(rotation.oldKey, used.at(-1) ?? rotation.newKey))
      // A key that was given up once never comes back.
      .filter(({ rotation }) => !used.some((key) => areEqual(key, rotation.newKey)))
      .filter((candidate) => isSigned(candidate, init))
      .toSorted(compareCandidates)
    if (next === undefined) break
    chain.push(next.rotation)
    used.push(next.rotation.newKey)
  }
  return chain
}

function compareCandidates(one: SignedRotation, other: SignedRotation): number {
  const rank = ({ rotation }: SignedRotation): number => (rotation.cause === 'emergency' ? 0 : 1)
  return rank(one) - rank(other) || compareBytes(one.hash, other.hash)
}

function isSigned({ rotation, signers }: SignedRotation, init: KeyChainInit): boolean {
  const has = (key: Uint8Array): boolean => signers.some((signer) => areEqual(signer, key))
  if (!has(rotation.newKey)) return false
  if (rotation.cause === 'scheduled') return has(rotation.oldKey)
  const authorities = signers.filter((signer) => init.isAuthority(signer, rotation.at))
  return authorities.length >= init.authorityThreshold
}
