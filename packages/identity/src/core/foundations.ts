/**
 * What somebody who was away must hear before a certificate can be judged: the facts by which its
 * signers became authorities, from those that the genesis names on, and rotations of the network
 * key. They are signed like all facts, so a peer may as well bring them itself.
 */
import { FOUNDATION_FACTS_MAX } from '../constants.ts'
import { textOf } from '../wire.ts'
import { decodeEnvelope } from './envelope.ts'
import { decodeFact } from './facts.ts'
import type { Fact } from './model.ts'

/** A fact that counts, of a kind that others stand on. */
export interface Foundation {
  readonly envelope: Uint8Array
  readonly fact: Fact
}

/** `undefined`: nothing stands on a fact of this kind. */
export function foundationOf(envelope: Uint8Array): Foundation | undefined {
  const fact = decodeFact(decodeEnvelope(envelope).body)
  const { kind } = fact.statement
  return kind === 'authority-added' || kind === 'key-rotated' ? { envelope, fact } : undefined
}

/**
 * Those of `all` that a certificate stands on, each after those that it stands on itself.
 *
 * @param certificate - envelope
 */
export function foundationsFor(
  certificate: Uint8Array,
  all: readonly Foundation[],
): readonly Uint8Array[] {
  const added = new Map<string, Foundation>()
  for (const one of all) {
    const { statement } = one.fact
    if (statement.kind === 'authority-added') added.set(hexOf(statement.node), one)
  }
  const found = new Set<Foundation>()
  /** Post-order; a cycle cannot count, and ends here all the same. */
  const seen = new Set<string>()
  const follow = (envelope: Uint8Array): void => {
    for (const { publicKey } of decodeEnvelope(envelope).signatures) {
      const key = hexOf(publicKey)
      if (seen.has(key)) continue
      seen.add(key)
      const one = added.get(key)
      if (one === undefined) continue
      follow(one.envelope)
      found.add(one)
    }
  }
  follow(certificate)
  for (const one of all) {
    if (one.fact.statement.kind !== 'key-rotated') continue
    follow(one.envelope)
    found.add(one)
  }
  // Beyond the bound the newest are left out, not those that all stands on.
  return [...found].slice(0, FOUNDATION_FACTS_MAX).map(({ envelope }) => envelope)
}

const hexOf = (bytes: Uint8Array): string => textOf(bytes, 'hex')
